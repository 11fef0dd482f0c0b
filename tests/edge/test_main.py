"""The edge as a process of its own."""

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from bus.connection import Connection
from runtime.settings import Settings
from tests.conftest import NatsServer, free_port
from tests.edge.conftest import PEPPER, FakeCore, until
from tests.edge.wire import chat, exchange, request

ROOT = Path(__file__).parents[2]
RSS_BYTES_MAX = 80_000_000
START = """
import sys
from edge.main import serve
from runtime import log
from runtime.process import run
from runtime.settings import Settings
heavy = {"grpc", "openai", "typer", "aiohttp", "pyreqwest"} & set(sys.modules)
assert not heavy, heavy
settings = Settings()
log.configure(settings, "edge")
sys.exit(run(lambda stop: serve(settings, stop)))
"""


class EdgeProcess:
    """A running edge, its ports."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, ops_port: int) -> None:
        self.process = process
        self.port = port
        self.ops_port = ops_port

    def page(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}{path}", timeout=5) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[EdgeProcess]:
    port, ops_port = free_port(), free_port()
    environment = {
        **os.environ,
        "ONYSOFT_NATS_URL": settings.nats_url,
        "ONYSOFT_EDGE_PORT": str(port),
        "ONYSOFT_OPS_PORT": str(ops_port),
        "ONYSOFT_KEY_PEPPER": PEPPER,
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    running = EdgeProcess(process, port, ops_port)
    yield running
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_it_serves_and_drains(process: EdgeProcess, directory: None, core: FakeCore) -> None:
    """An operator could not run an edge, see whether it is ready, or stop it without breaking calls."""
    await until(lambda: process.page("/readyz")[0] == 200)
    assert (await exchange(process.port, request(chat()))).status == 200
    metrics = process.page("/metrics")[1].decode()
    assert 'onysoft_edge_responses_total{code="",route="chat",status="200"} 1.0' in metrics
    assert psutil.Process(process.process.pid).memory_info().rss < RSS_BYTES_MAX
    process.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.process.wait(), 15) == 0
    assert process.process.stderr is not None
    log = (await process.process.stderr.read()).decode()
    assert "sk-ony-" not in log
    assert '"level":"error"' not in log


async def test_it_waits_for_its_server(process: EdgeProcess, nats_server: NatsServer, connection: Connection) -> None:
    """Starting the parts in another order would end the edge, or make it say that it is ready."""
    nats_server.kill()
    await until(lambda: process.page("/readyz")[0] == 503)
    process.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.process.wait(), 15) == 0
