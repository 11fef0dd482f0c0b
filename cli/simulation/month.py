"""The calls of a simulated month, tick by tick: what clients ask, what the fold decides, what edges see."""

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import google_crc32c

from cli.simulation.desk import Desk
from cli.simulation.log import LogBuilder
from cli.simulation.market import OFFERS, Buyer, Market, Offer
from core.ledger.money import NANO, ceil_div, to_text
from core.ledger.outcome import Code
from projections.proof.statement import ISTANBUL
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import usage_pb2

TICK_MS = 30_000
LEASE_MS = 300_000
TASK_LEASE_MS = 24 * 3_600_000
LATE_MS = 900_000
BPS = 10_000
RATE_NANO = 41 * NANO
HOURS = (2, 1, 1, 1, 1, 2, 3, 5, 8, 11, 13, 13, 11, 12, 13, 13, 12, 10, 8, 7, 6, 6, 5, 3)
"""How busy each hour of an Istanbul working day is."""

WEEKEND = 0.55
_REFUSALS = {
    Code.INSUFFICIENT: (402, "insufficient_balance"),
    Code.HELD: (402, "insufficient_balance_held"),
    Code.PARENT_INSUFFICIENT: (402, "insufficient_balance"),
    Code.PARENT_HELD: (402, "insufficient_balance_held"),
    Code.MINUTE_LIMIT: (429, "rate_limit_exceeded"),
    Code.FREE_LIMIT: (429, "rate_limit_exceeded"),
    Code.KEY_REFUSED: (401, "invalid_api_key"),
    Code.SUSPENDED: (403, "project_suspended"),
}
_CHATS_ONLY = (("superseded", 0.0004), ("late", 0.0004), ("broken", 0.003), ("cut", 0.001), ("dearer", 0.0005))
_ENDS = {"left": pb.CANCELLED, "broken": pb.BROKEN, "cut": pb.CUT}
_AT_THE_EDGE = ((401, "invalid_api_key"), (404, "model_not_found"), (400, "invalid_request"))


@dataclass(slots=True)
class Call:
    """One call under way. Costs in nano-USD; `plan` is how it ends."""

    buyer: Buyer
    offer: Offer
    request_id: bytes
    key_id: bytes
    received_ms: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    duration_ms: int
    plan: str
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    attempt: int = 1
    submitted: bool = False


