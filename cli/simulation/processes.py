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
EARLY_S = 1.0
EARLY_DEATHS_MAX = 5


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
) -> AsyncIterator[asyncio.Future[None]]:
    """A process that is ready, is started again whenever it dies, and is stopped in the end.

    The future ends with OperatorError when it cannot be kept running. Raises that too.
    """
    kept = _Kept(words, log, {**os.environ, **(environment or {})})
    keeping = asyncio.create_task(kept.run())
    try:
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while not await asyncio.to_thread(ready):
            if keeping.done():
                keeping.result()
            if asyncio.get_running_loop().time() > deadline:
                raise OperatorError(f"{Path(words[0]).name} does not start; see {log}")
            await asyncio.sleep(POLL_S)
        yield keeping
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await kept.stop()


class _Kept:
    """One process at a time, the next as soon as one has died."""

    def __init__(self, words: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._words = words
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Raises OperatorError when it dies EARLY_DEATHS_MAX times in a row, each time soon after its start."""
        early = 0
        clock = asyncio.get_running_loop().time
        while early < EARLY_DEATHS_MAX:
            began = clock()
            with self._log.open("ab") as file:
                self._process = await asyncio.create_subprocess_exec(
                    *self._words, stdout=file, stderr=file, env=self._environment
                )
            await self._process.wait()
            early = early + 1 if clock() - began < EARLY_S else 0
            await asyncio.sleep(POLL_S)
        raise OperatorError(f"{Path(self._words[0]).name} does not keep running; see {self._log}")

    async def stop(self) -> None:
        """Terminate it, and kill it when it does not end."""
        if self._process is not None:
            await _stop(self._process)


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
