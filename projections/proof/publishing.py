"""The published file of checkpoints: what the house has committed itself to, at the end of each Istanbul day.

One JSON document a line, appended only. Anybody may keep a copy; two copies that differ in a line convict whoever
published both. Written where the archive is; how it gets to customers (a web page, a mail, a newspaper) is the
operator's choice.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson

from bus.archive import Archive
from bus.connection import Connection
from bus.errors import BusError
from bus.jetstream import Entry
from bus.streams import LEDGER, last_position
from core.ledger.outcome import FoldStopped
from core.ledger.windows import day_of
from projections.proof.books import Books, Chain
from projections.proof.commitments import Published, Standing, path_of, tree
from projections.proof.reading import OnProgress, no_progress, read_through

FILE = "published/checkpoints.jsonl"
LOCK_POLL_S = 0.1
_NO_LINES = Chain()


class PublicationBroken(BusError):
    """The published file is not what was written, or not what the log says; the message names the position."""


class Commitment:
    """Every account's standing at the books' position, as a tree. Costs one hash for each account."""

    def __init__(self, books: Books) -> None:
        state = books.state
        self._standings = {each: standing_of(books, each) for each in sorted(state.accounts)}
        self._order = {account_id: index for index, account_id in enumerate(self._standings)}
        self._levels = tree([each.leaf() for each in self._standings.values()])
        self.published = Published(
            position=state.position,
            time_ms=state.time_ms,
            chain_hash=state.chain_hash.hex(),
            state_digest=state.digest().hex(),
            accounts=len(self._standings),
            root=self._levels[-1][0].hex(),
        )

    def standing(self, account_id: bytes) -> Standing:
        """An account's leaf; one that is not open yet has nothing."""
        return self._standings.get(account_id) or Standing(account_id, 0, 0, 0, bytes(32))

    def path(self, account_id: bytes) -> list[tuple[str, bytes]] | None:
        """The way from its leaf to the root; None where the account is not open yet."""
        index = self._order.get(account_id)
        return None if index is None else path_of(self._levels, index)


def standing_of(books: Books, account_id: bytes) -> Standing:
    """What the books say of an account now."""
    account = books.state.accounts[account_id]
    chain = books.chains.get(account_id, _NO_LINES)
    return Standing(account_id, account.credits_nano, account.charges_nano, chain.lines, chain.chain_hash)


def read_published(path: Path) -> list[Published]:
    """All lines of a published file; none when there is no file. Raises PublicationBroken."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    found: list[Published] = []
    previous = ""
    for number, line in enumerate(content.splitlines(), 1):
        try:
            each = Published(**orjson.loads(line))
        except (ValueError, TypeError) as error:
            raise PublicationBroken(f"{path}, line {number} cannot be read") from error
        if each.previous != previous or (found and each.position <= found[-1].position):
            raise PublicationBroken(f"{path}, line {number}: position {each.position} does not follow the line before")
        previous = hashlib.sha256(line).hexdigest()
        found.append(each)
    return found


class Publication:
    """The file under way: lines that are there are compared with the books, new ones are appended and synced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = read_published(path)
        self.compared = 0
        self.added: list[Published] = []
        self._known = {each.position: each for each in self.lines}

    @property
    def last(self) -> int:
        """The newest published position; 0: none."""
        return self.lines[-1].position if self.lines else 0

    def knows(self, position: int) -> bool:
        """Whether there is a line of this position."""
        return position in self._known

    def compare(self, published: Published) -> None:
        """Raises PublicationBroken when the line of this position says something else."""
        known = self._known[published.position]
        if replace(known, previous="") != published:
            raise PublicationBroken(
                f"{self.path}: the published line of position {known.position} is not what the log says"
            )
        self.compared += 1

    def add(self, published: Published) -> None:
        """Append a line of a later position; it is on the disk when this returns."""
        previous = hashlib.sha256(orjson.dumps(self.lines[-1].to_document())).hexdigest() if self.lines else ""
        line = replace(published, previous=previous)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, orjson.dumps(line.to_document()) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        self.lines.append(line)
        self._known[line.position] = line
        self.added.append(line)


class _Publisher:
    """Takes the log in order; before each message that begins a new day, a line is due."""

    def __init__(self, publication: Publication, books: Books) -> None:
        self.books = books
        self._publication = publication

    def on_entry(self, entry: Entry) -> None:
        state = self.books.state
        if state.position and day_of(max(entry.time_ms, state.time_ms)) != day_of(state.time_ms):
            self.line(due=True)
        elif self._publication.knows(state.position):
            self.line(due=False)
        self.books.apply(entry)

    def line(self, due: bool) -> None:
        position = self.books.state.position
        self.books.check()
        published = Commitment(self.books).published
        if self._publication.knows(position):
            self._publication.compare(published)
        elif due and position > self._publication.last:
            self._publication.add(published)
        elif due:
            raise PublicationBroken(f"{self._publication.path} has no line of position {position}, where a day ended")


async def publish(
    connection: Connection,
    archive: Path,
    now: bool,
    from_start: bool = False,
    on_progress: OnProgress = no_progress,
) -> Publication:
    """Bring the published file up to date; with `now`, also with a line of the log's end.

    Begins at the archived state before the newest published position, or at position 1 with `from_start`; every line
    on the way is compared. Raises PublicationBroken, FoldStopped, HistoryLost, ArchiveBroken.
    """
    async with _alone(archive / FILE):
        return await _publish(connection, archive, now, from_start, on_progress)


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """One process at a time adds to the file: two that did would break the chain of its lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_S)
            else:
                break
        yield


async def _publish(
    connection: Connection, archive: Path, now: bool, from_start: bool, on_progress: OnProgress
) -> Publication:
    publication = Publication(archive / FILE)
    publisher = _Publisher(publication, Books() if from_start else books_before(archive, publication.last))
    last = await last_position(connection, LEDGER)
    if publication.last > last:
        raise PublicationBroken(f"position {publication.last} is published, but the log ends at {last}")
    await read_through(connection, archive, publisher.books.state.position, last, publisher.on_entry, on_progress)
    if last and (now or publication.knows(last)):
        publisher.line(due=now)
    return publication


def books_before(archive: Path, position: int) -> Books:
    """The newest archived books at or before a position, else empty ones. Raises ArchiveBroken, FoldStopped."""
    kept = Archive(archive).state_before(position) if position else None
    try:
        return Books() if kept is None else Books.from_bytes(kept)
    except (ValueError, KeyError) as error:
        raise FoldStopped(f"the archived state before position {position}: {error}") from error
