"""The fold as it was: at a position, or at a moment of the log's time."""

from pathlib import Path

from bus.archive import Archive
from bus.connection import Connection
from bus.errors import BusError
from bus.history import read_entry
from bus.jetstream import Entry
from bus.streams import LEDGER, last_position
from projections.proof.books import Books
from projections.proof.publishing import books_before
from projections.proof.reading import OnProgress, no_progress, read_through

SLACK_POSITIONS = 4_096
"""Leaders' clocks differ, so a message may be stamped a little earlier than the one before."""


class NoSuchMoment(BusError):
    """The position is not in the log yet, or the moment lies before its first message."""


async def books_at_position(
    connection: Connection, archive: Path | None, position: int, on_progress: OnProgress = no_progress
) -> Books:
    """The books after a position. Raises NoSuchMoment, FoldStopped, HistoryLost, ArchiveBroken."""
    last = await last_position(connection, LEDGER)
    if not 0 < position <= last:
        raise NoSuchMoment(f"the log has positions 1 to {last}")
    books = Books() if archive is None else books_before(archive, position)
    await read_through(connection, archive, books.state.position, position, books.apply, on_progress)
    return books


async def position_at(connection: Connection, archive: Path | None, time_ms: int) -> int:
    """The last position whose message the log took at or before a moment; 0: none.

    Raises as `bus.history.read_entry`.
    """
    first, end = 1, await last_position(connection, LEDGER)
    while first <= end:
        middle = (first + end) // 2
        if (await read_entry(connection, middle, archive)).time_ms <= time_ms:
            first = middle + 1
        else:
            end = middle - 1
    return end


async def books_at_time(
    connection: Connection, archive: Path | None, time_ms: int, on_progress: OnProgress = no_progress
) -> Books:
    """The books after the last message that the log took at or before a moment. Raises as `books_at_position`."""
    last = await last_position(connection, LEDGER)
    end = await position_at(connection, archive, time_ms)
    if not end:
        raise NoSuchMoment("the log begins later")
    books = Books() if archive is None else _archived_before(archive, end, time_ms)
    passed = False

    def on_entry(entry: Entry) -> None:
        nonlocal passed
        passed = passed or max(entry.time_ms, books.state.time_ms) > time_ms
        if not passed:
            books.apply(entry)

    until = min(last, end + SLACK_POSITIONS)
    await read_through(connection, archive, books.state.position, until, on_entry, on_progress)
    return books


def _archived_before(archive: Path, position: int, time_ms: int) -> Books:
    for each in reversed(Archive(archive).ranges):
        if each.last <= position:
            books = books_before(archive, each.last)
            if books.state.time_ms <= time_ms:
                return books
    return Books()
