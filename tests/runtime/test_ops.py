"""The operator's port: probes decide whether traffic is sent to a process."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from runtime import ops as ops_module
from runtime.ops import Ops
from runtime.settings import Settings


class Process:
    """A process whose readiness the test decides."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.ops = Ops(Settings(), "core", lambda: self.reason)
        self.port = 0

    async def exchange(self, question: bytes) -> bytes:
        """Everything that is answered until the connection closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(question)
        try:
            return await asyncio.wait_for(reader.read(-1), 5)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def answers_probes(self, wanted: bool) -> None:
        """Wait until probes are answered, or are not."""
        async with asyncio.timeout(5):
            while True:
                if bool(await self.exchange(b"GET /healthz HTTP/1.1\r\n\r\n")) is wanted:
                    return
                await asyncio.sleep(0.01)

    async def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of one page."""
        answer = await self.exchange(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    running = Process()
    running.port = await running.ops.start()
    yield running
    await running.ops.close()


async def test_readyz_follows_readiness_and_says_why_not(process: Process) -> None:
    """A balancer that cannot tell sends calls into a process that has not read the ledger yet."""
    process.reason = "folding the ledger"
    status, body = await process.get("/readyz")
    assert status == 503
    assert orjson.loads(body) == {"ready": False, "process": "core", "reason": "folding the ledger"}
    process.reason = None
    status, body = await process.get("/readyz?verbose")
    assert status == 200
    assert orjson.loads(body)["ready"] is True


async def test_healthz_answers_while_not_ready(process: Process) -> None:
    """A process that is only waiting for NATS must not be killed for it."""
    process.reason = "no connection to NATS"
    assert (await process.get("/healthz"))[0] == 200


async def test_metrics_are_prometheus_text(process: Process) -> None:
    """Dashboards and alarms read this."""
    status, body = await process.get("/metrics")
    assert status == 200
    assert b'onysoft_process{process="core"} 1.0' in body
    assert b"process_resident_memory_bytes" in body
    assert b"onysoft_loop_lag_seconds" in body


@pytest.mark.parametrize(
    ("question", "status"),
    [(b"POST /readyz HTTP/1.1", 405), (b"GET /admin HTTP/1.1", 404), (b"nonsense", 400), (b"\xff \xfe", 400)],
)
async def test_anything_else_is_refused(process: Process, question: bytes, status: int) -> None:
    """A scanner on the operator's network must not take the process down."""
    answer = await process.exchange(question + b"\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (await process.get("/healthz"))[0] == 200


async def test_head_has_no_body(process: Process) -> None:
    """Some balancers probe with HEAD."""
    assert await process.get("/readyz", "HEAD") == (200, b"")


async def test_an_endless_request_is_cut(process: Process) -> None:
    """Memory is bounded on this port too."""
    assert await process.exchange(b"GET /" + b"x" * 100_000) == b""


async def test_a_silent_connection_is_dropped(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that never ask would pile up."""
    monkeypatch.setattr(ops_module, "_REQUEST_TIMEOUT_S", 0.05)
    assert await process.exchange(b"GET /he") == b""


async def test_many_connections_are_refused_and_probes_work_again_after(process: Process) -> None:
    """A leak in a monitoring agent must not use up the process's file descriptors."""
    held = [await asyncio.open_connection("127.0.0.1", process.port) for _ in range(ops_module._CONNECTIONS_MAX)]
    await process.answers_probes(False)
    for _, writer in held:
        writer.close()
    await process.answers_probes(True)
