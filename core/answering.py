"""How an admitted call gets its answer: from a provider, whole or streamed, settled before its end is sent."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from bus.frames import ClientGone
from bus.writer import Applied
from core import tokens
from core.admission import Hold, Terms
from core.catalogue import Entry, Route
from core.costing import Cost, cost_of, shown_cost
from core.growth import Growth
from core.phase import Interrupted, Phase
from core.pricing import Demand, Price, Tariff
from core.providers.port import AbortPolicy, AnswerStream, Chunk, Completion, Provider, ProviderFailure, Usage
from core.tokens import OwnCount
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import REQUEST, text

if TYPE_CHECKING:
    from core.chat import ChatCall

COST_LOOKUPS = 3
COST_LOOKUP_PAUSE_S = 0.4
GROWTH_BYTES_PER_TOKEN = 2
"""A growing hold reckons with tokens as short as this: Turkish has some 2.5 bytes a token, English 4."""

OVERRUN_CHUNKS = 16
"""Content chunks beyond the output limit after which a provider that ignores it is cut: a chunk is at least a token."""

TEXT_KEPT_BYTES = 128 * 1024
"""Of a streamed answer that is kept until its provider has said how many tokens it was; a longer one is not."""

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Order:
    """An admitted call: what to ask of which model, within which output, and how its cost is charged.

    `model` is the id that the client asked for, which may be an alias.
    """

    model: str
    entry: Entry
    tariff: Tariff
    currency: str
    upstream: dict[str, Any]
    hold: Hold
    demand: Demand
    terms: Terms


class WholeAnswer:
    """A non-streamed answer."""

    def __init__(self, call: "ChatCall", order: Order) -> None:
        self._call = call
        self._order = order

    async def run(self) -> None:
        """Call the provider, settle, answer. A client that leaves meanwhile pays: the provider bills the whole."""
        route, completion = await self._call.begin(self._order.entry, self._begin)
        body, order = completion.body, self._order
        price = order.entry.price_of(route)
        cost = await cost_of(
            price, completion.usage, order.demand.images, lambda: own_count(order, price, _texts(body))
        )
        applied = await self._call.settle(order, cost, route.provider, completion.generation_id, pb.COMPLETED)
        body["id"] = text(REQUEST, self._call.request_id)
        body["model"] = order.model
        body["usage"] = own_usage(body.get("usage"), cost)
        body["cost"] = shown_cost(applied.outcome.charged_nano, self._order.currency)
        await self._call.answer.finish(orjson.dumps(body), applied.position)

    async def _begin(self, route: Route) -> Completion:
        self._order.upstream["model"] = route.upstream_id
        self._call.answer.served_by(route.provider.name)
        return await route.provider.complete(
            orjson.dumps(self._order.upstream), self._call.trace_headers(), self._call.remaining_s()
        )


def own_usage(usage: Any, cost: Cost) -> dict[str, Any]:
    """The provider's usage object without what the house pays; our own where there is none."""
    if not isinstance(usage, dict) or cost.basis == pb.ESTIMATED:
        return cost.shown_usage()
    for field in ("cost", "cost_details", "is_byok"):
        usage.pop(field, None)
    return usage


async def own_count(order: Order, price: Price, texts: Sequence[str], tokens_min: int = 0) -> OwnCount:
    """Our own count of a call's tokens. Images are counted where the price has no part for them.

    Another tokenizer may count more than the output limit that the model's own has kept: the limit stands.
    """
    images = 0 if price.rates.image else order.demand.images
    counted = await tokens.count(order.upstream, texts, images, tokens_min, order.entry.tokenizer)
    most = max(tokens_min, order.hold.output_tokens * order.terms.choices)
    return counted._replace(completion_tokens=min(counted.completion_tokens, most))


def _texts(body: Mapping[str, Any]) -> list[str]:
    """All that was generated, for our own count."""
    messages = [choice.get("message") or {} for choice in body["choices"]]
    return [each for message in messages for each in tokens.answer_texts(message)]


