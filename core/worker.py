"""Takes request events from the queue group and runs a call for each; one ticker looks after all of them."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from bus.connection import Direct
from bus.frames import Answer
from bus.transport import Message
from core.call import Call
from core.phase import Interrupted, Phase
from core.resources import Resources
from proto.onysoft.v1 import work_pb2
from runtime.ids import REQUEST, text
from runtime.log import log

TICK_S = 0.5
LEASE_RENEWED_AT = 0.5
"""Share of a lease after which it is extended."""

LEASE_MARGIN = 0.15
"""Share of a lease that must be left, else the call is cut: its settlement has to come before the hold ends."""

VERDICT_PATIENCE_S = 10.0
TIME_MOVES_AFTER_MS = 1_000
"""How long past a hold's deadline a core waits for any event before it moves the log's time itself."""

MakeCall = Callable[[work_pb2.WorkRequest, Answer], Call]

_monotonic = time.monotonic


class Worker:
    """The calls of one core. `start` takes work; `drain` takes no more and lets what runs end.

    `makers` say for each kind of work (the end of its subject) how a call of it is made.
    """

    def __init__(self, resources: Resources, makers: Mapping[str, MakeCall]) -> None:
        self._resources = resources
        self._makers = makers
        self._live: dict[tuple[bytes, int], Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Direct] = []
        self._ticker: asyncio.Task[None] | None = None
        resources.replica.on_superseded = self._on_superseded

    def __len__(self) -> int:
        """Calls that are running."""
        return len(self._live)

    async def start(self) -> None:
        """Join the queue group."""
        self._ticker = asyncio.create_task(self._tick())
        for kind, make in self._makers.items():
            on_work = partial(self._on_work, make)
            connection = self._resources.connection
            self._subscriptions.append(await connection.subscribe_direct(f"work.*.{kind}", on_work, "core"))

    async def drain(self, patience_s: float) -> None:
        """Leave the queue group; wait for running calls; stop those that outlast `patience_s`."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        for call in list(self._live.values()):
            call.interrupt(Interrupted.STOPPING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        if self._ticker is not None:
            self._ticker.cancel()

    def _on_work(self, make: MakeCall, message: Message) -> None:
        try:
            work = work_pb2.WorkRequest.FromString(message.data)
        except DecodeError:
            log.error("work.unreadable", bytes=len(message.data))
            return
        key = (work.request_id, work.attempt)
        if key in self._live:
            return
        resources = self._resources
        answer = resources.answers.open(work.edge, work.request_id, work.attempt)
        if len(self._live) >= resources.settings.core_calls_in_flight:
            resources.counters.refused_busy += 1
            self._spawn(answer.fail("service_unavailable", retry_after_s=1))
            return
        resources.counters.calls += 1
        call = make(work, answer)
        self._live[key] = call
        call.task = task = asyncio.create_task(call.run())
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._on_done(key, call, task))

    def _on_done(self, key: tuple[bytes, int], call: Call, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._live.pop(key, None)
        call.task = None  # else each ended call waits for the garbage collector
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("call.defect", request_id=text(REQUEST, key[0]), exc_info=error)
            self._spawn(call.abandon())
        elif task.cancelled():
            call.answer.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_superseded(self, request_id: bytes, attempt: int) -> None:
        call = self._live.get((request_id, attempt))
        if call is not None:
            call.interrupt(Interrupted.SUPERSEDED)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = _monotonic()
            for call in list(self._live.values()):
                self._look_after(call, now)
            self._move_time()

    def _look_after(self, call: Call, now: float) -> None:
        settings = self._resources.settings
        if call.phase is Phase.VERDICT:
            if now - call.began_at > VERDICT_PATIENCE_S:
                call.interrupt(Interrupted.VERDICT_LATE)
        elif call.phase is Phase.PROVIDER:
            left_s = call.lease_until - now
            if left_s < LEASE_MARGIN * settings.hold_lease_s or now - call.began_at > settings.call_timeout_s:
                call.interrupt(Interrupted.LEASE_OVER)
        if call.phase is not Phase.VERDICT and call.lease_until - now < LEASE_RENEWED_AT * settings.hold_lease_s:
            call.renew_lease(now)

    def _move_time(self) -> None:
        """Holds end in the log's time. Where nothing else happens, an empty batch lets that time pass."""
        replica = self._resources.replica
        deadline_ms = replica.state.next_deadline_ms()
        if deadline_ms is not None and deadline_ms + TIME_MOVES_AFTER_MS < time.time_ns() // 1_000_000:
            replica.writer.tick(0)
