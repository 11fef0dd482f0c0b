"""Ledger and analytics by set: the same events, each with the same ids and integers, and the same balances.

What the tables must hold is worked out here from the books, not with the code that filled them; the columns that no
sum rests on are compared as well, by `whole_rows.py`.
"""

import asyncio
import string
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from bus.connection import Connection
from bus.errors import BusError
from bus.jetstream import Entry
from core.ledger.outcome import Code, FoldStopped, Outcome
from projections.analytics.ledger_rows import LEDGER_TABLES, LedgerRows
from projections.analytics.rows import Rows, Table
from projections.proof import whole_rows
from projections.proof.books import Books, Movement
from projections.proof.reading import OnProgress, no_progress, read_through
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, KEY, REQUEST, text

DIFFERENCES_MAX = 10_000
"""Differences that are kept; all of them are counted."""

CHUNK_ROWS = 40_000
CHUNK_POSITIONS_MIN = 256
CHUNK_POSITIONS_MAX = 50_000
_NANO = Decimal(10) ** 9
_SQL = Path(__file__).parent / "sql"

Key = tuple[int, ...]
Row = tuple[Any, ...]
Ask = Callable[[str], Awaitable[Sequence[Sequence[Any]]]]
"""Rows of one query to the analytics store. Raises StoreAway."""

CHARGE_FIELDS = (
    *("request_id", "attempt", "account_id", "parent_id", "key_id", "model", "provider", "generation_id", "time_ms"),
    *("outcome", "asked_nano", "charge_nano", "shortfall_nano", "parent_asked_nano", "parent_charge_nano"),
    *("parent_shortfall_nano", "provider_cost_nano", "fx_rate_nano", "markup_bps", "prompt_tokens"),
    *("completion_tokens", "cached_tokens", "reasoning_tokens"),
)
FIELDS: dict[str, tuple[str, ...]] = {
    "charges": CHARGE_FIELDS,
    "credits": ("time_ms", "account_id", "kind", "amount_nano", "reference"),
    "tasks": ("request_id", "attempt", "provider", "provider_task_id"),
    "releases": ("request_id", "attempt", "reason"),
    "losses": ("request_id", "attempt", "asked_nano", "generation_id"),
}
"""What is compared of each table's rows, behind the position, the event's index, and for credits the leg."""

_KEY_LENGTH = {"credits": 3}
_CREDIT_KINDS = {"credit": 1, "reversal": 2, "moved_out": 3, "moved_in": 4}


class StoreAway(BusError):
    """The analytics store did not answer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it must be. `position` is the ledger's; 0: of no one position."""

    position: int
    table: str
    text: str


@dataclass(slots=True)
class Report:
    """Totals and differences, as far as the comparison has come."""

    totals: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    count: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.count

    def differs(self, position: int, table: str, told: str) -> None:
        """Note a difference."""
        self.count += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(Difference(position, table, told))


def query(name: str, **numbers: int) -> str:
    """A query of this folder, its `$names` filled with integers."""
    template = "\n".join(line for line in (_SQL / f"{name}.sql").read_text().splitlines() if not line.startswith("--"))
    return string.Template(template).substitute({key: int(value) for key, value in numbers.items()})


