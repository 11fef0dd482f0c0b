"""A second reading of the ledger, in plain arithmetic and without a line of `core.ledger`.

It follows the same written rules (docs/architecture.md, the comments in ledger.proto) as naively as they can be put:
every hold is looked at for every message, nothing is ever forgotten. Where it and the gateway's own fold say different
things of one event, one of the two is wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from proto.onysoft.v1 import ledger_pb2 as pb
from tests.faults.log import Raw

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ISTANBUL_MS = 3 * 3_600_000
SETTLED = 255
MAX_NANO = 2**63 - 1
FREE_CALLS = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it must be. Position 0: not of one position."""

    position: int
    text: str


@dataclass(slots=True)
class Purse:
    """One account."""

    markup_bps: int
    per_minute: int
    per_day: int
    credits: int = 0
    charges: int = 0
    held: int = 0
    shortfall: int = 0
    suspended: bool = False
    parent: bytes = b""
    payer: bytes = b""
    references: set[str | tuple[str, str]] = field(default_factory=set)
    free_calls_ms: list[int] = field(default_factory=list)
    admitted_in: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """What a new hold may take."""
        return self.credits - self.charges - self.held


@dataclass(slots=True)
class Opened:
    """An attempt that was admitted and has not ended. A partner customer's call holds its partner's money too."""

    request_id: bytes
    attempt: int
    account_id: bytes
    hold: int
    payer_hold: int
    deadline_ms: int
    task: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settlement in the log; `counted` when it charged its request, else its cost is the house's loss."""

    position: int
    account_id: bytes
    charged: int
    counted: bool
    late: bool
    event: pb.RequestSettled
    payer: bytes = b""
    payer_charged: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What one event did, in words that both readings share. Nothing: refused, or without effect."""

    name: str = ""
    charged: int = 0
    shortfall: int = 0


NOTHING = Effect()


class Book:
    """Reads messages in order; `differences` are broken promises that can be seen in the log alone."""

    def __init__(self) -> None:
        self.position = 0
        self.time_ms = 0
        self.batches = 0
        self.duplicates = 0
        self.events = 0
        self.purses: dict[bytes, Purse] = {}
        self.key_accounts: dict[bytes, bytes] = {}
        self.revoked: set[bytes] = set()
        self.open: dict[bytes, Opened] = {}
        self.expired: dict[bytes, Opened] = {}
        self.ended: dict[bytes, int] = {}
        self.request_accounts: dict[bytes, bytes] = {}
        self.settlements: list[Settlement] = []
        self.admitted = 0
        self.released = 0
        self.expiries = 0
        self.differences: list[Difference] = []
        self._numbers: dict[tuple[bytes, int], int] = {}

    def read(self, messages: Iterable[Raw]) -> None:
        """Take every message in turn."""
        for message in messages:
            self.take(message)

    def take(self, message: Raw) -> list[Effect]:
        """One message; what each of its events did."""
        if message.position != self.position + 1:
            self._differs(f"the log jumps from {self.position} to {message.position}", message.position)
        self.position = message.position
        self.time_ms = max(self.time_ms, message.time_ms)
        self._expire()
        batch = pb.LedgerBatch.FromString(message.payload)
        self.batches += 1
        self.events += len(batch.events)
        last = self._numbers.get((batch.writer, message.partition), 0)
        if batch.number <= last:
            self.duplicates += 1
            return [NOTHING for _ in batch.events]
        if batch.number != last + 1:
            self._differs(f"writer {batch.writer.hex()} jumps from batch {last} to {batch.number}")
        self._numbers[batch.writer, message.partition] = batch.number
        return [self._event(event) for event in batch.events]

    def _differs(self, text: str, position: int = 0) -> None:
        self.differences.append(Difference(position or self.position, text))

    def _expire(self) -> None:
        for request in [each for each in self.open.values() if each.deadline_ms <= self.time_ms]:
            self._free(request)
            self.expired[request.request_id] = request
            self.expiries += 1

    def _free(self, request: Opened) -> None:
        """The hold of an open request ends."""
        del self.open[request.request_id]
        self._hold(request, -request.hold, -request.payer_hold)

    def _hold(self, request: Opened, nano: int, payer_nano: int) -> None:
        """Hold so much more of an account's money and of its payer's."""
        purse = self.purses[request.account_id]
        purse.held += nano
        if payer_nano:
            self.purses[purse.payer].held += payer_nano

    def _lineage(self, account_id: bytes) -> list[Purse]:
        """An account and all above it."""
        purses = []
        while account_id:
            purses.append(self.purses[account_id])
            account_id = purses[-1].parent
        return purses

    def _covers(self, account_id: bytes, nano: int, payer_nano: int) -> bool:
        purse = self.purses[account_id]
        return nano <= purse.free and (not payer_nano or payer_nano <= self.purses[purse.payer].free)

    def _event(self, event: pb.Event) -> Effect:
        kind = event.WhichOneof("event")
        if kind is None:
            self._differs("an event of an unknown kind")
            return NOTHING
        take = getattr(self, f"_{kind}", None)
        effect: Effect = NOTHING if take is None else take(getattr(event, kind))
        for account_id, purse in self.purses.items():
            if purse.free < 0 or purse.held < 0:
                self._differs(f"account {account_id.hex()} is below zero: {purse.free} free, {purse.held} held")
        return effect

    # Accounts and keys

    def _account_opened(self, event: pb.AccountOpened) -> Effect:
        if event.account_id not in self.purses:
            purse = Purse(event.markup_bps, event.requests_per_minute, event.requests_per_day)
            purse.parent = event.parent_id
            purse.payer = event.parent_id if event.kind == pb.PARTNER_CUSTOMER else b""
            self.purses[event.account_id] = purse
        return NOTHING

    def _account_suspended(self, event: pb.AccountSuspended) -> Effect:
        self.purses[event.account_id].suspended = True
        return NOTHING

    def _account_resumed(self, event: pb.AccountResumed) -> Effect:
        self.purses[event.account_id].suspended = False
        return NOTHING

    def _credit_added(self, event: pb.CreditAdded) -> Effect:
        purse = self.purses.get(event.account_id)
        if purse is None or event.amount_nano <= 0 or event.reference in purse.references:
            return NOTHING
        purse.references.add(event.reference)
        purse.credits += event.amount_nano
        return Effect("credited")

    def _credit_reversed(self, event: pb.CreditReversed) -> Effect:
        purse = self.purses.get(event.account_id)
        if purse is not None and event.amount_nano > 0 and ("reversed", event.reference) not in purse.references:
            purse.references.add(("reversed", event.reference))
            purse.credits -= min(event.amount_nano, purse.free)
        return NOTHING

    def _credit_moved(self, event: pb.CreditMoved) -> Effect:
        giver, taker = self.purses.get(event.from_account_id), self.purses.get(event.to_account_id)
        reference = ("moved", event.reference)
        if giver is None or taker is None or reference in giver.references or event.amount_nano > giver.free:
            return NOTHING
        giver.references.add(reference)
        giver.credits -= event.amount_nano
        taker.credits += event.to_amount_nano
        return NOTHING

    def _key_issued(self, event: pb.KeyIssued) -> Effect:
        self.key_accounts.setdefault(event.key_id, event.account_id)
        return NOTHING

    def _key_revoked(self, event: pb.KeyRevoked) -> Effect:
        self.revoked.add(event.key_id)
        return NOTHING

    # Requests

    def _request_opened(self, event: pb.RequestOpened) -> Effect:
        request_id, attempt = event.request_id, event.attempt
        if event.account_id not in self.purses or self.ended.get(request_id, 0) >= attempt:
            return NOTHING
        before = self.open.get(request_id) or self.expired.get(request_id)
        if before is not None:
            if before.attempt >= attempt or before.task:
                return NOTHING
            self._end(before, before.attempt)
        self.request_accounts[request_id] = event.account_id
        if not self._may_open(event, first=before is None):
            return NOTHING
        if before is None:
            self._count(event)
        deadline_ms = self.time_ms + event.lease_ms
        holds = (event.hold_nano, event.parent_hold_nano)
        opened = self.open[request_id] = Opened(request_id, attempt, event.account_id, *holds, deadline_ms)
        self._hold(opened, *holds)
        self.admitted += 1
        return Effect("admitted")

    def _count(self, event: pb.RequestOpened) -> None:
        """A request counts against the limits of its account and of all above it, once for all its attempts."""
        for purse in self._lineage(event.account_id):
            for window in self._windows():
                purse.admitted_in[window] = purse.admitted_in.get(window, 0) + 1
        if event.free:
            self.purses[event.account_id].free_calls_ms.append(self.time_ms)

    def _windows(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return ("minute", self.time_ms // MINUTE_MS), ("day", (self.time_ms + ISTANBUL_MS) // DAY_MS)

    def _may_open(self, event: pb.RequestOpened, first: bool) -> bool:
        if self.key_accounts.get(event.key_id) != event.account_id or event.key_id in self.revoked:
            return False
        for purse in self._lineage(event.account_id):
            minute, day = (purse.admitted_in.get(window, 0) for window in self._windows())
            if purse.suspended or (first and (0 < purse.per_minute <= minute or 0 < purse.per_day <= day)):
                return False
        recent = [each for each in self.purses[event.account_id].free_calls_ms if each + DAY_MS > self.time_ms]
        if first and event.free and len(recent) >= FREE_CALLS:
            return False
        return self._covers(event.account_id, event.hold_nano, event.parent_hold_nano)

    def _end(self, request: Opened, attempt: int) -> None:
        """Take a request off the open or the expired ones; attempts up to `attempt` may not come again."""
        if request.request_id in self.open:
            self._free(request)
        else:
            del self.expired[request.request_id]
        self.ended[request.request_id] = attempt

    def _current(self, request_id: bytes, attempt: int) -> Opened | None:
        request = self.open.get(request_id) or self.expired.get(request_id)
        return request if request is not None and request.attempt == attempt else None

    def _hold_extended(self, event: pb.HoldExtended) -> Effect:
        request = self.open.get(event.request_id)
        if request is None or request.attempt != event.attempt:
            return NOTHING
        if not self._covers(request.account_id, event.add_nano, event.add_parent_nano):
            return NOTHING
        self._hold(request, event.add_nano, event.add_parent_nano)
        request.hold += event.add_nano
        request.payer_hold += event.add_parent_nano
        request.deadline_ms = max(request.deadline_ms, self.time_ms + event.lease_ms)
        return Effect("extended")

    def _task_submitted(self, event: pb.TaskSubmitted) -> Effect:
        request = self.open.get(event.request_id)
        if request is not None and request.attempt == event.attempt and not request.task:
            request.task = True
            request.deadline_ms = max(request.deadline_ms, self.time_ms + event.lease_ms)
        return NOTHING

    def _request_settled(self, event: pb.RequestSettled) -> Effect:
        request = self._current(event.request_id, event.attempt)
        account_id = self.request_accounts.get(event.request_id, b"")
        if request is None:
            self.settlements.append(Settlement(self.position, account_id, 0, False, False, event))
            return NOTHING
        late = request.request_id in self.expired
        purse = self.purses[request.account_id]
        bound = purse.free + (0 if late else request.hold)
        self._end(request, SETTLED)
        given_up = late and request.task
        charged = self._charge(purse, event.charge_nano, given_up)
        if charged > bound:
            self._differs(f"request {event.request_id.hex()} is charged {charged}, over its hold and what is free")
        payer_charged = 0
        if purse.payer:
            payer_charged = self._charge(self.purses[purse.payer], event.parent_charge_nano, given_up)
        settlement = Settlement(self.position, account_id, charged, True, late, event, purse.payer, payer_charged)
        self.settlements.append(settlement)
        return Effect("settled", charged, event.charge_nano - charged)

    @staticmethod
    def _charge(purse: Purse, asked: int, given_up: bool) -> int:
        """Take what is free at most; the rest is the house's loss. A task that was given up costs nobody anything."""
        charged = 0 if given_up else min(asked, purse.free)
        purse.charges += charged
        purse.shortfall = min(MAX_NANO, purse.shortfall + asked - charged)
        return charged

    def _request_released(self, event: pb.RequestReleased) -> Effect:
        request = self._current(event.request_id, event.attempt)
        if request is None:
            return NOTHING
        self._end(request, event.attempt)
        self.released += 1
        return Effect("released")


def charge_of(event: pb.RequestSettled) -> int:
    """What a settlement must ask for: provider cost × (1 + markups) × rate, rounded up once."""
    return _charge_of(event, event.fx_rate_nano, (event.markup_bps, event.parent_markup_bps))


def payer_charge_of(event: pb.RequestSettled) -> int:
    """What it must ask of the partner whose customer called."""
    return _charge_of(event, event.parent_fx_rate_nano, (event.parent_markup_bps,))


def _charge_of(event: pb.RequestSettled, rate_nano: int, markups_bps: Iterable[int]) -> int:
    cost = Fraction(event.provider_cost_usd or "0") * rate_nano
    for markup_bps in markups_bps:
        cost = cost * (10_000 + markup_bps) / 10_000
    return -(-cost.numerator // cost.denominator)
