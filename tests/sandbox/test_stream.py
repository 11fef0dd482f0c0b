"""Streamed answers: shapes, pace, and the client that leaves."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import orjson
import pytest

from sandbox.protocol import WRITE_BUFFER_BYTES
from tests.sandbox.conftest import Client, until
from tests.sandbox.test_chat import WEATHER


def events(lines: list[str]) -> list[dict[str, Any]]:
    return [orjson.loads(line[6:]) for line in lines if line.startswith("data: {")]


def text(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_a_stream_says_what_the_whole_answer_says(sandbox: Client) -> None:
    """A test that compares the two forms would find a difference that is not the gateway's."""
    whole = await sandbox.answer(text="aynı [[tokens=300]]")
    lines = await sandbox.lines(text="aynı [[tokens=300]]")
    chunks = events(lines)
    assert lines[0] == ": OPENROUTER PROCESSING"
    assert lines[-1] == "data: [DONE]"
    assert text(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 301 + ["stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1


@pytest.mark.parametrize("pace", [0, 2000])
async def test_each_choice_of_n_is_whole(sandbox: Client, pace: int) -> None:
    await sandbox.control(tokens_per_second=pace)
    whole = await sandbox.answer(text="[[tokens=9]]", n=2)
    chunks = events(await sandbox.lines(text="[[tokens=9]]", n=2))
    for index in (0, 1):
        assert text(chunks, index) == whole["choices"][index]["message"]["content"]


@pytest.mark.parametrize("face", ["/api/v1", "/openai/v1"])
async def test_the_openai_sdk_reads_a_stream_with_tools(sandbox: Client, face: str) -> None:
    stream = await sandbox.openai(face).chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "hava"}],
        tools=[WEATHER],  # type: ignore[list-item]
        stream=True,
        stream_options={"include_usage": True},
    )
    arguments, finish, usage = "", None, None
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                arguments += (call.function.arguments if call.function else "") or ""
    assert finish == "tool_calls"
    assert orjson.loads(arguments)["unit"] == "celsius"
    assert usage is not None


async def test_the_generic_face_tells_usage_only_when_asked(sandbox: Client) -> None:
    """The adapter must ask for it; here it can be seen to forget."""
    silent = events(await sandbox.lines(face="/openai/v1"))
    told = events(await sandbox.lines(face="/openai/v1", stream_options={"include_usage": True}))
    assert not any(chunk.get("usage") for chunk in silent)
    assert told[-1]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in told[:-1])
    assert "cost" not in told[-1]["usage"]
    assert not any("provider" in chunk for chunk in told)


async def test_reasoning_and_pictures_are_streamed(sandbox: Client) -> None:
    chunks = events(await sandbox.lines(model="openai/gpt-5", reasoning={"effort": "low"}))
    assert any(chunk["choices"] and chunk["choices"][0]["delta"].get("reasoning") for chunk in chunks)
    chunks = events(await sandbox.lines(model="google/gemini-2.5-flash-image", modalities=["image", "text"]))
    assert sum(len(choice["delta"].get("images", ())) for chunk in chunks for choice in chunk["choices"]) == 1


async def test_the_pace_is_kept(sandbox: Client) -> None:
    """Delays in the benchmark are measured against these stamps."""
    await sandbox.control(tokens_per_second=100, first_token_ms=100, stamp=True)
    began = time.time() * 1000
    chunks = events(await sandbox.lines(text="[[tokens=30]]"))
    stamps = [chunk["sandbox_ms"] for chunk in chunks if chunk["choices"] and chunk["choices"][0]["delta"]["content"]]
    assert len(stamps) == 30
    assert stamps == sorted(stamps)
    assert stamps[0] - began >= 99
    assert stamps[-1] - stamps[0] >= 280


async def test_a_pause_is_filled_with_comments(sandbox: Client) -> None:
    """An idle timer that comments do not reset would cut slow models."""
    await sandbox.control(first_token_ms=1200)
    assert (await sandbox.lines(text="[[tokens=1]]")).count(": OPENROUTER PROCESSING") == 3
    await sandbox.control(first_token_ms=600, comments=False)
    assert not any(line.startswith(":") for line in await sandbox.lines(text="[[tokens=1]]"))


@pytest.mark.parametrize("face", ["/api/v1", "/openai/v1"])
async def test_a_client_that_leaves_pays_for_what_was_generated(sandbox: Client, face: str) -> None:
    """The gateway's disconnect policy is judged by this entry."""
    await sandbox.control(tokens_per_second=200)
    async with sandbox.chat(text="[[tokens=5000]]", face=face, stream=True) as response:
        received = b""
        while received.count(b'"content":') < 12:
            received += await response.content.readany()
        assert (await sandbox.journal())[0]["status"] == "running"
        response.close()

    async def ended() -> bool:
        return (await sandbox.journal())[0]["status"] != "running"

    await until(ended)
    entry = (await sandbox.journal())[0]
    assert (entry["status"], entry["aborted"]) == ("aborted", True)
    assert 11 <= entry["completion_tokens"] < 2000
    expected = entry["prompt_tokens"] * Decimal("0.00000015") + entry["completion_tokens"] * Decimal("0.0000006")
    assert Decimal(entry["cost_usd"]) == expected
    record = (await sandbox.get("/api/v1/generation", id=entry["id"]))["data"]
    assert record["cancelled"] is True
    assert Decimal(repr(record["total_cost"])) == expected


async def test_a_client_that_leaves_before_the_answer(sandbox: Client) -> None:
    await sandbox.control(latency_ms=30_000)
    call = asyncio.create_task(sandbox.answer(text="[[tokens=1000]]"))

    async def running() -> bool:
        return bool(await sandbox.journal())

    await until(running)
    call.cancel()

    async def aborted() -> bool:
        return bool((await sandbox.journal())[0]["aborted"])

    await until(aborted)
    assert (await sandbox.journal())[0]["completion_tokens"] < 1000


async def test_a_client_that_does_not_read_stops_the_generation(sandbox: Client) -> None:
    """A slow client must stall its own stream; the sandbox must not gather a whole answer in memory for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port, limit=4096)
    body = orjson.dumps(
        {"model": "openai/gpt-5", "stream": True, "messages": [{"role": "user", "content": "[[tokens=120000]]"}]}
    )
    writer.write(
        b"POST /api/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    assert sandbox.server is not None
    (connection,) = (each for each in sandbox.server.connections if each.on_gone is not None)

    async def full() -> bool:
        return connection.paused

    await until(full)
    for _ in range(100):
        await asyncio.sleep(0)
    assert connection.unsent_bytes < 2 * WRITE_BUFFER_BYTES
    assert (await sandbox.journal())[0]["status"] == "running"
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    seen = b""
    while b"[DONE]" not in seen[-64:]:
        seen = seen[-64:] + await asyncio.wait_for(reader.read(65536), 30)
    assert (await sandbox.journal())[0]["completion_tokens"] == 120_000
    writer.close()


async def test_usage_may_ride_on_an_empty_delta(sandbox: Client) -> None:
    """Some providers do so, and an adapter that waits for empty choices would lose the cost."""
    await sandbox.control(usage_in_last_delta=True)
    last = events(await sandbox.lines())[-1]
    assert last["choices"][0]["delta"]["content"] == ""
    assert last["usage"]["cost"] > 0
