"""What the ledger should say, worked out naively: lists of facts, and sums over all of them at each question.

Written apart from core/ledger, from the rules in words; it shares nothing with it but the event messages. Nothing here
is ever updated in place or released: whether a hold is open follows from its deadline and the log's time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from proto.onysoft.v1 import ledger_pb2 as pb

ISTANBUL = ZoneInfo("Europe/Istanbul")
DAY = 24 * 60 * 60 * 1000
LARGEST = 9_223_372_036_854_775_807
NEVER_AGAIN = 255


class Verdict(NamedTuple):
    """What is expected of one event; the fields are those of the fold's outcome."""

    code: str
    charged_nano: int = 0
    shortfall_nano: int = 0
    available_nano: int = 0
    limit: int = 0
    remaining: int = 0
    reset_s: int = 0
    superseded: int = 0
    parent_charged_nano: int = 0
    parent_shortfall_nano: int = 0


@dataclass
class Attempt:
    """One admitted attempt of a request."""

    request: bytes
    number: int
    account: bytes
    holds: list[int]
    deadlines: list[int]
    ended_ms: int | None = None
    settled: bool = False

    @property
    def hold(self) -> int:
        return sum(self.holds)

    @property
    def deadline(self) -> int:
        return max(self.deadlines)


class Reference:
    """The ledger in words."""

    def __init__(self, fingerprint_every: int) -> None:
        self.now = 0
        self.position = 0
        self.swept = 0  # the last time at which the log entered a new minute: when old things are dropped
        self.fingerprint_every = fingerprint_every
        self.accounts: dict[bytes, pb.AccountOpened] = {}
        self.suspended: set[bytes] = set()
        self.keys: dict[bytes, pb.KeyIssued] = {}
        self.revoked: set[bytes] = set()
        self.credits: list[pb.CreditAdded] = []
        self.charges: list[tuple[bytes, int]] = []
        self.losses: list[tuple[bytes, int]] = []
        self.attempts: list[Attempt] = []
        self.counted: list[tuple[bytes, int]] = []
        self.batches: list[tuple[bytes, int, int, int]] = []

    def balance(self, account: bytes) -> int:
        paid = sum(credit.amount_nano for credit in self.credits if credit.account_id == account)
        return paid - sum(charge for who, charge in self.charges if who == account)

    def held(self, account: bytes) -> int:
        return sum(attempt.hold for attempt in self.open_attempts(account))

    def open_attempts(self, account: bytes) -> list[Attempt]:
        return [a for a in self.attempts if a.account == account and a.ended_ms is None and a.deadline > self.now]

    def free(self, account: bytes) -> int:
        return self.balance(account) - self.held(account)

    def loss(self, account: bytes) -> int:
        return sum(loss for who, loss in self.losses if who == account)

    def batch(self, batch: pb.LedgerBatch, partition: int, time_ms: int) -> list[Verdict]:
        """Takes one message of the log."""
        self.position += 1
        before = [record for record in self.batches if record[:2] == (batch.writer, partition)][-1:]
        known = [number for *_, number, seen in before if seen + DAY >= self.swept]
        if time_ms > self.now:
            if time_ms // 60_000 != self.now // 60_000:
                self.swept = time_ms
            self.now = time_ms
        if known and batch.number <= known[0]:
            return [Verdict("DUPLICATE_BATCH") for _ in batch.events]
        assert not known or batch.number == known[0] + 1
        self.batches.append((batch.writer, partition, batch.number, self.now))
        return [self.event(event) for event in batch.events]

    def event(self, event: pb.Event) -> Verdict:
        kind = event.WhichOneof("event")
        assert kind is not None
        verdict: Verdict = getattr(self, kind)(getattr(event, kind))
        return verdict

    def rules_activated(self, it: pb.RulesActivated) -> Verdict:
        return Verdict("APPLIED")

    def checkpoint(self, it: pb.Checkpoint) -> Verdict:
        known = 0 < it.position < self.position and it.position % self.fingerprint_every == 0
        return Verdict("CHECKED" if known else "UNCHECKED")

    def account_opened(self, it: pb.AccountOpened) -> Verdict:
        if it.account_id in self.accounts:
            return Verdict("EXISTS")
        self.accounts[it.account_id] = it
        return Verdict("APPLIED")

    def account_suspended(self, it: pb.AccountSuspended) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if it.account_id in self.suspended:
            return Verdict("EXISTS")
        self.suspended.add(it.account_id)
        return Verdict("APPLIED")

    def account_resumed(self, it: pb.AccountResumed) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if it.account_id not in self.suspended:
            return Verdict("EXISTS")
        self.suspended.remove(it.account_id)
        return Verdict("APPLIED")

    def credit_added(self, it: pb.CreditAdded) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if it.amount_nano < 1:
            return Verdict("INVALID")
        if any((c.account_id, c.reference) == (it.account_id, it.reference) for c in self.credits):
            return Verdict("EXISTS")
        self.credits.append(it)
        return Verdict("APPLIED", available_nano=self.free(it.account_id))

    def key_issued(self, it: pb.KeyIssued) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if it.key_id in self.keys:
            return Verdict("EXISTS")
        self.keys[it.key_id] = it
        return Verdict("APPLIED")

    def key_revoked(self, it: pb.KeyRevoked) -> Verdict:
        if it.key_id not in self.keys:
            return Verdict("NOT_FOUND")
        if it.key_id in self.revoked:
            return Verdict("EXISTS")
        self.revoked.add(it.key_id)
        return Verdict("APPLIED")

    def pending(self, request: bytes) -> Attempt | None:
        """The attempt that has not ended; once expired it waits a day for a late settlement."""
        for attempt in self.attempts:
            if attempt.request == request and attempt.ended_ms is None and attempt.deadline + DAY >= self.swept:
                return attempt
        return None

    def shut(self, request: bytes) -> int:
        """The last attempt that ended during this minute or the five before it."""
        oldest = self.now // 60_000 - 5
        ended = [a for a in self.attempts if a.request == request and a.ended_ms is not None]
        recent = [a for a in ended if a.ended_ms is not None and a.ended_ms // 60_000 >= oldest]
        return max((NEVER_AGAIN if a.settled else a.number for a in recent), default=0)

    def in_minute(self, account: bytes) -> int:
        return sum(who == account and at // 60_000 == self.now // 60_000 for who, at in self.counted)

    def in_day(self, account: bytes) -> int:
        today = istanbul(self.now).date()
        return sum(who == account and istanbul(at).date() == today for who, at in self.counted)

    def refusal(self, it: pb.RequestOpened, first: bool) -> str | None:
        key, account = self.keys.get(it.key_id), self.accounts[it.account_id]
        if key is None or it.key_id in self.revoked or key.account_id != it.account_id:
            return "KEY_REFUSED"
        if it.account_id in self.suspended:
            return "SUSPENDED"
        if first and account.requests_per_minute and self.in_minute(it.account_id) >= account.requests_per_minute:
            return "MINUTE_LIMIT"
        if first and account.requests_per_day and self.in_day(it.account_id) >= account.requests_per_day:
            return "DAY_LIMIT"
        if it.hold_nano > self.balance(it.account_id):
            return "INSUFFICIENT"
        return "HELD" if it.hold_nano > self.free(it.account_id) else None

    def request_opened(self, it: pb.RequestOpened) -> Verdict:
        if it.account_id not in self.accounts or it.hold_nano < 0:
            return Verdict("INVALID")
        if it.attempt <= self.shut(it.request_id):
            return Verdict("ALREADY_ENDED")
        before = self.pending(it.request_id)
        if before is not None and (it.attempt <= before.number or it.account_id != before.account):
            return Verdict("STALE_ATTEMPT")
        if before is not None:
            before.ended_ms = self.now
        refusal = self.refusal(it, first=before is None)
        if refusal is None:
            if before is None:
                self.counted.append((it.account_id, self.now))
            deadline = self.now + it.lease_ms
            self.attempts.append(Attempt(it.request_id, it.attempt, it.account_id, [it.hold_nano], [deadline]))
        superseded = before.number if before else 0
        return self.described(refusal or "ADMITTED", it.account_id)._replace(superseded=superseded)

    def described(self, code: str, account: bytes) -> Verdict:
        limit = self.accounts[account].requests_per_minute
        tomorrow = (istanbul(self.now) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        reset = int(tomorrow.timestamp()) if code == "DAY_LIMIT" else (self.now // 60_000 + 1) * 60
        remaining = max(0, limit - self.in_minute(account))
        return Verdict(code, available_nano=self.free(account), limit=limit, remaining=remaining, reset_s=reset)

    def hold_extended(self, it: pb.HoldExtended) -> Verdict:
        attempt = self.pending(it.request_id)
        if attempt is None or attempt.number != it.attempt or attempt.deadline <= self.now:
            return Verdict("NOT_OPEN")
        if it.add_nano < 0:
            return Verdict("INVALID")
        if it.add_nano > self.free(attempt.account):
            return Verdict("EXTENSION_REFUSED")
        attempt.holds.append(it.add_nano)
        attempt.deadlines.append(self.now + it.lease_ms)
        return Verdict("EXTENDED")

    def request_settled(self, it: pb.RequestSettled) -> Verdict:
        attempt = self.pending(it.request_id)
        if attempt is None or attempt.number != it.attempt:
            return Verdict("NOT_OPEN")
        if it.charge_nano < 0:
            return Verdict("INVALID")
        code = "SETTLED" if attempt.deadline > self.now else "SETTLED_LATE"
        attempt.ended_ms, attempt.settled = self.now, True
        charge = min(it.charge_nano, self.free(attempt.account))
        self.charges.append((attempt.account, charge))
        self.losses.append((attempt.account, it.charge_nano - charge))
        verdict = self.described(code, attempt.account)
        return verdict._replace(charged_nano=charge, shortfall_nano=it.charge_nano - charge)

    def request_released(self, it: pb.RequestReleased) -> Verdict:
        attempt = self.pending(it.request_id)
        if attempt is None or attempt.number != it.attempt:
            return Verdict("NOT_OPEN")
        attempt.ended_ms = self.now
        return Verdict("RELEASED")


def istanbul(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1000, ISTANBUL)