class StreamedAnswer:
    """A streamed answer. The last chunk, with usage and cost, waits for the settlement."""

    def __init__(self, call: "ChatCall", order: Order) -> None:
        self._call = call
        self._answer = call.answer
        self._order = order
        self._model = order.model
        self._chunks_max = order.hold.output_tokens * (order.upstream.get("n") or 1) + OVERRUN_CHUNKS
        self._id = text(REQUEST, call.request_id)
        self._created = 0
        self._usage: Usage | None = None
        self._shown_usage: Any = None
        self._content_bytes = 0
        self._content_chunks = 0
        self._texts: list[str] = []
        self._growth = Growth(call, order)

    async def run(self) -> None:
        """Relay chunks as they come; then settle, and only then end."""
        route, (stream, first) = await self._call.begin(self._order.entry, self._begin)
        provider = route.provider
        end: pb.CallEnd.ValueType = pb.COMPLETED
        failure: ProviderFailure | None = None
        try:
            await self._relay(first)
            async for chunk in stream:
                await self._relay(chunk)
                if self._content_chunks > self._chunks_max or not await self._is_held_for():
                    end = pb.CUT
                    break
            self._call.phase = Phase.ENDING
        except ProviderFailure as error:
            self._call.phase = Phase.ENDING
            end, failure = pb.BROKEN, error
            self._usage = error.usage or self._usage
        except ClientGone:
            self._call.phase = Phase.ENDING
            end = await self._client_gone(provider, stream)
        except asyncio.CancelledError:
            if self._call.interrupted is None:
                raise
            self._call.resume()
            self._call.phase = Phase.ENDING
            end = await self._stopped(self._call.interrupted, provider, stream)
        finally:
            await stream.aclose()
            await self._growth.finished()
        await self._end(route, stream.generation_id, end, failure)

    async def _begin(self, route: Route) -> tuple[AnswerStream, Chunk | None]:
        self._order.upstream["model"] = route.upstream_id
        self._call.answer.served_by(route.provider.name)
        stream = route.provider.stream(
            orjson.dumps(self._order.upstream), self._call.trace_headers(), self._call.remaining_s()
        )
        try:
            return stream, await anext(stream, None)
        except BaseException:
            await stream.aclose()
            raise

    async def _relay(self, chunk: Chunk | None) -> None:
        """Pass one chunk on under our own id and model; usage stays back for the end."""
        if chunk is None:
            return
        body = chunk.body
        choices = body.get("choices")
        if chunk.usage is not None:
            self._usage = chunk.usage
        if "usage" in body:
            self._shown_usage = body.pop("usage") or self._shown_usage
            if not choices:
                return
        self._created = self._created or body.get("created") or 0
        self._count(choices)
        body["id"] = self._id
        body["model"] = self._model
        await self._answer.write(b"data: " + orjson.dumps(body) + b"\n\n")

    def _count(self, choices: Any) -> None:
        for choice in choices or ():
            delta = choice.get("delta")
            if not delta:
                continue
            content = delta.get("content") or delta.get("reasoning")
            if type(content) is str:
                self._content_chunks += 1
                self._content_bytes += len(content.encode())
                self._keep(content)
            elif delta.get("tool_calls"):
                calls = orjson.dumps(delta["tool_calls"])
                self._content_bytes += len(calls)
                self._keep(calls.decode())

    def _keep(self, content: str) -> None:
        """Remember what was generated, in case that its provider does not say how many tokens it was."""
        if self._content_bytes <= TEXT_KEPT_BYTES:
            self._texts.append(content)
        else:
            self._texts.clear()

    async def _is_held_for(self) -> bool:
        """Does the hold cover the output so far, reckoned as not less than it is likely to be?"""
        output = max(self._content_chunks, self._content_bytes // GROWTH_BYTES_PER_TOKEN)
        return not self._growth.is_short(output) or await self._growth.catch_up(output)

    async def _client_gone(self, provider: Provider, stream: AnswerStream) -> pb.CallEnd.ValueType:
        if provider.abort_policy is AbortPolicy.READ_TO_END:
            await self._read_to_end(stream)
        return pb.CANCELLED

    async def _stopped(self, reason: Interrupted, provider: Provider, stream: AnswerStream) -> pb.CallEnd.ValueType:
        if reason is Interrupted.CLIENT_LEFT:
            return await self._client_gone(provider, stream)
        return pb.CUT

    async def _read_to_end(self, stream: AnswerStream) -> None:
        """Take what the provider bills anyway; only its usage matters now."""
        try:
            async for chunk in stream:
                self._usage = chunk.usage or self._usage
                self._count(chunk.body.get("choices"))
        except ProviderFailure as failure:
            self._usage = failure.usage or self._usage

    async def _end(
        self, route: Route, generation_id: str, end: pb.CallEnd.ValueType, failure: ProviderFailure | None
    ) -> None:
        provider, price = route.provider, self._order.entry.price_of(route)
        if failure is not None and self._answer.withdraw():
            raise failure  # the client gets the error alone, so it is the house that pays
        if self._usage is None and generation_id and end != pb.COMPLETED:
            self._usage = await self._ask_cost(provider, generation_id)
        cost = await cost_of(price, self._usage, self._order.demand.images, lambda: self._own_count(price))
        applied = await self._call.settle(self._order, cost, provider, generation_id, end)
        if failure is not None:
            await self._call.fail(failure.client_code)
        elif end == pb.CUT and self._call.interrupted is not None:
            await self._call.fail("provider_timeout")
        else:
            await self._finish(cost, applied, end)

    async def _own_count(self, price: Price) -> OwnCount:
        if self._content_bytes <= TEXT_KEPT_BYTES:
            return await own_count(self._order, price, self._texts, self._content_chunks)
        counted = await own_count(self._order, price, (), self._content_chunks)
        by_bytes = max(-(-self._content_bytes // tokens.BYTES_PER_TOKEN), self._content_chunks)
        return OwnCount(counted.prompt_tokens, by_bytes, f"{counted.counted_by}, {tokens.BY_BYTES}")

    async def _ask_cost(self, provider: Provider, generation_id: str) -> Usage | None:
        """What a broken-off generation cost, once the provider knows."""
        for _ in range(COST_LOOKUPS):
            try:
                usage = await provider.generation(generation_id)
            except ProviderFailure:
                usage = None
            if usage is not None:
                return usage
            await asyncio.sleep(COST_LOOKUP_PAUSE_S)
        return None

    async def _finish(self, cost: Cost, applied: Applied, end: pb.CallEnd.ValueType) -> None:
        last = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created or int(time.time()),
            "model": self._model,
        }
        data = b""
        if end == pb.CUT:
            choice = {"index": 0, "delta": {}, "finish_reason": "length"}
            data = b"data: " + orjson.dumps({**last, "choices": [choice]}) + b"\n\n"
        last |= {
            "choices": [],
            "usage": own_usage(self._shown_usage, cost),
            "cost": shown_cost(applied.outcome.charged_nano, self._order.currency),
        }
        await self._answer.finish(data + b"data: " + orjson.dumps(last) + b"\n\n" + DONE, applied.position)
