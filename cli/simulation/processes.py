"""The processes that a simulation needs for a while: a nats-server on the folder's store, the analytics process."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bus.server_config import render
from runtime.errors import OperatorError

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[str]:
    """A server on `folder`/nats/store, where `./dev up` has its own; its URL. Raises OperatorError."""
    store = folder / "nats"
    store.mkdir(exist_ok=True)
    port = free_port()
    config = store / "simulation.conf"
    config.write_text(render(port, store / "store"))
    words = [str(Path(sys.executable).with_name("nats-server")), "-c", str(config)]
    async with running(words, store / "simulation.log", lambda: _answers(port)):
        yield f"nats://127.0.0.1:{port}"
    config.unlink()


@asynccontextmanager
async def running(
    words: list[str], log: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ready, and that is stopped in the end. Raises OperatorError."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=file, stderr=file, env={**os.environ, **(environment or {})}
        )
    try:
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while not await asyncio.to_thread(ready):
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise OperatorError(f"{Path(words[0]).name} does not start; see {log}")
            await asyncio.sleep(POLL_S)
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0 and probe.recv(4) == b"INFO"
