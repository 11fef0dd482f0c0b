"""Two replicas and the reference, fed with one log: whatever is appended, they must agree and keep the invariants."""

from collections import defaultdict

from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import snapshot_pb2
from tests.model.ledger_log import Log, Message, account_opened, credit_added, fold, key_issued, name, rules_activated
from tests.model.reference import Reference, Verdict

FINGERPRINT_EVERY = 8
"""The model's fold takes fingerprints this often, so that short schedules have checkpoints."""

LIMITS = {"ann": (0, 0), "bob": (3, 0), "eve": (4, 3)}
"""Requests per minute and per day of each account."""

ENDINGS = {Code.SETTLED, Code.SETTLED_LATE, Code.RELEASED}


class World:
    """A log under test."""

    def __init__(self, rules_version: int = 1) -> None:
        self.log = Log()
        self.twin = State()
        self.reference = self._new_reference()
        self.digests = [self.log.state.digest()]
        self.snapshots: dict[int, bytes] = {}
        self.sent: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
        self.open: dict[bytes, int] = {}
        self.charged: dict[bytes, int] = defaultdict(int)
        self.credited: dict[bytes, int] = defaultdict(int)
        if rules_version > 1:
            self.append(rules_activated(rules_version))
        self._populate()

    def _new_reference(self) -> Reference:
        return Reference(FINGERPRINT_EVERY)

    def _populate(self) -> None:
        for account, (per_minute, per_day) in LIMITS.items():
            self.append(account_opened(account, per_minute, per_day), key_issued(f"key-{account}", account))
            self.append(credit_added(100, "first", account))

    def available(self, account: str) -> int:
        """What is free, to aim at."""
        return self.log.state.accounts[name(account)].available_nano

    def append(self, *events: pb.Event, writer: bytes = b"writer-1", partition: int = 0) -> None:
        """A writer's next batch."""
        number = len(self.sent[writer, partition]) + 1
        payload = pb.LedgerBatch(writer=writer, number=number, events=events).SerializeToString()
        self.sent[writer, partition].append(payload)
        self.deliver(payload, partition)

    def retry(self, writer: bytes, partition: int, back: int) -> None:
        """A writer's batch again, `back` before its last; a writer that was forgotten can only repeat its last."""
        sent = self.sent[writer, partition]
        if sent:
            back = back if (writer, partition) in self.log.state.writers else 0
            self.deliver(sent[max(0, len(sent) - 1 - back)], partition)

    def deliver(self, payload: bytes, partition: int) -> None:
        """One message of the log reaches everybody."""
        batch = pb.LedgerBatch.FromString(payload)
        room = self._room(batch)
        outcomes = self.log.put(payload, partition)
        message = self.log.messages[-1]
        expected = self.reference.batch(batch, partition, message.time_ms)
        assert [verdict_of(outcome) for outcome in outcomes] == expected
        self._twin_agrees(message, outcomes)
        self._one_outcome_each(batch, outcomes)
        self._balances_hold()
        if room is not None and outcomes[0].charged_nano:
            assert outcomes[0].charged_nano <= room, "invariant 3"

    def snapshot(self) -> None:
        """The twin dies and comes back from a snapshot of the first replica."""
        self.snapshots[self.log.state.position] = stored = self.log.state.to_snapshot().SerializeToString()
        self.twin = State.from_snapshot(snapshot_pb2.Snapshot.FromString(stored))

    def _room(self, batch: pb.LedgerBatch) -> int | None:
        """For a batch of one settlement: its hold and what is free before it, were it applied at this time."""
        if len(batch.events) != 1 or batch.events[0].WhichOneof("event") != "request_settled":
            return None
        request = self.log.state.requests.get(batch.events[0].request_settled.request_id)
        if request is None:
            return None
        state, time_ms = self.log.state, max(self.log.state.time_ms, self.log.now_ms)
        account = state.accounts[request.account_id]
        held = sum(
            other.hold_nano
            for other in state.requests.values()
            if other.account_id == request.account_id and other is not request and other.deadline_ms > time_ms
        )
        return account.balance_nano - held

    def _twin_agrees(self, message: Message, outcomes: list[Outcome]) -> None:
        """Invariant 5."""
        assert [repr(outcome) for outcome in fold(self.twin, message)] == [repr(outcome) for outcome in outcomes]
        digest = self.log.state.digest()
        assert self.twin.digest() == digest, "invariant 5"
        assert self.twin.chain_hash == self.log.state.chain_hash
        self.digests.append(digest)

    def _one_outcome_each(self, batch: pb.LedgerBatch, outcomes: list[Outcome]) -> None:
        """Invariant 2, from the outcomes alone."""
        for event, outcome in zip(batch.events, outcomes, strict=True):
            if outcome.superseded:
                assert self.open.pop(event.request_opened.request_id) == outcome.superseded
            if outcome.code is Code.ADMITTED:
                self.open[event.request_opened.request_id] = event.request_opened.attempt
            elif outcome.code in ENDINGS:
                ending = getattr(event, event.WhichOneof("event") or "")
                self._count_charge(self._account_of(ending.request_id), event, outcome)
                assert self.open.pop(ending.request_id) == ending.attempt, "invariant 2"
            elif outcome.code is Code.APPLIED:
                self._count_credit(event, outcome)

    def _count_charge(self, account_id: bytes, event: pb.Event, outcome: Outcome) -> None:
        self.charged[account_id] += outcome.charged_nano

    def _count_credit(self, event: pb.Event, outcome: Outcome) -> None:
        if event.WhichOneof("event") == "credit_added":
            self.credited[event.credit_added.account_id] += event.credit_added.amount_nano

    def _account_of(self, request_id: bytes) -> bytes:
        return [attempt.account for attempt in self.reference.attempts if attempt.request == request_id][-1]

    def _balances_hold(self) -> None:
        """Invariant 1, and that what is held is what open requests hold."""
        state = self.log.state
        for account_id, account in state.accounts.items():
            open_now = [r for r in state.requests.values() if r.account_id == account_id and not r.expired]
            assert account.credits_nano - account.charges_nano - account.held_nano >= 0, "invariant 1"
            assert account.held_nano == sum(request.hold_nano for request in open_now)
            assert account.open_holds == len(open_now)
            assert account.held_nano == self.reference.held(account_id)
            assert account.balance_nano == self.reference.balance(account_id)
            assert account.shortfall_nano == self.reference.loss(account_id)
            assert (account.credits_nano, account.charges_nano) == (self.credited[account_id], self.charged[account_id])
        deadlines = [request.deadline_ms for request in state.requests.values() if not request.expired]
        assert state.next_deadline_ms() == min(deadlines, default=None)
        assert all(deadline_ms > state.time_ms for deadline_ms in deadlines), "invariant 6"

    def replay_every_prefix(self) -> None:
        """A replay from the beginning, and one from each snapshot taken, pass through the same digests."""
        state = State()
        for message, digest in zip(self.log.messages, self.digests[1:], strict=True):
            fold(state, message)
            assert state.digest() == digest
        for position, stored in self.snapshots.items():
            state = State.from_snapshot(snapshot_pb2.Snapshot.FromString(stored))
            for message, digest in zip(self.log.messages[position:], self.digests[position + 1 :], strict=True):
                fold(state, message)
                assert state.digest() == digest


def verdict_of(outcome: Outcome) -> Verdict:
    """An outcome in the reference's words."""
    return Verdict(outcome.code.name, *(getattr(outcome, field) for field in Verdict._fields[1:]))
