"""One chat call in a core: admitted by the ledger, answered by a provider, settled, and only then finished."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import orjson

from bus.bodies import fetch_body
from bus.errors import BusError, Overloaded
from bus.frames import Answer, ClientGone
from bus.writer import Applied
from core.admission import (
    MONEY,
    OUTPUT_LIMITS,
    Hold,
    Purse,
    Terms,
    refusal_of,
    size_hold,
    tariff_of,
    terms_of,
)
from core.answering import Order, StreamedAnswer, WholeAnswer
from core.catalogue import Entry, Route
from core.costing import Cost, settlement
from core.ledger.accounts import Account
from core.ledger.outcome import Code, Outcome
from core.ledger.verdicts import describe_limit, find_caller, why_refused
from core.ledger.windows import windows_of
from core.phase import Interrupted, Phase
from core.pricing import Demand, Tariff, demand_of
from core.providers.port import Provider, ProviderFailure
from core.resources import Resources
from core.routing import Tally
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import work_pb2
from runtime.errors import Refusal

OPENING_TRIES = 3
"""How often a hold is sized again when running calls took the balance between sizing and verdict."""

RELEASE_WAIT_S = 2.0
OVERLOAD_PAUSE_S = 0.05

CURRENCIES: dict[int, str] = {int(number): name for name, number in pb.Currency.items()}

Begun = TypeVar("Begun")

_monotonic = time.monotonic


class ChatCall:
    """One attempt of one request. `run` always ends the hold that it opened, or leaves it to its lease."""

    def __init__(self, resources: Resources, work: work_pb2.WorkRequest, answer: Answer) -> None:
        self.work = work
        self.request_id = work.request_id
        self.attempt = work.attempt
        self.account_id = work.account_id
        self.root_id = work.account_id
        self.account: Account
        self.answer = answer
        self.phase = Phase.VERDICT
        self.interrupted: Interrupted | None = None
        self.task: asyncio.Task[None] | None = None
        self.began_at = _monotonic()
        self.lease_until = 0.0
        self.renewing = False
        self._resources = resources
        self._replica = resources.replica
        self._tally = Tally()
        self._opened = False
        self._rate_limit = (0, 0, 0)
        answer.on_cancel = self._on_cancel

    async def run(self) -> None:
        """Serve the call to its end; every refusal and failure reaches the client as an error of the catalogue."""
        try:
            await self._serve()
        except Refusal as refusal:
            await self.fail(
                refusal.error.code, refusal.detail, refusal.retry_after_s, do_not_retry=refusal.do_not_retry
            )
        except ProviderFailure as failure:
            await self._release_after(failure)
        except ClientGone:
            await self._release(pb.CLIENT_LEFT)
        except BusError:
            await self._release(pb.CORE_STOPPED)
            await self.fail("service_unavailable", retry_after_s=1)
        except asyncio.CancelledError:
            if self.interrupted is None:
                raise
            self.resume()
            await self._end_interrupted(self.interrupted)

    def interrupt(self, reason: Interrupted) -> None:
        """Stop waiting for a verdict or a provider; what was begun is ended properly."""
        if self.interrupted is None and self.phase in (Phase.VERDICT, Phase.PROVIDER) and self.task is not None:
            self.interrupted = reason
            self.task.cancel()

    def renew_lease(self, now: float) -> None:
        """Extend the hold's deadline; at most one extension is under way."""
        if self.renewing:
            return
        lease_s = self._resources.settings.hold_lease_s
        event = pb.Event(
            hold_extended=pb.HoldExtended(
                request_id=self.request_id, attempt=self.attempt, lease_ms=int(lease_s * 1000)
            )
        )
        try:
            future = self._replica.append(self.root_id, event)
        except Overloaded:
            return
        self.renewing = True
        future.add_done_callback(lambda done: self._on_renewed(done, now + lease_s))

    def _on_renewed(self, done: asyncio.Future[Applied], lease_until: float) -> None:
        self.renewing = False
        if done.cancelled() or done.exception() is not None:
            return
        if done.result().outcome.code is Code.EXTENDED:
            self.lease_until = max(self.lease_until, lease_until)

    async def abandon(self) -> None:
        """End what a defect left open: no charge, an error for the client."""
        await self._release(pb.CORE_STOPPED)
        await self.fail("internal_error")

    def _on_cancel(self) -> None:
        if self.phase is Phase.PROVIDER and self.work.stream:
            self.interrupt(Interrupted.CLIENT_LEFT)

    def resume(self) -> None:
        """The interruption has been taken note of; go on to the call's proper end."""
        if self.task is not None:
            self.task.uncancel()

    async def _serve(self) -> None:
        body = self.work.body or await fetch_body(
            self._resources.bulk, self.work.edge, self.request_id, self.work.body_ref
        )
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

    async def _account(self) -> Account:
        """The paying account. A key or account that this replica does not know yet may stand in the log already."""
        state = self._replica.state
        if self.account_id not in state.accounts or self.work.key_id not in state.keys:
            await self._replica.fresh()
        account = state.accounts.get(self.account_id)
        if account is None:
            raise Refusal("invalid_api_key")
        return account

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

    def _now_ms(self) -> int:
        return max(self._replica.state.time_ms, time.time_ns() // 1_000_000)

    def _foreseen(self, account: Account, opened: pb.RequestOpened) -> Outcome | None:
        """The refusal that the ledger would give, were this appended now; None when it may admit."""
        windows = windows_of(now_ms := self._now_ms())
        caller = find_caller(self._replica.state, opened.account_id, opened.key_id)
        if caller is None:
            return describe_limit(Outcome(Code.KEY_REFUSED), account, account.lineage, opened.model, windows)
        refused = why_refused(caller, opened, windows, now_ms, counted=self.attempt == 1)
        if refused is None:
            return None
        return describe_limit(Outcome(refused.code), account, caller.owners, opened.model, windows, refused.reset_s)

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

    async def _open(self, opening: pb.Event) -> Outcome:
        lease_until = _monotonic() + self._resources.settings.hold_lease_s
        applied = await self._replica.append(self.root_id, opening)
        self.lease_until = lease_until
        outcome: Outcome = applied.outcome
        self._rate_limit = (outcome.limit, outcome.remaining, outcome.reset_s)
        return outcome

    def _refusal(self, outcome: Outcome) -> Refusal:
        self._rate_limit = (outcome.limit, outcome.remaining, outcome.reset_s)
        return refusal_of(outcome, self._now_ms() // 1000)

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

    async def _append_surely(self, event: pb.Event) -> Applied:
        """An outcome is never dropped: where too much is queued, wait."""
        while True:
            try:
                future = self._replica.append(self.root_id, event)
            except Overloaded:
                await asyncio.sleep(OVERLOAD_PAUSE_S)
            else:
                return await future

    async def begin(self, entry: Entry, begin: Callable[[Route], Awaitable[Begun]]) -> tuple[Route, Begun]:
        """The first route that answers."""
        return await self._resources.router.first(entry, begin, self._tally)

    def trace_headers(self) -> Mapping[str, str]:
        """W3C trace context for the provider."""
        if not self.work.traceparent:
            return {}
        headers = {"traceparent": self.work.traceparent}
        if self.work.tracestate:
            headers["tracestate"] = self.work.tracestate
        return headers

    def remaining_s(self) -> float:
        """Seconds until the call's own limit."""
        return max(0.1, self._resources.settings.call_timeout_s - (_monotonic() - self.began_at))

    async def _release_after(self, failure: ProviderFailure) -> None:
        timeout = failure.client_code == "provider_timeout"
        refused = failure.client_code in ("invalid_request", "model_not_supported")
        reason = pb.PROVIDER_REFUSED if refused else pb.PROVIDER_TIMEOUT if timeout else pb.PROVIDER_FAILED
        await self._release(reason)
        retry_after_s = (failure.retry_after_s or 5) if failure.client_code == "service_unavailable" else 0
        await self.fail(failure.client_code, failure.client_detail, retry_after_s)

    async def _release(self, reason: pb.ReleaseReason.ValueType) -> None:
        """End the hold without a charge; wait for it a little, so that the client sees its balance whole."""
        self.phase = Phase.ENDING
        if not self._opened:
            return
        self._opened = False
        released = pb.RequestReleased(
            request_id=self.request_id,
            attempt=self.attempt,
            reason=reason,
            provider_calls=self._tally.calls,
        )
        append = asyncio.ensure_future(self._append_surely(pb.Event(request_released=released)))
        await asyncio.wait((append,), timeout=RELEASE_WAIT_S)

    async def _end_interrupted(self, reason: Interrupted) -> None:
        """An interruption that no answer in progress has taken care of."""
        if self.phase is Phase.VERDICT:
            self._opened = True  # it may be admitted yet; the release follows it in the log
        if reason is Interrupted.SUPERSEDED:
            self.answer.close()
        elif reason is Interrupted.CLIENT_LEFT:
            await self._release(pb.CLIENT_LEFT)
        elif reason is Interrupted.VERDICT_LATE:
            await self._release(pb.VERDICT_TOO_LATE)
            await self.fail("service_unavailable", retry_after_s=2)
        elif reason is Interrupted.LEASE_OVER:
            await self._release(pb.PROVIDER_TIMEOUT)
            await self.fail("provider_timeout")
        else:
            await self._release(pb.CORE_STOPPED)
            await self.fail("service_unavailable", retry_after_s=1)

    async def fail(self, code: str, detail: str = "", retry_after_s: int = 0, do_not_retry: bool = False) -> None:
        """End the answer with an error of the catalogue."""
        limit = self._rate_limit if self._rate_limit[2] else None
        self._resources.counters.failure(code)
        await self.answer.fail(code, detail, retry_after_s, do_not_retry, limit, self._replica.state.position)


def _upstream(request: dict[str, Any], entry: Entry, terms: Terms, hold: Hold) -> dict[str, Any]:
    """The provider's request: the client's own, with the output limit that the hold covers."""
    if hold.lowered or terms.stated or not entry.output_stated:
        request[terms.limit_field] = hold.output_tokens
    for field in OUTPUT_LIMITS:  # a second limit must not be wider than the one that is held for
        if request.get(field) is not None:
            request[field] = min(request[field], hold.output_tokens)
    return request
