"""A customer's statement of a month: every line of the account, and the two published positions that enclose them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from bus.archive import Archive
from bus.connection import Connection
from bus.errors import BusError
from bus.jetstream import Entry
from core.ledger.windows import ISTANBUL_OFFSET_MS
from projections.proof.books import Books, Movement
from projections.proof.commitments import Published, Standing
from projections.proof.publishing import Commitment, Publication, books_before
from projections.proof.reading import OnProgress, no_progress, read_through
from proto.onysoft.v1 import ledger_pb2 as pb

LINES_MAX = 5_000_000
ISTANBUL = timezone(timedelta(milliseconds=ISTANBUL_OFFSET_MS))


class NoStatement(BusError):
    """There is nothing to state; the message says why."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a statement: the account's leaf, its path to the root, and the published line with that root."""

    standing: Standing
    path: list[tuple[str, bytes]] | None
    published: Published


@dataclass(slots=True)
class Statement:
    """Lines between two positions. `month` is `2026-11`; of a month that is not over, up to the published end."""

    account_id: bytes
    currency: str
    month: str
    first_ms: int
    end_ms: int
    month_over: bool
    opening: Bound
    closing: Bound
    lines: list[Movement] = field(default_factory=list)


def month_bounds(month: str) -> tuple[int, int]:
    """Unix milliseconds at which the Istanbul month begins and is over. Raises ValueError for anything but YYYY-MM."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=ISTANBUL)
    following = (first + timedelta(days=32)).replace(day=1)
    return int(first.timestamp()) * 1000, int(following.timestamp()) * 1000


class _Reader:
    """Takes the log in order; keeps the account's lines of the month, and the commitments at its ends."""

    def __init__(self, books: Books, account_id: bytes, first_ms: int, end_ms: int) -> None:
        self.books = books
        self.lines: list[Movement] = []
        self.opening: Commitment | None = None
        self.closing: Commitment | None = None
        self._account_id = account_id
        self._first_ms = first_ms
        self._end_ms = end_ms

    def on_entry(self, entry: Entry) -> None:
        time_ms = max(entry.time_ms, self.books.state.time_ms)
        if self.opening is None and time_ms >= self._first_ms:
            self.opening = Commitment(self.books)
        if self.closing is None and time_ms >= self._end_ms:
            self.closing = Commitment(self.books)
        _, _, movements = self.books.apply(entry)
        if self.opening is not None and self.closing is None:
            self.lines += [each for each in movements if each.account_id == self._account_id]
            if len(self.lines) > LINES_MAX:
                raise NoStatement(f"more than {LINES_MAX} lines in one month")

    def finish(self) -> None:
        """The log's published end is reached."""
        self.opening = self.opening or Commitment(self.books)
        if self.closing is None:
            self.closing = Commitment(self.books)


async def make_statement(
    connection: Connection,
    archive: Path,
    publication: Publication,
    account_id: bytes,
    month: str,
    on_progress: OnProgress = no_progress,
) -> Statement:
    """The statement of an account and month, from the log up to the newest published position.

    Raises NoStatement, ValueError for a malformed month, and what reading and folding raise.
    """
    first_ms, end_ms = month_bounds(month)
    reader = _Reader(_books_before_ms(archive, first_ms), account_id, first_ms, end_ms)
    after = reader.books.state.position
    await read_through(connection, archive, after, publication.last, reader.on_entry, on_progress)
    month_over = reader.closing is not None
    reader.finish()
    assert reader.opening is not None
    assert reader.closing is not None
    account = reader.books.state.accounts.get(account_id)
    if account is None:
        raise NoStatement("the ledger does not know this account")
    return Statement(
        account_id=account_id,
        currency=pb.Currency.Name(pb.Currency.ValueType(account.currency)),
        month=month,
        first_ms=first_ms,
        end_ms=end_ms,
        opening=_bound(reader.opening, publication, account_id),
        closing=_bound(reader.closing, publication, account_id),
        lines=reader.lines,
        month_over=month_over,
    )


def _bound(commitment: Commitment, publication: Publication, account_id: bytes) -> Bound:
    """Raises NoStatement where the position is not published: an account that nobody can check gets no statement."""
    published = commitment.published
    if published.position and not publication.knows(published.position):
        raise NoStatement(f"position {published.position} is not published; publish first")
    if published.position:
        publication.compare(published)
    return Bound(commitment.standing(account_id), commitment.path(account_id), published)


def _books_before_ms(archive: Path, time_ms: int) -> Books:
    """The newest archived books whose log time lies before `time_ms`, else empty ones."""
    for each in reversed(Archive(archive).ranges):
        if each.last_time_ms < time_ms:
            books = books_before(archive, each.last)
            if books.state.time_ms < time_ms:  # the log's time may be ahead of its last message's
                return books
    return Books()
