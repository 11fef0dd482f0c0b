"""A supervised process: restarted when it dies, stopped when it must, heard in between."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from launcher.child import Child, Death, Spec, pause_s
from launcher.screen import LogFile


class Watched:
    """A child and what was heard of it."""

    def __init__(self, folder: Path, program: str) -> None:
        self.started: list[int] = []
        self.deaths: list[Death] = []
        self.lines: list[bytes] = []
        self.is_ready: str | None = None
        spec = Spec("sleeper", (sys.executable, "-c", program), os.environ, self.probe)
        self.log = folder / "sleeper.log"
        self.child = Child(spec, LogFile(self.log), self.on_start, self.deaths.append, self.on_line)

    async def probe(self) -> str | None:
        return self.is_ready

    def on_start(self, child: Child) -> None:
        assert child.pid is not None
        self.started.append(child.pid)

    def on_line(self, name: str, line: bytes) -> None:
        self.lines.append(line)

    async def until(self, what: str) -> None:
        """Wait until `what`, an expression on this object, holds."""
        async with asyncio.timeout(60):
            while not eval(what, {}, {"self": self, "len": len}):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


async def test_a_killed_process_is_restarted_at_once(tmp_path: Path) -> None:
    """One crash would leave customers without a gateway until somebody looks."""
    watched = Watched(tmp_path, SLEEP)
    watched.child.start()
    await watched.until("len(self.lines) == 1")
    os.kill(watched.started[0], signal.SIGKILL)
    await watched.until("len(self.lines) == 2")
    assert watched.started[1] != watched.started[0]
    (death,) = watched.deaths
    assert (death.pid, death.code, death.restart_in_s) == (watched.started[0], -signal.SIGKILL, 0.0)
    assert await watched.child.stop(5)
    assert len(watched.started) == 2, "a process that was stopped stays down"


async def test_readiness_ends_with_the_process(tmp_path: Path) -> None:
    """dev.json would promise a process that is not there."""
    watched = Watched(tmp_path, SLEEP)
    await watched.child.check()
    assert watched.child.reason == "not running"
    watched.child.start()
    await watched.until("len(self.lines) == 1")
    await watched.child.check()
    assert watched.child.ready
    os.kill(watched.started[0], signal.SIGKILL)
    await watched.until("len(self.deaths) == 1")
    assert not watched.child.ready
    await watched.child.stop(5)


async def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    """Ctrl-C would hang for ever."""
    watched = Watched(tmp_path, STUBBORN)
    watched.child.start()
    await watched.until("len(self.lines) == 1")
    assert not await watched.child.stop(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(watched.started[0], 0)


async def test_stopping_does_not_wait_for_a_restart_that_is_due(tmp_path: Path) -> None:
    """Ctrl-C while something keeps crashing must work at once."""
    watched = Watched(tmp_path, "raise SystemExit(3)")
    watched.child.start()
    await watched.until("len(self.deaths) == 3")
    assert await watched.child.stop(0.2)
    assert watched.deaths[-1].deaths_in_row == 3


async def test_its_output_is_kept(tmp_path: Path) -> None:
    """After a crash the last words are all that is left."""
    watched = Watched(tmp_path, "import sys; print('one'); sys.stderr.write('two\\nthree')")
    watched.child.start()
    await watched.until("len(self.deaths) == 1")
    await watched.child.stop(5)
    assert watched.lines[0] == b"one" or watched.lines[0] == b"two"
    assert b"three" in watched.log.read_bytes()


def test_pauses_grow_to_five_seconds() -> None:
    """A process that cannot start would otherwise use up a whole core."""
    assert [pause_s(deaths) for deaths in range(1, 9)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert pause_s(1_000) == 5.0
