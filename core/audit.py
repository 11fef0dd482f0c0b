"""Reads the ledger anew for an operator: what its events did, and whether the whole of it is sound.

Each reading folds into a State of its own, so what it reports does not rest on what this core believes. Where the log
was trimmed, it begins in the archive, or without one at the base: the state up to which it was trimmed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bus import jetstream, snapshots
from bus.archive import Archive
from bus.connection import Connection
from bus.errors import ArchiveBroken, BusError, HistoryLost, NoSuchPosition
from bus.history import History
from bus.streams import LEDGER, last_position
from bus.tail import Entry
from core.ledger.fold import apply_batch
from core.ledger.outcome import Code, FoldStopped
from core.ledger.state import State
from proto.onysoft.v1 import admin_pb2
from proto.onysoft.v1.ledger_pb2 import LedgerBatch
from proto.onysoft.v1.proof_pb2 import BooksState
from proto.onysoft.v1.snapshot_pb2 import Snapshot

UNREAD_ENTRIES_MAX = 100_000
"""Entries that wait for a slow reader; with one more the reading ends."""

PROGRESS_EVERY_S = 0.25
STALLED_S = 5.0
STALLS_MAX = 6
"""How often a reading that does not move is looked into before the log is said to lack what comes next."""

_SUBJECT_PREFIX = len("ledger.")
_NO_END = 2**63


class ReaderTooSlow(Exception):
    """More came than the reader took."""


class _Reading:
    """Folds the log on its way to one reader; keeps the entries of positions `first` to `last`, or their newest."""

    def __init__(self, state: State, first: int, last: int, newest: int | None = None) -> None:
        self.state = state
        self._first = first
        self._last = last
        self.entries: deque[admin_pb2.LedgerEntry] = deque(maxlen=newest)
        self.events = 0
        self.checkpoints = 0
        self.moved = asyncio.Event()
        self._bounded = newest is not None

    def on_entry(self, entry: Entry) -> None:
        """Apply one message of the log. Raises FoldStopped, ReaderTooSlow."""
        batch = LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject[_SUBJECT_PREFIX:])
        outcomes = apply_batch(self.state, batch, partition, entry.position, entry.time_ms, entry.payload)
        self.events += len(outcomes)
        self.checkpoints += sum(outcome.code is Code.CHECKED for outcome in outcomes)
        if self._first <= entry.position <= self._last:
            for index, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
                self.entries.append(
                    admin_pb2.LedgerEntry(
                        position=entry.position,
                        time_ms=self.state.time_ms,
                        partition=partition,
                        index=index,
                        event=event,
                        outcome=outcome.code.name.lower(),
                    )
                )
            if not self._bounded and len(self.entries) > UNREAD_ENTRIES_MAX:
                raise ReaderTooSlow
        self.moved.set()


async def newest_entries(
    connection: Connection, count: int, archive: Path | None = None, fold_most: int | None = None
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """The last `count` events that are in the log now. Raises FoldStopped, BusError.

    `fold_most`: where more positions than that would have to be folded to know what the events did, they are told
    without it.
    """
    last = await last_position(connection, LEDGER)
    first = max(1, last - count + 1)
    state = await _state_within(connection, archive, first, fold_most)
    if state is None:
        entries = _unfolded(connection, archive, first, last, deque(maxlen=count))
    else:
        entries = _entries(connection, archive, first, last, newest=count, state=state)
    async for entry in entries:
        yield entry


async def entries_from(
    connection: Connection, first: int, count: int, archive: Path | None = None, fold_most: int | None = None
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """At most `count` events from position `first` on that are in the log now; `fold_most` as for `newest_entries`.

    Raises FoldStopped, BusError.
    """
    last = await last_position(connection, LEDGER)
    state = await _state_within(connection, archive, first, fold_most)
    if state is None:
        entries = _unfolded(connection, archive, first, min(last, first + count - 1), deque())
    else:
        entries = _entries(connection, archive, first, last, state=state)
    left = count
    async for entry in entries:
        yield entry
        left -= 1
        if not left:
            return


async def follow(
    connection: Connection, first: int, archive: Path | None = None
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """Events from position `first` on, without end; 0: only what comes from now on.

    Raises FoldStopped, BusError, ReaderTooSlow.
    """
    start = first or await last_position(connection, LEDGER) + 1
    async for entry in _entries(connection, archive, start, _NO_END):
        yield entry


async def _unfolded(
    connection: Connection, archive: Path | None, first: int, last: int, entries: deque[admin_pb2.LedgerEntry]
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """Events of the positions `first` to `last` as they were written, as many as `entries` keeps."""
    if first > last:
        return
    read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_entry(entry: Entry) -> None:
        if entry.position <= last:
            partition = int(entry.subject[_SUBJECT_PREFIX:])
            for index, event in enumerate(LedgerBatch.FromString(entry.payload).events):
                entries.append(
                    admin_pb2.LedgerEntry(
                        position=entry.position, time_ms=entry.time_ms, partition=partition, index=index, event=event
                    )
                )
        if entry.position >= last and not read.done():
            read.set_result(None)

    tail = History(connection, first - 1, on_entry, archive)
    try:
        await tail.start()
        await asyncio.wait((read, tail.failure), return_when=asyncio.FIRST_COMPLETED)
        if not read.done():
            tail.failure.result()
    finally:
        await tail.stop()
    for each in entries:
        yield each


async def _entries(
    connection: Connection,
    archive: Path | None,
    first: int,
    last: int,
    newest: int | None = None,
    state: State | None = None,
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """Events of the positions `first` to `last`; with `newest`, so many of them at most."""
    if first > last:
        return
    reading = _Reading(state or await _state_before(connection, archive, first), first, last, newest)
    tail = History(connection, reading.state.position, reading.on_entry, archive)
    try:
        await tail.start()
        while True:
            reading.moved.clear()
            reached_end = reading.state.position >= last
            while reading.entries and (newest is None or reached_end):
                yield reading.entries.popleft()
            if reached_end:
                return
            await _moved(reading, tail)
    finally:
        await tail.stop()


async def verify(connection: Connection, archive: Path | None = None) -> AsyncIterator[admin_pb2.VerifyProgress]:
    """Folds the log from its first position; the last message says whether it is sound.

    Sound means: no position missing, nothing lost at its end that somebody has read before, every event understood,
    every checkpoint equal to this fold. `from_position` is 1, or the first position behind the base where the log was
    trimmed and its archive is not at hand.
    """
    last = await last_position(connection, LEDGER)
    reading = _Reading(State(), _NO_END, _NO_END)
    problem = ""
    try:
        reading.state = await _first_state(connection, archive)
        first = reading.state.position + 1
        async for progress in _fold(connection, archive, reading, last):
            progress.from_position = first
            yield progress
        problem = await _lost_end(connection, archive)
    except (FoldStopped, HistoryLost, ArchiveBroken, ValueError) as error:
        problem = f"after position {reading.state.position}: {error}"
        first = 0
    final = _progress(reading, last)
    final.from_position, final.done, final.ok, final.problem = first, True, not problem, problem
    if not problem:
        final.chain_hash, final.state_digest = reading.state.chain_hash, reading.state.digest()
    yield final


async def _fold(
    connection: Connection, archive: Path | None, reading: _Reading, last: int
) -> AsyncIterator[admin_pb2.VerifyProgress]:
    """Fold up to `last`, telling how far it is."""
    tail = History(connection, reading.state.position, reading.on_entry, archive)
    try:
        await tail.start()
        while reading.state.position < last:
            reading.moved.clear()
            yield _progress(reading, last)
            await _moved_or_lost(connection, reading, tail)
            await asyncio.sleep(PROGRESS_EVERY_S if reading.state.position < last else 0)
            if tail.failure.done():
                tail.failure.result()
    finally:
        await tail.stop()


async def _first_state(connection: Connection, archive: Path | None) -> State:
    """The empty state, or the base where the log was trimmed and no archive reaches up to what is left.

    Raises HistoryLost when there is no base either, ArchiveBroken, ValueError for a base that contradicts itself.
    """
    first = int((await jetstream.stream_state(connection, LEDGER))["first_seq"])
    if first <= 1 or (archive is not None and Archive(archive).last >= first - 1):
        return State()
    base = await snapshots.load_base(connection)
    if base is None or base.position < first - 1:
        raise HistoryLost(f"{LEDGER} begins at {first}, and there is neither an archive nor a base to begin with")
    return State.from_snapshot(base)


async def _lost_end(connection: Connection, archive: Path | None) -> str:
    """What shows that the log once was longer. A server that finds a broken block may cut the log there in silence."""
    witnesses = {"a snapshot": 0, "the archive": Archive(archive).last if archive is not None else 0}
    newest = await snapshots.load(connection)
    witnesses["a snapshot"] = newest.position if newest is not None else 0
    witnesses |= {f"the reader {name}": at for name, at in (await snapshots.readers(connection)).items()}
    last = await last_position(connection, LEDGER)
    for name, position in witnesses.items():
        if position > last:
            return f"after position {last}: the log ends here, but {name} has seen position {position}"
    return ""


def _progress(reading: _Reading, last: int) -> admin_pb2.VerifyProgress:
    return admin_pb2.VerifyProgress(
        position=reading.state.position,
        last_position=max(last, reading.state.position),
        events=reading.events,
        checkpoints=reading.checkpoints,
    )


async def _moved_or_lost(connection: Connection, reading: _Reading, tail: History) -> None:
    """Wait until something was applied. Raises HistoryLost when the stream does not give out what comes next.

    A server that meets a message whose checksum fails may leave a reader waiting without a word.
    """
    for _ in range(STALLS_MAX):
        try:
            async with asyncio.timeout(STALLED_S):
                return await _moved(reading, tail)
        except TimeoutError:
            wanted = reading.state.position + 1
        try:
            await jetstream.read(connection, LEDGER, wanted)
        except NoSuchPosition:
            raise HistoryLost(f"{LEDGER} lacks position {wanted}") from None
        except BusError:
            continue  # the server is away: nobody can tell
    raise HistoryLost(f"{LEDGER} lacks position {wanted}: the server does not deliver it")


async def _moved(reading: _Reading, tail: History) -> None:
    """Wait until something was applied. Raises what stopped the tail."""
    waiter: asyncio.Future[Any] = asyncio.ensure_future(reading.moved.wait())
    try:
        await asyncio.wait((waiter, tail.failure), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
    if tail.failure.done():
        tail.failure.result()


async def _state_within(
    connection: Connection, archive: Path | None, first: int, fold_most: int | None
) -> State | None:
    """A state from which at most `fold_most` positions lead to `first`; None: there is none, or none was wanted."""
    if fold_most == 0:
        return None
    state = await _state_before(connection, archive, first)
    return None if fold_most is not None and first - state.position > fold_most else state


async def _state_before(connection: Connection, archive: Path | None, first: int) -> State:
    """The latest state before `first` that is kept: of the snapshots, the base, the archive; else the empty one."""
    try:
        kept = [await snapshots.load(connection), await snapshots.load_base(connection)]
        if archive is not None:
            kept.append(await asyncio.to_thread(_archived_before, archive, first))
        before = [snapshot for snapshot in kept if snapshot is not None and snapshot.position < first]
        return State.from_snapshot(max(before, key=lambda each: each.position)) if before else State()
    except (BusError, ValueError):
        return State()


def _archived_before(archive: Path, first: int) -> Snapshot | None:
    """Raises ArchiveBroken."""
    content = Archive(archive).state_before(first - 1)
    return None if content is None else BooksState.FromString(content).snapshot
