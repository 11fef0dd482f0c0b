"""The fold as a bookkeeper reads it: every change of a balance as a line, and each account's lines in a hash chain.

What was credited or charged is what the fold made of an event, never what the event asked for. `check` compares the
lines with the fold's own balances, so a rule that moves money in a way unknown here is a loud stop, not a wrong
statement.
"""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

from bus.jetstream import Entry
from core.ledger.fold import apply_batch
from core.ledger.money import to_text
from core.ledger.outcome import Code, FoldStopped, Outcome
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.proof_pb2 import BooksState
from runtime.ids import ACCOUNT, KEY, REQUEST, text

ZERO_HASH = bytes(32)
CALLS_SPARE = 4_096
"""Calls that may be remembered beyond those that are open, before the ended ones are dropped."""

SUBJECT_PREFIX = len("ledger.")

COLUMNS = (
    "position",
    "event",
    "time",
    "kind",
    "amount",
    "request_id",
    "key_id",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "reference",
)
"""What a line says, in this order; its hash runs over these texts with a unit separator between them."""


class Movement(NamedTuple):
    """One change of one account's balance, `amount_nano` with its sign. `leg` tells the two sides of one event."""

    account_id: bytes
    position: int
    event: int
    leg: int
    time_ms: int
    kind: str
    amount_nano: int
    request_id: bytes = b""
    key_id: bytes = b""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reference: str = ""

    def fields(self) -> tuple[str, ...]:
        """The line, as COLUMNS."""
        return (
            str(self.position),
            str(self.event),
            moment(self.time_ms),
            self.kind,
            to_text(self.amount_nano),
            text(REQUEST, self.request_id) if self.request_id else "",
            text(KEY, self.key_id) if self.key_id else "",
            self.model,
            str(self.prompt_tokens),
            str(self.completion_tokens),
            self.reference,
        )


def moment(time_ms: int) -> str:
    """A time as statements write it: UTC, milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def chained(chain_hash: bytes, fields: tuple[str, ...]) -> bytes:
    """An account's chain hash after one more line."""
    return hashlib.sha256(chain_hash + "\x1f".join(fields).encode()).digest()


class Chain:
    """One account's lines so far, and their sum."""

    __slots__ = ("chain_hash", "lines", "sum_nano")

    def __init__(self, chain_hash: bytes = ZERO_HASH, lines: int = 0, sum_nano: int = 0) -> None:
        self.chain_hash = chain_hash
        self.lines = lines
        self.sum_nano = sum_nano


class _Call(NamedTuple):
    account_id: bytes
    key_id: bytes
    model: str