class Reconciler:
    """Compares the log behind `books` with the tables, range by range; may go on for ever. Without `ask` it only reads
    the log.

    `on_settlement(position, event, counted)` is called for each settlement on the way.
    """

    def __init__(
        self, connection: Connection, archive: Path | None, books: Books, ask: Ask | None, whole: bool = False
    ) -> None:
        """`whole`: compare every column too; for that the books must begin with the log."""
        self.report = Report()
        self.books = books
        self.on_settlement: Callable[[int, pb.RequestSettled, bool], None] | None = None
        self._connection = connection
        self._archive = archive
        self._ask = ask
        self._expected: dict[str, dict[Key, Row]] = {table: {} for table in FIELDS}
        self._chunk = CHUNK_POSITIONS_MAX // 4
        self._rows = LedgerRows(books.state, {}, silent_until=0) if whole and ask is not None else None
        self._named: set[tuple[str, Key]] = set()

    @property
    def position(self) -> int:
        """Up to here ledger and tables were compared."""
        return self.books.state.position

    async def advance(self, last: int, on_progress: OnProgress = no_progress) -> None:
        """Compare up to position `last`, which the tables must hold.

        Raises StoreAway; FoldStopped, HistoryLost, ArchiveBroken when the log itself cannot be read on.
        """
        while self.position < last:
            first = self.position + 1
            end = min(last, self.position + self._chunk)
            await read_through(self._connection, self._archive, self.position, end, self.on_entry)
            rows = await self._compare(first, end)
            fitting = CHUNK_ROWS * (end - first + 1) // max(rows, 1)
            self._chunk = max(CHUNK_POSITIONS_MIN, min(CHUNK_POSITIONS_MAX, fitting))
            on_progress(end, last)

    async def compare_balances(self, into: Report | None = None) -> None:
        """Every account: the fold's balance, its lines, and credits less charges of all rows up to this position."""
        report = into or self.report
        try:
            self.books.check()
        except FoldStopped as stopped:
            report.differs(self.position, "ledger", str(stopped))
        report.totals["accounts"] = len(self.books.state.accounts)
        if self._ask is None:
            return
        told = {row[0]: int(row[1]) for row in await self._ask(query("balances", last=self.position))}
        for account_id, account in self.books.state.accounts.items():
            name = text(ACCOUNT, account_id)
            stored = told.pop(name, 0)
            if stored != account.balance_nano:
                told_by = f"the fold's balance is {account.balance_nano}, credits less charges {stored} nano-units"
                report.differs(0, "balances", f"{name}: {told_by}")
        for name, stored in told.items():
            report.differs(0, "balances", f"{name or 'no account'}: {stored} nano-units, unknown to the ledger")

    # The tables

    async def _compare(self, first: int, last: int) -> int:
        """Compare one range; the number of rows that it must have."""
        total = 0
        for table, expected in self._expected.items():
            if self._ask is not None:
                rows = await self._ask(query(table, first=first, last=last))
                await asyncio.to_thread(self._compare_rows, table, expected, rows)
            self.report.totals[table] += len(expected)
            total += len(expected)
            expected.clear()
        if self._rows is not None and self._rows.pending:
            await self._compare_whole(self._rows.take().rows, first, last)
            self._rows.forget_ended()
        self._named.clear()
        return total

    async def _compare_whole(self, rows: Rows, first: int, last: int) -> None:
        """Every column of what the log gives, against the digest of each stored row."""
        assert self._ask is not None
        expected = whole_rows.digests(rows)
        for table in LEDGER_TABLES:
            query = whole_rows.stored_digests(table).replace("$first", str(first)).replace("$last", str(last))
            stored = await self._ask(query)
            for key, told in self._whole(table, expected.get(table, {}), stored):
                if (table.name, key) in self._named:
                    continue  # named with its columns before
                if isinstance(told, bytes):
                    [row, *_] = await self._ask(whole_rows.stored_row(table, key))
                    told = whole_rows.told(table, told, row)
                self._differs(table.name, key, told)
            self.report.totals["rows compared whole"] += len(stored)

    def _whole(
        self, table: Table, expected: dict[Key, tuple[str, bytes]], stored: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[Key, str | bytes]]:
        """What differs: in words, or the bytes of the row whose columns are to be named."""
        length = whole_rows.key_length(table)
        seen = set()
        for each in stored:
            key = tuple(each[:length])
            wanted = expected.get(key)
            if wanted is None:
                yield key, "is not in the ledger"
            elif key in seen:
                yield key, "is there twice"
            elif wanted[0] != each[length]:
                yield key, wanted[1]
            seen.add(key)
        for key in expected:
            if key not in seen:
                yield key, "is missing"

    def _compare_rows(self, table: str, expected: dict[Key, Row], rows: Sequence[Sequence[Any]]) -> None:
        length = _KEY_LENGTH.get(table, 2)
        stored: dict[Key, Row] = {}
        for each in rows:
            key = tuple(each[:length])
            if key in stored:
                self._differs(table, key, f"is there twice: {_brief(table, each[length:])}")
            stored[key] = tuple(each[length:])
        for key, row in expected.items():
            found = stored.pop(key, None)
            if found is None:
                self._differs(table, key, f"is missing: {_brief(table, row)}")
            elif found != row:
                self._compare_fields(table, key, row, found)
        for key, row in stored.items():
            self._differs(table, key, f"is not in the ledger: {_brief(table, row)}")

    def _compare_fields(self, table: str, key: Key, row: Row, found: Row) -> None:
        names = FIELDS[table]
        wrong = [
            f"{name} is {theirs!r}, the ledger says {mine!r}"
            for name, mine, theirs in zip(names, row, found, strict=True)
            if mine is not None and mine != theirs
        ]
        if wrong:
            self._differs(table, key, f"{_brief(table, row)}: " + "; ".join(wrong))

    def _differs(self, table: str, key: Key, told: str) -> None:
        self._named.add((table, key))
        self.report.differs(key[0], table, f"event {key[1]} {told}")

    # The ledger

    def on_entry(self, entry: Entry) -> None:
        """Take one message of the log: what the tables must hold of it."""
        batch, outcomes, movements = self.books.apply(entry)
        if self._rows is not None:
            self._rows.add(entry, batch, outcomes)
        totals = self.report.totals
        totals["positions"] += 1
        legs: dict[int, list[Movement]] = {}
        for movement in movements:
            legs.setdefault(movement.event, []).append(movement)
        for index, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
            if outcome.code is Code.DUPLICATE_BATCH:
                continue
            totals["events"] += 1
            totals["checkpoints equal"] += outcome.code is Code.CHECKED
            self._expect((entry.position, index), event, outcome, legs.get(index, []))

    def _expect(self, key: Key, event: pb.Event, outcome: Outcome, legs: list[Movement]) -> None:
        code = outcome.code
        kind = event.WhichOneof("event")
        if kind == "request_settled":
            settled = event.request_settled
            counted = code in (Code.SETTLED, Code.SETTLED_LATE)
            if counted:
                self._expected["charges"][key] = self._charge(settled, outcome, legs[0])
            else:
                lost = (settled.charge_nano, settled.generation_id)
                self._expected["losses"][key] = (text(REQUEST, settled.request_id), settled.attempt, *lost)
            if self.on_settlement is not None:
                self.on_settlement(key[0], settled, counted)
        elif kind == "request_released" and code is Code.RELEASED:
            released = event.request_released
            reason = pb.ReleaseReason.Name(released.reason).lower()
            self._expected["releases"][key] = (text(REQUEST, released.request_id), released.attempt, reason)
        elif kind == "task_submitted" and code is Code.SUBMITTED:
            task = event.task_submitted
            who = (text(REQUEST, task.request_id), task.attempt)
            self._expected["tasks"][key] = (*who, task.provider, task.provider_task_id)
        elif kind is not None and kind.startswith("credit_"):
            for leg in legs:
                row = (leg.time_ms, text(ACCOUNT, leg.account_id), _CREDIT_KINDS[leg.kind], leg.amount_nano)
                self._expected["credits"][*key, leg.leg] = (*row, leg.reference)

    def _charge(self, settled: pb.RequestSettled, outcome: Outcome, line: Movement) -> Row:
        account = self.books.state.accounts[line.account_id]
        cost_nano = int((Decimal(settled.provider_cost_usd or "0") * _NANO).to_integral_value(ROUND_CEILING))
        self.report.totals["charged nano-units"] += outcome.charged_nano
        return (
            text(REQUEST, settled.request_id),
            settled.attempt,
            text(ACCOUNT, line.account_id),
            text(ACCOUNT, account.parent_id) if account.parent_id else "",
            text(KEY, line.key_id) if line.key_id else None,
            line.model or None,
            settled.provider,
            settled.generation_id,
            line.time_ms,
            int(outcome.code),
            settled.charge_nano,
            -line.amount_nano,
            outcome.shortfall_nano,
            settled.parent_charge_nano,
            outcome.parent_charged_nano,
            outcome.parent_shortfall_nano,
            cost_nano,
            settled.fx_rate_nano,
            settled.markup_bps,
            settled.prompt_tokens,
            settled.completion_tokens,
            settled.cached_tokens,
            settled.reasoning_tokens,
        )


def _brief(table: str, row: Sequence[Any]) -> str:
    """What a person looks for: whose row it is, and its amount."""
    named = dict(zip(FIELDS[table], row, strict=True))
    shown = [str(named[name]) for name in ("request_id", "account_id", "reference") if named.get(name)]
    amount = named.get("charge_nano", named.get("amount_nano"))
    return " ".join(shown) + (f", {amount} nano-units" if amount is not None else "")
