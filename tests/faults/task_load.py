"""Media tasks in flight, and what each client saw of its own until its end."""

import asyncio
import json
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from tests.faults.gateway import Customer, Gateway
from tests.faults.load import CALLS_KEPT_MAX, PAUSE_AFTER_FAILURE_S, Call, Load, Question

POLL_S = 1.0
END_TIMEOUT_S = 400.0
ENDED = ("completed", "failed")
MODELS = ("google/imagen4-fast", "google/nano-banana-2-1k", "qwen/text-to-image", "gpt4o-image")
"""Exact prices and such as the provider names, of the market and of a family of its own."""


@dataclass(slots=True)
class TaskCall(Call):
    """One task as its client saw it. `whole`: it was taken, with an id; `final`: the status that was its last."""

    task_id: str = ""
    final: str = ""
    final_code: str = ""
    urls: tuple[str, ...] = ()
    polls: int = 0


class TaskLoad(Load):
    """Keeps `in_flight` tasks going until `stop`, which waits until each of them has ended."""

    def __init__(self, gateway: Gateway, customers: list[Customer], in_flight: int) -> None:
        questions = [Question(model, "kırmızı uçurtma", "") for model in MODELS]
        super().__init__(gateway, customers, questions, in_flight)

    @property
    def tasks(self) -> list[TaskCall]:
        """All so far."""
        return [call for call in self.calls if isinstance(call, TaskCall)]

    @property
    def running(self) -> int:
        """Tasks that were taken and have not ended."""
        return sum(bool(call.task_id) and not call.final for call in self.tasks)

    async def _work(self) -> None:
        while not self._stopping and len(self.calls) < CALLS_KEPT_MAX:
            number = next(self._numbers)
            customer = self._customers[number % len(self._customers)]
            question = self._questions[number % len(self._questions)]
            edge = self._urls[number // 2 % len(self._urls)]
            call = TaskCall(number, edge, customer.account_id, False, time.monotonic())
            self.calls.append(call)
            headers = {"authorization": f"Bearer {customer.api_key}", "accept-language": "en"}
            await self._begin(call, question, headers)
            self._ended.set()
            if call.whole:
                await self._follow(call, headers)
            else:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async def _begin(self, call: TaskCall, question: Question, headers: dict[str, str]) -> None:
        body = {"model": question.model, "prompt": question.prompt}
        try:
            async with self._session.post(f"{call.edge}/image/generate", json=body, headers=headers) as answer:
                call.status = answer.status
                call.request_id = answer.headers.get("x-request-id", "")
                said = json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            call.trouble = type(error).__name__
        else:
            if call.status == 202:
                call.task_id, call.whole = said["task_id"], True
            else:
                call.code = said["error"]["code"]
        call.ended_at = time.monotonic()

    async def _follow(self, call: TaskCall, headers: dict[str, str]) -> None:
        """Poll until it has ended, whatever dies meanwhile; an expired one may still be completed later."""
        give_up_at = time.monotonic() + END_TIMEOUT_S
        while time.monotonic() < give_up_at:
            shown = await self._look(call, headers)
            if shown is not None and shown["status"] in ENDED:
                call.final = shown["status"]
                call.final_code = (shown["error"] or {}).get("code", "")
                call.amount = Decimal(shown["cost"]["amount"])
                call.urls = tuple(shown["urls"])
                return
            await asyncio.sleep(POLL_S)

    async def _look(self, call: TaskCall, headers: dict[str, str]) -> dict[str, Any] | None:
        edge = self._urls[call.polls % len(self._urls)]
        call.polls += 1
        try:
            async with self._session.get(f"{edge}/video/status/{call.task_id}", headers=headers) as answer:
                if answer.status != 200:
                    if answer.status == 404:
                        call.trouble = "its task is not found"
                    return None
                shown: dict[str, Any] = json.loads(await answer.read(), parse_float=Decimal)
                return shown
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
