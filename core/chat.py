"""One chat call in a core: admitted by the ledger, answered by a provider, settled, and only then finished."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from bus.frames import ClientGone
from bus.writer import Applied
from core.admission import (
    MONEY,
    OUTPUT_LIMITS,
    Hold,
    Purse,
    Terms,
    size_hold,
    tariff_of,
    terms_of,
)
from core.answering import Order, StreamedAnswer, WholeAnswer
from core.call import Call
from core.catalogue import Entry, Route
from core.costing import Cost, settlement
from core.ledger.accounts import Account
from core.ledger.outcome import Code
from core.phase import Phase
from core.pricing import Demand, Tariff, demand_of
from core.providers.port import Provider
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.errors import Refusal

OPENING_TRIES = 3
"""How often a hold is sized again when running calls took the balance between sizing and verdict."""

CURRENCIES: dict[int, str] = {int(number): name for name, number in pb.Currency.items()}

Begun = TypeVar("Begun")

_monotonic = time.monotonic


class ChatCall(Call):
    """A chat call: whole or streamed."""

    async def _serve(self) -> None:
        body = await self._body()
        entry = self._resources.catalogue.find(self.work.model)
        request = entry.completed(orjson.loads(body))
        demand = demand_of(request, len(body) + entry.defaults_bytes)
        terms = terms_of(request, entry, self.work.stream)
        self.account = account = await self._account()
        tariff = tariff_of(account, self._replica.state, entry.id)
        hold = await self._admit(account, entry, demand, terms, tariff)
        if self.answer.cancelled:
            raise ClientGone
        self.phase = Phase.PROVIDER
        currency = CURRENCIES[account.currency]
        upstream = _upstream(request, entry, terms, hold)
        order = Order(self.work.model, entry, tariff, currency, upstream, hold, demand, terms)
        if self.work.stream:
            await StreamedAnswer(self, order).run()
        else:
            await WholeAnswer(self, order).run()

    async def _admit(self, account: Account, entry: Entry, demand: Demand, terms: Terms, tariff: Tariff) -> Hold:
        """Take the hold that the ledger admits. Raises Refusal with its verdict otherwise."""
        settings = self._resources.settings
        useful, first_output = settings.useful_output_tokens, settings.first_hold_output_tokens
        self.root_id = account.root_id
        for again in range(OPENING_TRIES):
            hold = size_hold(entry, demand, terms, tariff, Purse.of(account), useful, first_output)
            opening = self._opening(entry, hold)
            if self._foreseen(account, opening.request_opened) is not None:
                await self._replica.fresh()
                hold = size_hold(entry, demand, terms, tariff, Purse.of(account), useful, first_output)
                opening = self._opening(entry, hold)
                refused = self._foreseen(account, opening.request_opened)
                if refused is not None:
                    raise self._refusal(refused)
            outcome = await self._open(opening)
            if outcome.code is Code.ADMITTED:
                self._opened = True
                lowered = hold.output_tokens if hold.lowered else 0
                self.answer.head(self.work.stream, self._rate_limit, lowered)
                return hold
            if outcome.code not in MONEY or again == OPENING_TRIES - 1:
                raise self._refusal(outcome)
        raise AssertionError("unreachable")

    def _opening(self, entry: Entry, hold: Hold) -> pb.Event:
        event = pb.Event()
        opened = event.request_opened
        opened.request_id = self.request_id
        opened.attempt = self.attempt
        opened.account_id = self.account_id
        opened.key_id = self.work.key_id
        opened.key_secret = self.work.key_secret
        opened.model = entry.id
        opened.hold_nano = hold.amount_nano
        opened.parent_hold_nano = hold.parent_nano
        opened.hold_tokens = hold.tokens
        opened.free = entry.price.free
        opened.lease_ms = int(self._resources.settings.hold_lease_s * 1000)
        opened.price_version = entry.price.version
        return event

    async def extend_hold(self, before: Hold, after: Hold) -> bool:
        """Hold `after` instead of `before`; False when the free balance does not cover the difference.

        Raises BusError when the ledger is out of reach.
        """
        lease_s = self._resources.settings.hold_lease_s
        event = pb.Event()
        extended = event.hold_extended
        extended.request_id = self.request_id
        extended.attempt = self.attempt
        extended.add_nano = after.amount_nano - before.amount_nano
        extended.add_parent_nano = after.parent_nano - before.parent_nano
        extended.add_tokens = after.tokens - before.tokens
        extended.lease_ms = int(lease_s * 1000)
        lease_until = _monotonic() + lease_s
        applied = await self._replica.append(self.root_id, event)
        if applied.outcome.code is not Code.EXTENDED:
            return False
        self.lease_until = max(self.lease_until, lease_until)
        return True

    async def settle(
        self, order: Order, cost: Cost, provider: Provider, generation_id: str, end: pb.CallEnd.ValueType
    ) -> Applied:
        """Append the settlement and wait until it is durable and applied.

        Raises Refusal(service_unavailable) when the attempt was no longer open: its cost is the house's loss.
        """
        self.phase = Phase.ENDING
        event = settlement(self.request_id, self.attempt, cost, order.tariff, end)
        settled = event.request_settled
        settled.provider = provider.name
        settled.generation_id = generation_id
        settled.provider_calls = self._tally.calls
        self._opened = False
        applied = await self._append_surely(event)
        self._resources.counters.settlement(applied.outcome)
        if applied.outcome.code is Code.NOT_OPEN:
            raise Refusal("service_unavailable", retry_after_s=1)
        return applied

    async def begin(self, entry: Entry, begin: Callable[[Route], Awaitable[Begun]]) -> tuple[Route, Begun]:
        """The first route that answers."""
        return await self._resources.router.first(entry, begin, self._tally)


def _upstream(request: dict[str, Any], entry: Entry, terms: Terms, hold: Hold) -> dict[str, Any]:
    """The provider's request: the client's own, with the output limit that the hold covers."""
    if hold.lowered or terms.stated or not entry.output_stated:
        request[terms.limit_field] = hold.output_tokens
    for field in OUTPUT_LIMITS:  # a second limit must not be wider than the one that is held for
        if request.get(field) is not None:
            request[field] = min(request[field], hold.output_tokens)
    return request
