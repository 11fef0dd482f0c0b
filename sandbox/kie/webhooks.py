"""Delivers callbacks: signed, in time, again after a failure; and late, twice, reordered or never, when asked for."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from runtime.log import log
from sandbox.control import Control
from sandbox.generation import unix_ms
from sandbox.kie import outgoing
from sandbox.kie.callbacks import Caller, Stage, signature, stages
from sandbox.kie.tasks import Task, Tasks

TIMEOUT_S = 15.0
TRIES = 3
RETRY_PAUSE_S = 1.0
AT_ONCE = 64
REORDER_PAUSE_MS = 200.0

Delivery = Callable[[], Coroutine[Any, Any, None]]


class Webhooks:
    """One timer for each callback that is to come; its faults are those in force when it is due."""

    def __init__(self, tasks: Tasks, caller: Caller, control: Control) -> None:
        self._tasks = tasks
        self._caller = caller
        self._control = control
        self._draws = control.kie_draws
        self._timers: set[asyncio.TimerHandle] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    def follow(self, task: Task) -> None:
        """Set the timers of the callbacks that were not yet sent."""
        if not task.callback_url:
            return
        sent = {note["stage"] for note in task.callbacks}
        planned = stages(task)
        for number, stage in enumerate(planned):
            if stage.name not in sent:
                due_ms = task.created_ms + task.takes_ms * stage.share + self._control.kie.webhook_delay_ms
                if self._control.kie.webhook_reorder:
                    due_ms = task.finish_ms + (len(planned) - number) * REORDER_PAUSE_MS
                self._at(due_ms, self._deliver(task, stage))

    def stop(self) -> None:
        """Send nothing more."""
        for timer in self._timers:
            timer.cancel()
        for sending in self._sending:
            sending.cancel()

    def _at(self, due_ms: float, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def begin() -> None:
            self._timers.discard(timer)
            sending = loop.create_task(delivery())
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

        timer = loop.call_later(max(0.0, due_ms - unix_ms()) / 1_000, begin)
        self._timers.add(timer)

    def _deliver(self, task: Task, stage: Stage) -> Delivery:
        async def deliver() -> None:
            if self._draws.hit("webhook_lost", self._control.kie.webhook_lost_rate):
                self._note(task, stage, "lost", 0, 0)
                return
            for _ in range(1 + self._control.kie.webhook_duplicates):
                await self._send(task, stage)

        return deliver

    async def _send(self, task: Task, stage: Stage) -> None:
        body = orjson.dumps(self._caller.body(task, stage.name, self._control.kie.omit_credits))
        status = 0
        for attempt in range(1, TRIES + 1):
            try:
                async with self._room:
                    headers = self._headers(task)
                    status, _ = await outgoing.call("POST", task.callback_url, headers, body, TIMEOUT_S, 65_536)
            except outgoing.Unreachable as error:
                log.info("sandbox.webhook_failed", task_id=task.id, reason=str(error))
                status = 0
            if 200 <= status < 300:
                self._note(task, stage, "delivered", status, attempt)
                return
            if attempt < TRIES:
                await asyncio.sleep(RETRY_PAUSE_S * self._control.kie.time_scale)
        self._note(task, stage, "failed", status, TRIES)

    def _headers(self, task: Task) -> dict[str, str]:
        headers = {"content-type": "application/json", "user-agent": "kie-sandbox"}
        if self._control.kie.webhook_key:
            now_s = int(time.time())
            key = self._control.kie.webhook_key
            if self._draws.hit("webhook_bad_signature", self._control.kie.webhook_bad_signature_rate):
                key += "-wrong"
            headers["x-webhook-timestamp"] = str(now_s)
            headers["x-webhook-signature"] = signature(key, task.id, now_s)
        return headers

    def _note(self, task: Task, stage: Stage, status: str, http_status: int, tries: int) -> None:
        note: dict[str, Any] = {"stage": stage.name, "status": status, "http_status": http_status, "tries": tries}
        self._tasks.note_callback(task, {**note, "at": unix_ms()})
