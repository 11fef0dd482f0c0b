"""One supervised process: started, watched, restarted, stopped."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from launcher.folder import PROJECT
from launcher.ports import is_free
from launcher.probe import Probe
from launcher.screen import LogFile

_PAUSE_FIRST_S = 0.25
_PAUSE_MAX_S = 5.0
_LONG_LIFE_S = 10.0
_LINE_BYTES_MAX = 65_536
_PUMP_END_S = 1.0
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run. It listens on `ports`; `inherit` are file descriptors that it keeps open for its life.

    The instance is ready without what is not `essential`: calls are served all the same.
    """

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    probe: Probe
    ports: tuple[int, ...] = ()
    inherit: tuple[int, ...] = ()
    essential: bool = True


@dataclass(frozen=True, slots=True)
class Death:
    """A process ended without having been asked to. Others listen on `lost_ports`, so it cannot come back as it was."""

    name: str
    pid: int
    code: int
    restart_in_s: float
    deaths_in_row: int
    lost_ports: tuple[int, ...] = ()


def pause_s(deaths_in_row: int) -> float:
    """How long to wait before a restart: none after the first death, then growing to 5 s."""
    return 0.0 if deaths_in_row <= 1 else float(min(_PAUSE_MAX_S, _PAUSE_FIRST_S * 2 ** (deaths_in_row - 2)))


class Child:
    """Keeps the process of a Spec alive until `stop`.

    `on_start` and `on_death` hear of every start and every death, `on_line` of every line of its output.
    """

    def __init__(
        self,
        spec: Spec,
        log: LogFile,
        on_start: Callable[["Child"], None],
        on_death: Callable[[Death], None],
        on_line: Callable[[str, bytes], None],
    ) -> None:
        self.spec = spec
        self.ready = False
        self.reason = "not started"
        self.deaths_in_row = 0
        self._log = log
        self._on_start = on_start
        self._on_death = on_death
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The running process's id; None between a death and the restart."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process and keep it alive from now on."""
        self._life = asyncio.create_task(self._live(), name=f"child {self.spec.name}")

    async def check(self) -> None:
        """Ask the process whether it is ready."""
        process = self._process
        reason = await self.spec.probe() if process is not None else "not running"
        if process is self._process:
            self.reason = reason or ""
            self.ready = reason is None

    async def stop(self, patience_s: float) -> bool:
        """Ask the process to end; kill it after `patience_s`. Whether it ended by itself."""
        self._stopping.set()
        life = self._life
        if life is None:
            return True
        if self._process is not None:
            _send(self._process, signal.SIGTERM)
        done, _ = await asyncio.wait([life], timeout=patience_s)
        if not done and self._process is not None:
            _send(self._process, signal.SIGKILL)
        await life
        self._log.close()
        return bool(done)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            pid, code = await self._run_once()
            if self._stopping.is_set():
                return
            self.deaths_in_row = 1 if loop.time() - started >= _LONG_LIFE_S else self.deaths_in_row + 1
            pause = pause_s(self.deaths_in_row)
            lost = tuple(port for port in self.spec.ports if not is_free(port))
            self._on_death(Death(self.spec.name, pid, code, pause, self.deaths_in_row, lost))
            try:
                async with asyncio.timeout(pause or 0.001):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _run_once(self) -> tuple[int, int]:
        process = await asyncio.create_subprocess_exec(
            *self.spec.words,
            cwd=PROJECT,
            env=dict(self.spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=self.spec.inherit,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
        self._process = process
        if self._stopping.is_set():
            _send(process, signal.SIGTERM)
        self._on_start(self)
        assert process.stdout is not None
        pump = asyncio.create_task(self._pump(process.stdout))
        code = await process.wait()
        self._process = None
        self.ready = False
        self.reason = "not running"
        await asyncio.wait([pump], timeout=_PUMP_END_S)
        pump.cancel()
        return process.pid, code

    async def _pump(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await output.read(_LINE_BYTES_MAX):
            self._log.write(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_LINE_BYTES_MAX:]
            for line in lines:
                self._on_line(self.spec.name, line)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass


def die_with(parent: int) -> Callable[[], None] | None:
    """For the new process: be killed when `parent` dies, however it dies. Only Linux can do that."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind
