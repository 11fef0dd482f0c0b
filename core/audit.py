"""Reads the ledger anew for an operator: what its events did, and whether the whole of it is sound.

Each reading folds into a State of its own, so what it reports does not rest on what this core believes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from bus import snapshots
from bus.connection import Connection
from bus.errors import BusError, HistoryLost
from bus.streams import LEDGER, last_position
from bus.tail import Entry, Tail
from core.ledger.fold import apply_batch
from core.ledger.outcome import Code, FoldStopped
from core.ledger.state import State
from proto.onysoft.v1 import admin_pb2
from proto.onysoft.v1.ledger_pb2 import LedgerBatch

UNREAD_ENTRIES_MAX = 100_000
"""Entries that wait for a slow reader; with one more the reading ends."""

PROGRESS_EVERY_S = 0.25
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


async def newest_entries(connection: Connection, count: int) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """The last `count` events that are in the log now. Raises FoldStopped, BusError."""
    last = await last_position(connection, LEDGER)
    async for entry in _entries(connection, max(1, last - count + 1), last, newest=count):
        yield entry


async def entries_from(connection: Connection, first: int, count: int) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """At most `count` events from position `first` on that are in the log now. Raises FoldStopped, BusError."""
    last = await last_position(connection, LEDGER)
    left = count
    async for entry in _entries(connection, first, last):
        yield entry
        left -= 1
        if not left:
            return


async def follow(connection: Connection, first: int) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """Events from position `first` on, without end; 0: only what comes from now on.

    Raises FoldStopped, BusError, ReaderTooSlow.
    """
    start = first or await last_position(connection, LEDGER) + 1
    async for entry in _entries(connection, start, _NO_END):
        yield entry


async def _entries(
    connection: Connection, first: int, last: int, newest: int | None = None
) -> AsyncIterator[admin_pb2.LedgerEntry]:
    """Events of the positions `first` to `last`; with `newest`, so many of them at most."""
    if first > last:
        return
    reading = _Reading(await _state_before(connection, first), first, last, newest)
    tail = Tail(connection, LEDGER, reading.state.position, reading.on_entry)
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


async def verify(connection: Connection) -> AsyncIterator[admin_pb2.VerifyProgress]:
    """Folds the log from its first position; the last message says whether it is sound.

    Sound means: no position missing, every event understood, every checkpoint equal to this fold.
    """
    last = await last_position(connection, LEDGER)
    reading = _Reading(State(), _NO_END, _NO_END)
    tail = Tail(connection, LEDGER, 0, reading.on_entry)
    problem = ""
    try:
        await tail.start()
        while reading.state.position < last:
            reading.moved.clear()
            yield _progress(reading, last)
            await _moved(reading, tail)
            await asyncio.sleep(PROGRESS_EVERY_S if reading.state.position < last else 0)
            if tail.failure.done():
                tail.failure.result()
    except (FoldStopped, HistoryLost) as error:
        problem = f"after position {reading.state.position}: {error}"
    finally:
        await tail.stop()
    final = _progress(reading, last)
    final.done, final.ok, final.problem = True, not problem, problem
    if not problem:
        final.chain_hash, final.state_digest = reading.state.chain_hash, reading.state.digest()
    yield final


def _progress(reading: _Reading, last: int) -> admin_pb2.VerifyProgress:
    return admin_pb2.VerifyProgress(
        position=reading.state.position,
        last_position=max(last, reading.state.position),
        events=reading.events,
        checkpoints=reading.checkpoints,
    )


async def _moved(reading: _Reading, tail: Tail) -> None:
    """Wait until something was applied. Raises what stopped the tail."""
    waiter: asyncio.Future[Any] = asyncio.ensure_future(reading.moved.wait())
    try:
        await asyncio.wait((waiter, tail.failure), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
    if tail.failure.done():
        tail.failure.result()


async def _state_before(connection: Connection, first: int) -> State:
    """A state at some position before `first`: the newest snapshot where it lies before it, else the empty one."""
    try:
        snapshot = await snapshots.load(connection)
        if snapshot is not None and snapshot.position < first:
            return State.from_snapshot(snapshot)
    except (BusError, ValueError):
        return State()
    return State()