class Books:
    """The state after the last message, and every account's chain there."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.chains: dict[bytes, Chain] = {}
        self._calls = {
            request.request_id: _Call(request.account_id, request.key_id, request.model)
            for request in self.state.requests.values()
        }

    @classmethod
    def following(cls, state: State) -> "Books":
        """Books that begin at a state: for comparisons only, as no account's lines before it are known."""
        books = cls(state)
        for account in state.accounts.values():
            books.chains[account.account_id] = Chain(sum_nano=account.balance_nano)
        return books

    @classmethod
    def from_bytes(cls, content: bytes) -> "Books":
        """What `to_bytes` gave. Raises ValueError when it contradicts itself."""
        kept = BooksState.FromString(content)
        books = cls(State.from_snapshot(kept.snapshot))
        for each in kept.chains:
            account = books.state.accounts[each.account_id]
            books.chains[each.account_id] = Chain(each.chain_hash, each.lines, account.balance_nano)
        return books

    def to_bytes(self) -> bytes:
        """State and chains."""
        kept = BooksState(snapshot=self.state.to_snapshot())
        for account_id, chain in self.chains.items():
            kept.chains.add(account_id=account_id, lines=chain.lines, chain_hash=chain.chain_hash)
        return kept.SerializeToString()

    def apply(self, entry: Entry) -> tuple[pb.LedgerBatch, list[Outcome], list[Movement]]:
        """Fold one message; what it changed. Raises FoldStopped."""
        batch = pb.LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject[SUBJECT_PREFIX:])
        outcomes = apply_batch(self.state, batch, partition, entry.position, entry.time_ms, entry.payload)
        movements: list[Movement] = []
        for index, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
            movements += self._movements(event, outcome, index)
        for movement in movements:
            self._chain(movement)
        if len(self._calls) > CALLS_SPARE + 2 * len(self.state.requests):
            self._calls = {each: call for each, call in self._calls.items() if each in self.state.requests}
        return batch, outcomes, movements

    def check(self) -> None:
        """Compare every account's lines with its balance in the fold. Raises FoldStopped."""
        for account_id, account in self.state.accounts.items():
            chain = self.chains.get(account_id)
            told = chain.sum_nano if chain is not None else 0
            if told != account.balance_nano:
                name = text(ACCOUNT, account_id)
                raise FoldStopped(f"{name}: its lines make {told}, the fold {account.balance_nano} nano-units")

    def _chain(self, movement: Movement) -> None:
        chain = self.chains.get(movement.account_id)
        if chain is None:
            chain = self.chains[movement.account_id] = Chain()
        chain.chain_hash = chained(chain.chain_hash, movement.fields())
        chain.lines += 1
        chain.sum_nano += movement.amount_nano

    def _movements(self, event: pb.Event, outcome: Outcome, index: int) -> list[Movement]:
        code = outcome.code
        if code is Code.ADMITTED:
            opened = event.request_opened
            self._calls[opened.request_id] = _Call(opened.account_id, opened.key_id, opened.model)
        elif code is Code.SETTLED or code is Code.SETTLED_LATE:
            return self._charges(event.request_settled, outcome, index)
        elif code is Code.RELEASED:
            self._calls.pop(event.request_released.request_id, None)
        elif code is Code.APPLIED:
            return self._credits(event, outcome, index)
        return []

    def _charges(self, settled: pb.RequestSettled, outcome: Outcome, index: int) -> list[Movement]:
        call = self._calls.pop(settled.request_id)
        charge = Movement(
            call.account_id,
            self.state.position,
            index,
            0,
            self.state.time_ms,
            "charge",
            -outcome.charged_nano,
            settled.request_id,
            call.key_id,
            call.model,
            settled.prompt_tokens,
            settled.completion_tokens,
        )
        payer = self.state.accounts[call.account_id].payer
        if payer is None:
            return [charge]
        customer = charge._replace(
            account_id=payer.account_id,
            leg=1,
            kind="customer_charge",
            amount_nano=-outcome.parent_charged_nano,
            key_id=b"",
            reference=text(ACCOUNT, call.account_id),
        )
        return [charge, customer]

    def _credits(self, event: pb.Event, outcome: Outcome, index: int) -> list[Movement]:
        where = (self.state.position, index)
        time_ms = self.state.time_ms
        kind = event.WhichOneof("event")
        if kind == "credit_added":
            added = event.credit_added
            # What a receivable takes of a credit never reaches the balance.
            paid = added.amount_nano - outcome.charged_nano
            line = Movement(added.account_id, *where, 0, time_ms, "credit", paid)
            return [line._replace(reference=added.reference)]
        if kind == "credit_reversed":
            taken = event.credit_reversed
            line = Movement(taken.account_id, *where, 0, time_ms, "reversal", -outcome.charged_nano)
            return [line._replace(reference=taken.reference)]
        if kind == "credit_moved":
            moved = event.credit_moved
            out = Movement(moved.from_account_id, *where, 0, time_ms, "moved_out", -moved.amount_nano)
            into = Movement(moved.to_account_id, *where, 1, time_ms, "moved_in", moved.to_amount_nano)
            return [out._replace(reference=moved.reference), into._replace(reference=moved.reference)]
        return []
