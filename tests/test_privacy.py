"""Prompts, answers and keys stay in memory: what a customer writes must not be found on any disk of ours afterwards."""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import openai
import pytest

from bus.connection import Connection
from bus.errors import NoSuchPosition
from bus.streams import DIRECTORY, LEDGER, MEDIA, SNAPSHOTS, TASKS, USAGE, last_position
from bus.tail import read
from runtime.settings import Settings
from tests.faults.gateway import Gateway, wait_until

PROMPT = "zebra-canary-5521-prompt"
ANSWER_SEED = [{"role": "user", "content": f"{PROMPT} [[tokens=12]]"}]
WORDS_MIN = 6  # of an answer in a row, that would show that it was kept


def speak(base_url: str, api_key: str) -> list[str]:
    """Whole, streamed, refused and failed calls; the answers' texts."""
    client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)
    model: Any = "openai/gpt-4o-mini"
    whole = client.chat.completions.create(model=model, messages=ANSWER_SEED)  # type: ignore[arg-type]
    streamed = client.chat.completions.create(model=model, messages=ANSWER_SEED, stream=True)  # type: ignore[arg-type]
    parts = [chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=f"{PROMPT}/none", messages=ANSWER_SEED)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=[{"role": PROMPT * 9, "content": 5}], temperature=9)  # type: ignore[arg-type,list-item]
    return [whole.choices[0].message.content or "", "".join(parts)]


def generate(base_url: str, api_key: str) -> str:
    """An image, and a text, both asked for with the prompt; the text."""
    texts = []
    for model in ("google/imagen4-fast", "suno-generate-lyrics"):
        taken = call(f"{base_url}/music/generate", api_key, {"model": model, "prompt": PROMPT})
        url = f"{base_url}/music/status/{taken['task_id']}"
        wait_until(lambda url=url: call(url, api_key)["status"] == "completed", 60, model)  # type: ignore[misc]
        texts.append(call(url, api_key)["text"])
    assert texts[0] is None
    return str(texts[1])


def call(url: str, api_key: str, body: Any = None) -> Any:
    """One call, its JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": f"Bearer {api_key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


async def stored(nats_url: str) -> bytes:
    """The payload of every message of every stream, decompressed by the server."""
    connection = await Connection.open(Settings(nats_url=nats_url), "privacy")
    found = []
    for stream in (LEDGER, USAGE, DIRECTORY, SNAPSHOTS, TASKS, MEDIA):
        for position in range(1, await last_position(connection, stream) + 1):
            try:
                entry = await read(connection, stream, position)
            except NoSuchPosition:
                continue  # replaced by a newer message of its subject
            found.append(entry.subject.encode() + entry.payload)
    await connection.close()
    return b"\n".join(found)


def files(folder: Path) -> dict[str, bytes]:
    """All files of a data folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_that_was_said_is_kept(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "data", edges=1, cores=1)
    gateway.start()
    customer = gateway.open_account("50.00")
    answers = speak(gateway.base_urls[0], customer.api_key)
    gateway.control(kie={"task_ms": 300})
    song = generate(gateway.base_urls[0], customer.api_key)
    gateway.control(error_after_tokens=3)
    with pytest.raises(openai.APIError):
        speak(gateway.base_urls[0], customer.api_key)
    kept = {"streams": asyncio.run(stored(gateway.document["nats_url"]))}
    assert gateway.stop() == 0
    kept |= files(gateway.data)
    assert any(b"gpt-4o-mini" in text for text in kept.values()), "the search would find what is there"
    results = [text for name, text in kept.items() if name.startswith("files/")]
    assert any(song.encode() in text for text in results), "results are files, for their customers to fetch"
    kept = {name: text for name, text in kept.items() if not name.startswith("files/")}
    assert not any(PROMPT.encode() in text for text in results)
    phrases = [" ".join(answer.split()[:WORDS_MIN]) for answer in [*answers, song]]
    for secret in (PROMPT, customer.api_key, *phrases):
        assert len(secret) > 12
        shapes = (secret.encode(), json.dumps(secret).strip('"').encode())
        for name, text in kept.items():
            assert not any(shape in text for shape in shapes), f"{name} holds what was said: {secret[:40]}"
