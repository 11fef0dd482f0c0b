"""What tests of every package share: a real nats-server for each test that asks for one."""

import asyncio
import functools
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bus.connection import Connection
from bus.server_config import render
from runtime.settings import Settings

START_TIMEOUT_S = 30.0
ASYNC_TEST_TIMEOUT_S = 240.0


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that awaits for ever fails by itself: the alarm of pytest-timeout does not get through to uvloop."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        marker = item.get_closest_marker("timeout")
        item.obj = within(item.obj, float(marker.args[0]) if marker and marker.args else ASYNC_TEST_TIMEOUT_S)


def within(test: Callable[..., Coroutine[Any, Any, None]], seconds: float) -> Callable[..., Coroutine[Any, Any, None]]:
    """The test, cancelled after so long."""

    @functools.wraps(test)
    async def bounded(*arguments: Any, **named: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*arguments, **named)

    return bounded


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the processes run on."""
    return {"uvloop": uvloop.new_event_loop}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """A nats-server process with JetStream, fsync on each write, on a fixed port and store."""

    def __init__(self, folder: Path, config: str, port: int) -> None:
        self.port = port
        self.url = f"nats://127.0.0.1:{port}"
        self._config_path = folder / "nats.conf"
        self._config_path.write_text(config)
        self._log_path = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until the port answers."""
        binary = Path(sys.executable).parent / "nats-server"
        with self._log_path.open("ab") as log_file:
            self._process = subprocess.Popen(
                [str(binary), "-c", str(self._config_path)], stdout=log_file, stderr=log_file
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"nats-server ended: {self._log_path.read_text()[-2000:]}")
            if self._greets():
                return
            if time.monotonic() > deadline:
                raise RuntimeError("nats-server does not answer")
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return probe.recv(4) == b"INFO"
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """SIGSTOP: the server lives, and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start again on the same port and store; kills what still runs."""
        self.kill()
        self.start()

    def log_text(self) -> str:
        """What the server has logged."""
        return self._log_path.read_text()

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            if number != signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
        self._process.wait(timeout=20)
        self._process = None


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A real nats-server on a free port, its store below tmp_path."""
    folder = tmp_path / "nats"
    folder.mkdir()
    port = free_port()
    server = NatsServer(folder, render(port, folder / "store"), port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(nats_server: NatsServer) -> Settings:
    """Settings that point to the test's own server."""
    return Settings(nats_url=nats_server.url)


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    """An open connection to the test's own server."""
    opened = await asyncio.wait_for(Connection.open(settings, "test"), 60)
    yield opened
    await opened.close()
