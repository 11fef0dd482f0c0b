"""The journal is the provider's truth: what it billed, whatever happened to the sandbox or to the client."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from sandbox import journal as journal_module
from sandbox.journal import Journal
from tests.sandbox.conftest import AUTHORIZED, Client

ROOT = Path(__file__).parents[2]
_RUN = "from sandbox.main import serve; from runtime import process; from runtime.settings import Settings; "
_RUN += "process.run(lambda stop: serve(Settings(), stop))"


class Process:
    """A sandbox in a process of its own, with its journal in a file."""

    def __init__(self, path: Path) -> None:
        environment = os.environ | {"ONYSOFT_SANDBOX_JOURNAL_PATH": str(path), "ONYSOFT_SANDBOX_PORT": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rsplit(b":", 1)[1])

    def end(self, number: int = signal.SIGKILL) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(10)


@pytest.fixture
def processes(journal_path: Path) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


def last_status(path: Path) -> str:
    """Of the entry written last."""
    return str(orjson.loads(path.read_bytes().splitlines()[-1])["status"])


async def test_entries_name_the_call(sandbox: Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    wanted = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "gizli"}]}
    _, answer = await sandbox.status(
        "POST", "/api/v1/chat/completions", json=wanted, headers={**AUTHORIZED, "traceparent": trace}
    )
    await sandbox.lines(model="openai/gpt-4o")
    first, second = await sandbox.journal()
    assert first["id"] == answer["id"]
    assert first["traceparent"] == trace
    assert (first["streamed"], second["streamed"]) == (False, True)
    assert second["traceparent"] is None
    assert first["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert 0 < first["started_at"] <= first["finished_at"]
    assert "gizli" not in orjson.dumps(first).decode()


async def test_paging_and_clearing(sandbox: Client) -> None:
    ids = [(await sandbox.answer())["id"] for _ in range(5)]
    assert [entry["id"] for entry in await sandbox.get("/journal", since_id=ids[1])] == ids[2:]
    assert [entry["id"] for entry in await sandbox.get("/journal", since_id=ids[1], limit=2)] == ids[2:4]
    status, _ = await sandbox.status("DELETE", "/journal")
    assert status == 200
    assert await sandbox.journal() == []
    status, _ = await sandbox.status("GET", "/journal?limit=x")
    assert status == 400


async def test_no_answered_call_is_lost_by_a_kill(processes: list[Process], journal_path: Path) -> None:
    """After kill -9 of the provider, the books of both sides could not be compared."""
    process = Process(journal_path)
    processes.append(process)
    answered: list[str] = []
    async with aiohttp.ClientSession() as session:
        client = Client(process.port, session)

        async def call() -> None:
            while True:
                answered.append((await client.answer())["id"])
                if len(answered) == 300:
                    process.end()

        results = await asyncio.gather(*(call() for _ in range(8)), return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError | ConnectionError) for result in results)
    assert len(answered) >= 300
    again = Journal(str(journal_path))
    kept = {entry["id"]: entry for entry in orjson.loads(again.listing("", 0))}
    again.close()
    assert set(answered) <= set(kept)
    assert {kept[each]["status"] for each in answered} == {"completed"}


async def test_a_stream_cut_by_a_kill_is_interrupted(processes: list[Process], journal_path: Path) -> None:
    first = Process(journal_path)
    processes.append(first)
    async with aiohttp.ClientSession() as session:
        client = Client(first.port, session)
        await client.control(tokens_per_second=50)
        async with client.chat(text="[[tokens=1000]]", stream=True) as response:
            await response.content.readany()
            first.end()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        second = Process(journal_path)
        processes.append(second)
        client = Client(second.port, session)
        (entry,) = await client.journal()
        assert (entry["status"], entry["aborted"]) == ("interrupted", True)
        await client.answer()
        assert len(await client.journal()) == 2


async def test_a_stream_cut_by_sigterm_is_aborted_in_the_file(processes: list[Process], journal_path: Path) -> None:
    process = Process(journal_path)
    processes.append(process)
    async with aiohttp.ClientSession() as session:
        client = Client(process.port, session)
        await client.control(tokens_per_second=50)
        async with client.chat(text="[[tokens=1000]]", stream=True) as response:
            await response.content.readany()
            process.end(signal.SIGTERM)
    assert last_status(journal_path) == "aborted"


def line(number: int) -> bytes:
    return b'{"id":"gen-%d","status":"completed","byok":false,"cost_usd":"0.5"}\n' % number


def test_a_torn_last_line_is_forgotten(journal_path: Path) -> None:
    """A kill within a write must not keep the sandbox from starting."""
    journal_path.write_bytes(line(1) + line(2)[:20])
    journal = Journal(str(journal_path))
    journal.write("gen-3", line(3), False, 0)
    journal.close()
    assert journal_path.read_bytes() == line(1) + line(3)
    assert journal.billed_units == 5 * 10**17


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "ENTRIES_MAX", 10)
    journal = Journal("")
    for number in range(100):
        journal.write(f"gen-{number}", line(number), False, 0)
    kept = [entry["id"] for entry in orjson.loads(journal.listing("", 0))]
    assert 5 <= len(kept) <= 10
    assert kept == [f"gen-{number}" for number in range(100 - len(kept), 100)]
