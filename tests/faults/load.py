"""Calls in flight, and what each client saw: the log that the ledger is held against."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from tests.faults.gateway import Customer, Gateway

CALL_TIMEOUT_S = 90.0
CONNECT_TIMEOUT_S = 5.0
PAUSE_AFTER_FAILURE_S = 0.25
CALLS_KEPT_MAX = 500_000
LINE_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class Call:
    """One call as its client saw it. `whole`: every byte of the answer came, its cost with it."""

    number: int
    edge: str
    account_id: str
    streamed: bool
    began_at: float
    ended_at: float = 0.0
    status: int = 0
    request_id: str = ""
    code: str = ""
    whole: bool = False
    text: str = ""
    finish: str = ""
    amount: Decimal | None = None
    trouble: str = ""

    @property
    def outcome(self) -> str:
        """In one word or two."""
        if self.whole:
            return "whole"
        return self.code or self.trouble or f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the one answer that the sandbox has to it."""

    model: str
    prompt: str
    answer: str

    def body(self, streamed: bool) -> dict[str, Any]:
        """The request's JSON."""
        return {"model": self.model, "messages": [{"role": "user", "content": self.prompt}], "stream": streamed}


def _session(calls: int) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
    return aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(limit=calls), read_bufsize=LINE_BYTES_MAX
    )


async def ask_sandbox(gateway: Gateway, model: str, prompt: str) -> Question:
    """Have the sandbox itself answer once, so that what comes through the gateway can be compared word by word."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    url = f"{gateway.sandbox_url}/api/v1/chat/completions"
    async with _session(1) as session, session.post(url, json=body, headers={"authorization": "Bearer x"}) as answer:
        said = await answer.json()
    return Question(model, prompt, said["choices"][0]["message"]["content"])


async def make_call(session: aiohttp.ClientSession, call: Call, api_key: str, question: Question) -> Call:
    """Make one call and write down what came. Raises nothing that a network can cause."""
    headers = {"authorization": f"Bearer {api_key}", "accept-language": "en"}
    url = f"{call.edge}/chat/completions"
    try:
        async with session.post(url, json=question.body(call.streamed), headers=headers) as answer:
            call.status = answer.status
            call.request_id = answer.headers.get("x-request-id", "")
            if answer.status != 200:
                call.code = json.loads(await answer.read())["error"]["code"]
            elif call.streamed:
                await _read_stream(call, answer)
            else:
                _read_whole(call, await answer.read())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        call.trouble = type(error).__name__
    call.ended_at = time.monotonic()
    cut = call.finish == "length" and question.answer.startswith(call.text)  # the balance covered no more
    if call.whole and call.text != question.answer and not cut:
        call.trouble = "another text"
    call.text = ""
    return call


def _read_whole(call: Call, body: bytes) -> None:
    said = json.loads(body, parse_float=Decimal)
    call.text = said["choices"][0]["message"]["content"]
    call.finish = said["choices"][0]["finish_reason"]
    call.amount = Decimal(said["cost"]["amount"])
    call.whole = said["id"] == call.request_id


async def _read_stream(call: Call, answer: aiohttp.ClientResponse) -> None:
    parts: list[str] = []
    async for line in answer.content:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            call.whole = call.amount is not None
            continue
        chunk = json.loads(line[6:], parse_float=Decimal)
        if "error" in chunk:
            call.code = chunk["error"]["code"]
            continue
        if "cost" in chunk:
            call.amount = Decimal(chunk["cost"]["amount"])
        for choice in chunk["choices"]:
            parts.append(choice["delta"].get("content") or "")
            call.finish = choice["finish_reason"] or call.finish
    call.text = "".join(parts)
    if not call.whole and not call.code:
        call.trouble = "ended early"


class Load:
    """Keeps `in_flight` calls going until `stop`, every second one streamed, over all edges and customers in turn."""

    def __init__(
        self, gateway: Gateway, customers: Sequence[Customer], questions: Sequence[Question], in_flight: int
    ) -> None:
        self.calls: list[Call] = []
        self._urls = gateway.base_urls
        self._customers = customers
        self._questions = questions
        self._in_flight = in_flight
        self._numbers = itertools.count()
        self._stopping = False
        self._ended = asyncio.Event()
        self._session = _session(in_flight)
        self._workers: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """Calls that have begun and not ended."""
        return sum(not call.ended_at for call in self.calls[-4 * self._in_flight :])

    def start(self) -> None:
        """Begin."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._in_flight)]

    async def stop(self) -> None:
        """Begin no more calls; wait until those that run have ended."""
        self._stopping = True
        await asyncio.gather(*self._workers)
        await self._session.close()

    async def until_answered(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more calls, begun from now on, were answered whole. Raises TimeoutError."""
        begun_before = len(self.calls)
        async with asyncio.timeout(timeout_s):
            while sum(call.whole for call in self.calls[begun_before:]) < count:
                self._ended.clear()
                await self._ended.wait()

    def first_answer_after(self, moment: float, edge: str = "") -> Call | None:
        """The call begun after `moment` (through `edge`, where one is named) that was first answered whole."""
        found = [
            call for call in self.calls if call.whole and call.began_at >= moment and (not edge or call.edge == edge)
        ]
        return min(found, key=lambda call: call.ended_at, default=None)

    def caught_by(self, moment: float) -> Counter[str]:
        """How the calls ended that were in flight at `moment`."""
        return Counter(
            ("streamed " if call.streamed else "") + call.outcome
            for call in self.calls
            if call.began_at < moment < (call.ended_at or moment + 1)
        )

    async def _work(self) -> None:
        while not self._stopping and len(self.calls) < CALLS_KEPT_MAX:
            number = next(self._numbers)
            customer = self._customers[number % len(self._customers)]
            question = self._questions[number % len(self._questions)]
            edge = self._urls[number // 2 % len(self._urls)]
            call = Call(number, edge, customer.account_id, number % 2 == 0, time.monotonic())
            self.calls.append(call)
            await make_call(self._session, call, customer.api_key, question)
            self._ended.set()
            if not call.whole:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