class Month:
    """Makes `calls` calls between two moments. `usage` holds the edges' events that nobody has taken yet."""

    def __init__(
        self, log: LogBuilder, market: Market, rng: random.Random, calls: int, first_ms: int, end_ms: int
    ) -> None:
        self.calls = 0
        self.wanted = calls
        self.ended_ms = end_ms
        self.usage: list[usage_pb2.UsageEvent] = []
        self._log = log
        self._market = market
        self._desk = Desk(market, rng)
        self._cumulative = market.cumulative
        self._rng = rng
        self._first_ms = first_ms
        self._end_ms = end_ms
        self._weights = _weights(first_ms, end_ms)
        self._per_weight = calls / sum(self._weights)
        self._rate_nano = RATE_NANO
        self._rate_day = -1
        self._due: list[tuple[int, int, Call]] = []
        self._number = 0
        self._partitions = {
            buyer.account_id: google_crc32c.value(buyer.root_id) % log.partitions for buyer in market.buyers
        }

    def ticks(self) -> Iterator[int]:
        """Play the month, and on until everything has ended; yields the number of calls so far after each tick."""
        self._open()
        time_ms = self._first_ms
        owed = 0.0
        while time_ms < self._end_ms:
            time_ms += TICK_MS
            index = min((time_ms - self._first_ms) // 3_600_000, len(self._weights) - 1)
            owed += self._weights[index] * self._per_weight * TICK_MS / 3_600_000
            count = self.wanted - self.calls if time_ms >= self._end_ms else self._drawn(owed)
            owed -= count
            self._tick(time_ms, max(0, min(count, self.wanted - self.calls)))
            yield self.calls
        while self._due:
            time_ms += TICK_MS
            self._tick(time_ms, 0)
            yield self.calls
        self.ended_ms = time_ms

    def _drawn(self, owed: float) -> int:
        """About so many calls, with the noise of arrivals."""
        return max(0, round(self._rng.gauss(owed, math.sqrt(max(owed, 0.1))))) if owed > 0 else 0

    def _open(self) -> None:
        start = self._first_ms
        events = [pb.Event(rules_activated=pb.RulesActivated(version=2))]
        events += [offer.event() for offer in OFFERS]
        events += [pb.Event(model_activated=pb.ModelActivated(model_id=offer.model)) for offer in OFFERS]
        self._log.append(start, 0, events)
        for root_id, opening in self._market.openings:
            self._log.append(start, google_crc32c.value(root_id) % self._log.partitions, opening)
        self._new_day(start)

    def _new_day(self, time_ms: int) -> None:
        """Once a day: the central bank's rate, a walk with a drift; and what people do."""
        day = (time_ms + 3 * 3_600_000) // 86_400_000
        if day == self._rate_day:
            return
        self._rate_day = day
        self._rate_nano = round(self._rate_nano * (1.0008 + self._rng.gauss(0, 0.004)) / 100_000) * 100_000
        date = datetime.fromtimestamp(time_ms / 1000, ISTANBUL).date().isoformat()
        rate = pb.FxRateSet(base=pb.USD, quote=pb.TRY, rate_nano=self._rate_nano, source="tcmb", reference=date)
        self._log.append(time_ms, 0, [pb.Event(fx_rate_set=rate)])
        for buyer, event in self._desk.day(self._log.state, self._rate_nano):
            self._log.append(time_ms, self._partitions[buyer.account_id], [event])

    # One tick

    def _tick(self, time_ms: int, count: int) -> None:
        self._new_day(time_ms)
        events: dict[int, list[pb.Event]] = defaultdict(list)
        calls: dict[int, list[Call | None]] = defaultdict(list)
        while self._due and self._due[0][0] <= time_ms:
            call = heapq.heappop(self._due)[2]
            partition = self._partitions[call.buyer.account_id]
            for event in self._outcome(call, time_ms):
                events[partition].append(event)
                calls[partition].append(None)
        for buyer in self._rng.choices(self._market.buyers, cum_weights=self._cumulative, k=count):
            partition = self._partitions[buyer.account_id]
            call = self._new_call(buyer, time_ms)
            for event in self._payments(buyer):
                events[partition].append(event)
                calls[partition].append(None)
            if call.plan != "edge":
                events[partition].append(self._opened(call))
                calls[partition].append(call)
        self.calls += count
        for partition, batch in events.items():
            outcomes = self._log.append(time_ms, partition, batch)
            for call_of, outcome in zip(calls[partition], outcomes, strict=True):
                if call_of is not None:
                    self._decided(call_of, outcome.code)

    def _decided(self, call: Call, code: Code) -> None:
        if code is not Code.ADMITTED:
            self._seen(call, *_REFUSALS.get(code, (503, "service_unavailable")), 4_000)
            return
        self._later(call, call.received_ms + (2_000 if call.offer.is_media else call.duration_ms))

    def _later(self, call: Call, due_ms: int) -> None:
        self._number += 1
        heapq.heappush(self._due, (due_ms, self._number, call))

    # Calls

    def _new_call(self, buyer: Buyer, time_ms: int) -> Call:
        rng = self._rng
        offer = rng.choices(buyer.models, cum_weights=buyer.model_shares)[0]
        received_ms = time_ms - rng.randrange(TICK_MS)
        request_id = received_ms.to_bytes(6, "big") + rng.randbytes(6)
        if offer.is_media:
            prompt = completion = 0
            cost_nano, duration_ms = offer.piece_nano, int(rng.lognormvariate(4.0, 0.6) * 1_000)
        else:
            prompt = min(int(rng.lognormvariate(6.3, 1.1)) + 8, 100_000)
            completion = min(int(rng.lognormvariate(5.2, 0.9)) + 1, 16_000)
            cost_nano = 0
            duration_ms = int(300 + rng.lognormvariate(6.0, 0.5) + completion * rng.uniform(4, 14))
        call = Call(
            buyer,
            offer,
            request_id,
            rng.choice(buyer.key_ids),
            received_ms,
            prompt,
            completion,
            cost_nano,
            min(duration_ms, 240_000),
            self._plan(offer),
        )
        if not offer.is_media:
            if rng.random() < 0.25:
                call.cached_tokens = int(prompt * rng.uniform(0.2, 0.9))
            if offer.thinks:
                call.reasoning_tokens = int(completion * rng.uniform(0.2, 0.8))
            call.cost_nano = _chat_nano(call)
        if call.plan == "edge":
            self._seen(call, *rng.choice(_AT_THE_EDGE), 900)
        return call

    def _plan(self, offer: Offer) -> str:
        draw = self._rng.random()
        for plan, share in (("edge", 0.012), ("failed", 0.018), ("left", 0.012), ("died", 0.0004)):
            if draw < share:
                return plan
            draw -= share
        if not offer.is_media:
            for plan, share in _CHATS_ONLY:
                if draw < share:
                    return plan
                draw -= share
        return "completed"

    def _payments(self, buyer: Buyer) -> Iterator[pb.Event]:
        """Top-ups of whoever is nearly empty and in the habit of paying; a chargeback now and then."""
        for each in (buyer, buyer.parent):
            if each is None:
                continue
            account = self._log.state.accounts[each.account_id]
            if account.available_nano < each.top_up_nano // 8 and self._rng.random() < each.pays:
                each.payments += 1
                credit = pb.CreditAdded(account_id=each.account_id, amount_nano=each.top_up_nano)
                credit.reference = f"pay-{each.payments}"
                yield pb.Event(credit_added=credit, actor="psp")
                if self._rng.random() < 0.002:
                    taken = pb.CreditReversed(account_id=each.account_id, amount_nano=each.top_up_nano // 2)
                    taken.reference = f"chargeback-{each.payments}"
                    yield pb.Event(credit_reversed=taken, actor="psp")

    def _opened(self, call: Call) -> pb.Event:
        charge_nano, parent_nano = self._charges(call)
        hold = pb.RequestOpened(
            request_id=call.request_id,
            attempt=call.attempt,
            account_id=call.buyer.account_id,
            key_id=call.key_id,
            model=call.offer.model,
            hold_nano=charge_nano + charge_nano // 2,
            lease_ms=LEASE_MS,
            hold_tokens=2 * (call.prompt_tokens + call.completion_tokens),
            free=not call.cost_nano,
        )
        if call.buyer.parent is not None:
            hold.parent_hold_nano = parent_nano + parent_nano // 2
        return pb.Event(request_opened=hold)

    def _charges(self, call: Call) -> tuple[int, int]:
        """What the account and its partner pay: cost, markups, rate; rounded up once each."""
        buyer = call.buyer
        rate = self._rate_nano if buyer.currency == pb.TRY else NANO
        if buyer.parent is None:
            return ceil_div(call.cost_nano * (BPS + buyer.markup_bps) * rate, BPS * NANO), 0
        parent_rate = self._rate_nano if buyer.parent.currency == pb.TRY else NANO
        parent = call.cost_nano * (BPS + buyer.parent.markup_bps)
        own = parent * (BPS + buyer.markup_bps) * rate
        return ceil_div(own, BPS * BPS * NANO), ceil_div(parent * parent_rate, BPS * NANO)

    # Ends

    def _outcome(self, call: Call, time_ms: int) -> Iterator[pb.Event]:
        """What the core appends when a call's time has come."""
        if call.offer.is_media and not call.submitted and call.plan != "died":
            call.submitted = True
            task = pb.TaskSubmitted(request_id=call.request_id, attempt=call.attempt, provider=call.offer.provider)
            task.provider_task_id, task.lease_ms = call.request_id.hex(), TASK_LEASE_MS
            self._later(call, call.received_ms + 2_000 + call.duration_ms)
            self._seen(call, 202, "", 350_000)
            yield pb.Event(task_submitted=task)
        elif call.plan == "died":
            self._seen(call, 503, "service_unavailable", call.duration_ms * 1000, disconnected=True)
        elif call.plan == "late":
            call.plan = "completed"
            self._later(call, time_ms + LATE_MS)
        elif call.plan == "superseded":
            yield from self._supersede(call)
        elif call.plan == "failed":
            reason = pb.GENERATION_FAILED if call.offer.is_media else pb.PROVIDER_FAILED
            if not call.offer.is_media:
                self._seen(call, 502, "provider_error", call.duration_ms * 1000)
            released = pb.RequestReleased(request_id=call.request_id, attempt=call.attempt, reason=reason)
            released.provider_calls = 1
            yield pb.Event(request_released=released)
        else:
            yield self._settled(call)

    def _supersede(self, call: Call) -> Iterator[pb.Event]:
        """Another core takes the call over; what the first one settles then is the house's loss."""
        first = self._settled(call)
        call.attempt, call.plan = 2, "completed"
        yield self._opened(call)
        yield first
        self._later(call, call.received_ms + 2 * call.duration_ms)

    def _settled(self, call: Call) -> pb.Event:
        left = call.plan == "left"
        if call.plan in _ENDS and not call.offer.is_media:
            call.completion_tokens //= 2
            call.reasoning_tokens //= 2
            call.cost_nano = _chat_nano(call)
        elif call.plan == "dearer":  # the provider took another way than the one it lists
            call.cost_nano *= 3
        if not call.offer.is_media and call.plan != "superseded":
            self._seen(call, 200, "", call.duration_ms * 1000, disconnected=left)
        charge_nano, parent_nano = self._charges(call)
        buyer, parent = call.buyer, call.buyer.parent
        settled = pb.RequestSettled(
            request_id=call.request_id,
            attempt=call.attempt,
            charge_nano=charge_nano,
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            cached_tokens=call.cached_tokens,
            reasoning_tokens=call.reasoning_tokens,
            provider_cost_usd=to_text(call.cost_nano),
            fx_rate_nano=self._rate_nano if buyer.currency == pb.TRY else NANO,
            markup_bps=buyer.markup_bps,
            price_version=call.offer.price_version,
            basis=self._basis(call),
            end=_ENDS.get(call.plan, pb.COMPLETED),
            provider=call.offer.provider,
            generation_id=f"gen-{call.request_id.hex()}-{call.attempt}",
            provider_calls=1,
        )
        if settled.basis == pb.ESTIMATED:
            settled.counted_by = "o200k_base"
        if call.offer.is_media:
            settled.quantities = call.offer.quantities
        if parent is not None:
            settled.parent_charge_nano, settled.parent_markup_bps = parent_nano, parent.markup_bps
            settled.parent_fx_rate_nano = self._rate_nano if parent.currency == pb.TRY else NANO
        return pb.Event(request_settled=settled)

    def _basis(self, call: Call) -> pb.CostBasis.ValueType:
        """Most answers end with the provider's own cost; who leaves early often leaves without it."""
        if call.offer.is_media:
            return pb.CATALOGUE_PRICE
        if call.plan in ("left", "broken"):
            return pb.ESTIMATED if self._rng.random() < 0.4 else pb.PROVIDER_COST
        return pb.PROVIDER_TOKENS if call.plan == "completed" and self._rng.random() < 0.01 else pb.PROVIDER_COST

    def _seen(self, call: Call, status: int, code: str, duration_us: int, disconnected: bool = False) -> None:
        """What the edge reports of a call."""
        unknown = code == "invalid_api_key"
        streamed = status == 200 and call.request_id[-1] % 3 != 0
        self.usage.append(
            usage_pb2.UsageEvent(
                request_id=call.request_id,
                received_ms=call.received_ms,
                account_id=b"" if unknown else call.buyer.account_id,
                key_id=b"" if unknown else call.key_id,
                model=call.offer.model,
                route="generate" if call.offer.is_media else "chat",
                status=status,
                code=code,
                first_byte_us=min(duration_us, 150_000 + duration_us // 9) if streamed else duration_us,
                duration_us=duration_us,
                request_bytes=120 + 4 * call.prompt_tokens,
                response_bytes=300 + 5 * call.completion_tokens * (4 if streamed else 1),
                streamed=streamed,
                disconnected=disconnected,
                attempts=call.attempt,
                provider=call.offer.provider if status < 400 else "",
            )
        )


def _chat_nano(call: Call) -> int:
    """Nano-USD for what a chat has read and written."""
    offer = call.offer
    fresh_nano = (call.prompt_tokens - call.cached_tokens) * offer.prompt_nano
    return fresh_nano + call.cached_tokens * offer.cached_nano + call.completion_tokens * offer.completion_nano


def _weights(first_ms: int, end_ms: int) -> list[float]:
    """How busy each hour between the two moments is."""
    weights = []
    moment = datetime.fromtimestamp(first_ms / 1000, ISTANBUL)
    for _ in range(max(1, (end_ms - first_ms) // 3_600_000)):
        weights.append(HOURS[moment.hour] * (WEEKEND if moment.weekday() >= 5 else 1.0))
        moment += timedelta(hours=1)
    return weights
