"""Starts an instance's processes, keeps them alive, tells others how to reach them, stops them in order."""

import asyncio
import os
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher.child import Child, Death, die_with
from launcher.folder import PROJECT, Folder
from launcher.plan import Options, choose_ports, make_plan
from launcher.screen import LogFile, Screen
from launcher.welcome import welcome
from runtime.errors import OperatorError
from runtime.ops import Ops
from runtime.settings import Settings

_POLL_STARTING_S = 0.1
_POLL_READY_S = 1.0
_WAITING_SAID_EVERY_S = 10.0
_START_DEATHS_MAX = 6
_DRAIN_MARGIN_S = 3.0
_STOP_MIN_S = 5.0
_DEMO_TIMEOUT_S = 60.0


class PortLost(OperatorError):
    """Somebody took a port between its choice and its use. Another start chooses others."""


class Supervisor:
    """One instance on one machine. Raises OperatorError when a port that was asked for is in use."""

    def __init__(self, options: Options, folder: Folder, screen: Screen) -> None:
        ports = choose_ports(options)
        self._plan = make_plan(options, folder, folder.secrets(), ports)
        self._settings = Settings(ops_port=ports.ops["supervisor"], process_name="supervisor")
        self._folder = folder
        self._screen = screen
        self._children = {
            spec.name: Child(spec, LogFile(self._log_path(spec.name)), self._started, self._died, screen.relay)
            for stage in self._plan.stages
            for spec in stage
        }
        self._ops = Ops(self._settings, "supervisor", self.why_not_ready)
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._announced = False
        self._said_ready = False
        self._lost_ports: tuple[int, ...] = ()
        self._changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set.

        Raises OperatorError when a process cannot start, PortLost when another start may do better; nothing is left
        running then.
        """
        await self._ops.start()
        began = time.monotonic()
        watch: asyncio.Task[None] | None = None
        try:
            if await self._start(stop):
                self._announced = True
                self._announce()
                self._screen.say(welcome(self._document(), time.monotonic() - began))
                watch = asyncio.create_task(self._watch())
                await stop.wait()
        finally:
            self._announced = False
            if watch is not None:
                watch.cancel()
            await self._stop()

    def why_not_ready(self) -> str | None:
        """None when every process is ready; else the first that is not, and why."""
        for name, child in self._children.items():
            if not child.ready and child.spec.essential:
                return f"{name}: {child.reason}"
        return None if self._announced else "starting"

    async def _start(self, stop: asyncio.Event) -> bool:
        first, *others = self._plan.stages
        for specs in (first, [spec for stage in others for spec in stage]):
            children = [self._children[spec.name] for spec in specs]
            for child in children:
                child.start()
            if not await self._until_ready(children, stop):
                return False
        return await self._open_demo(stop)

    async def _until_ready(self, children: Collection[Child], stop: asyncio.Event) -> bool:
        """Whether all became ready before `stop`."""
        say_at = time.monotonic() + _WAITING_SAID_EVERY_S
        while not stop.is_set():
            await asyncio.gather(*(child.check() for child in children))
            waiting = [child for child in children if not child.ready and child.spec.essential]
            if not waiting:
                return True
            if self._lost_ports:
                raise PortLost(f"somebody else took port {self._lost_ports[0]}")
            for child in waiting:
                if child.deaths_in_row >= _START_DEATHS_MAX:
                    name = child.spec.name
                    raise OperatorError(f"{name} cannot start; its log is {self._log_path(name)}")
            if time.monotonic() > say_at:
                say_at = time.monotonic() + _WAITING_SAID_EVERY_S
                self._screen.say("waiting for " + ", ".join(f"{child.spec.name} ({child.reason})" for child in waiting))
            await _pause(stop, _POLL_STARTING_S)
        return False

    async def _open_demo(self, stop: asyncio.Event) -> bool:
        """The demo account and its key; made at the first start on a folder, found at later ones."""
        environment = {
            **os.environ,
            "ONYSOFT_ADMIN_ADDRESS": self._plan.admin_addresses[0],
            "ONYSOFT_ADMIN_TOKEN": self._plan.secrets["admin_token"],
            **self._plan.console,
        }
        words = (sys.executable, "-m", "launcher.demo", str(self._folder.path))
        process = await asyncio.create_subprocess_exec(
            *words, cwd=PROJECT, env=environment, start_new_session=True, preexec_fn=die_with(os.getpid())
        )
        waits = [asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())]
        done, waiting = await asyncio.wait(waits, timeout=_DEMO_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if waits[0] not in done:
            process.kill()
            await process.wait()
        if stop.is_set():
            return False
        if process.returncode:
            raise OperatorError("the demo account could not be opened")
        self._plan.secrets.update(self._folder.secrets())
        return True

    async def _watch(self) -> None:
        """Keep dev.json true: processes become ready and cease to be."""
        while True:
            self._changed.clear()
            await asyncio.gather(*(child.check() for child in self._children.values()))
            reason = self.why_not_ready()
            if (reason is None) != self._said_ready:
                self._announce()
                self._screen.event("instance.ready" if reason is None else "instance.not_ready", reason=reason or "")
            pause = _POLL_READY_S if reason is None else _POLL_STARTING_S
            await _pause(self._changed, pause)

    def _started(self, child: Child) -> None:
        if self._announced:
            self._announce()
            self._screen.event("process.started", child=child.spec.name, pid=child.pid)

    def _died(self, death: Death) -> None:
        self._changed.set()
        self._lost_ports = death.lost_ports
        fields = {"child": death.name, "pid": death.pid, "code": death.code, "restart_in_s": death.restart_in_s}
        if death.lost_ports:
            fields["lost_ports"] = list(death.lost_ports)
        self._screen.event("process.died", **fields)

    def _announce(self) -> None:
        document = self._document()
        self._said_ready = bool(document["ready"])
        try:
            self._folder.announce(document)
        except OSError as error:
            self._screen.event("instance.not_announced", reason=str(error))

    def _document(self) -> dict[str, Any]:
        """dev.json: what a script needs in order to use, watch or hurt this instance."""
        plan, ports = self._plan, self._plan.ports
        pids = {name: child.pid for name, child in self._children.items() if child.pid is not None}
        return {
            "ready": self.why_not_ready() is None,
            "base_url": plan.base_urls[0],
            "base_urls": plan.base_urls,
            "api_key": plan.secrets.get("api_key", ""),
            "account_id": plan.secrets.get("account_id", ""),
            "sandbox_url": f"http://127.0.0.1:{ports.sandbox}",
            "console_url": self._plan.console.get("ONYSOFT_CONSOLE_URL", ""),
            "console_people": {
                name: {part: plan.secrets.get(f"{name}_{part}", "") for part in ("email", "password", "totp_secret")}
                for name in ("user", "partner", "administrator")
                if self._plan.console
            },
            "admin_address": plan.admin_addresses[0],
            "admin_addresses": plan.admin_addresses,
            "admin_token": plan.secrets["admin_token"],
            "nats_url": plan.nats_url,
            "readyz_url": f"http://127.0.0.1:{ports.ops['supervisor']}/readyz",
            "ops_urls": {name: f"http://127.0.0.1:{port}" for name, port in ports.ops.items()},
            "pids": {**pids, "supervisor": os.getpid()},
            "data": str(self._folder.path),
            "started_at": self._started_at,
        }

    async def _stop(self) -> None:
        """Edges drain first, then cores, projections, and last what they all need."""
        self._folder.withdraw()
        self._screen.say("stopping: edges drain first")
        deadline = time.monotonic() + self._settings.drain_s + _DRAIN_MARGIN_S
        for stage in reversed(self._plan.stages):
            patience = max(_STOP_MIN_S, deadline - time.monotonic())
            children = [self._children[spec.name] for spec in stage]
            for child, ended in zip(
                children, await asyncio.gather(*(child.stop(patience) for child in children)), strict=True
            ):
                if not ended:
                    self._screen.event("process.killed", child=child.spec.name, after_s=round(patience, 1))
        await self._ops.close()
        self._screen.say("stopped")

    def _log_path(self, name: str) -> Path:
        return self._folder.path / "logs" / f"{name}.log"


async def _pause(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
