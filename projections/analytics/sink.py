"""One stream into the store, each range of positions exactly once.

    read and fold  →  cut a range  →  claim it in JetStream  →  insert it  →  note it in sink_ranges  →  the next

A range is chosen once and never changes: after any death the same messages give the same rows, and they are sent under
the same token, so that what is in the tables already is not inserted again. While one range is sent the next one is
folded; when that one is full too, reading stops until the store has caught up. So memory is bounded, and a store that
is away stops nothing but this.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bus import jetstream
from bus.connection import Connection
from bus.errors import BusError, HistoryLost
from bus.history import History
from bus.streams import LEDGER, USAGE
from bus.tail import Entry, Tail
from projections.analytics.claims import Claim, Claims
from projections.analytics.rows import Range
from projections.analytics.store import StoreFailed
from runtime.log import log

RANGE_MESSAGES_MAX = 50_000
IDLE_S = 1.0

OnCut = Callable[[Range, "StreamRows"], Callable[[], None] | None]

RETRY_S = 0.5  # doubled for each failure, up to RETRY_MAX_S
RETRY_MAX_S = 10.0


class StreamRows(Protocol):
    """What turns a stream's messages into rows: LedgerRows, UsageRows."""

    @property
    def position(self) -> int:
        """Last position applied."""

    @property
    def pending(self) -> int:
        """Messages that no range has taken."""

    @property
    def pending_rows(self) -> int:
        """Their rows."""

    def apply(self, entry: Entry) -> None:
        """Take one message."""

    def take(self) -> Range:
        """The range of what is pending."""

    def skip(self, position: int, first: int) -> None:
        """Go on after `position`, which is lost; the next range begins with `first`."""


class GaveUp(Exception):
    """The sink was told to stop while the store was away. What was claimed is sent after the next start."""


class SinkBroken(Exception):
    """The tables and the claims contradict each other; the store must be rebuilt from the log."""


@dataclass(frozen=True, slots=True)
class RangeSize:
    """A range is cut at so many rows, or so many seconds after its first message. One insert a second keeps
    ClickHouse's parts few, and the tables two seconds behind."""

    rows: int = 50_000
    seconds: float = 1.0


@dataclass(slots=True)
class Progress:
    """Where a stream's sink stands, for metrics and `ask.usage`."""

    last: int = 0  # every row up to this position is in the tables
    last_time_ms: int = 0
    rows: int = 0
    ranges: int = 0
    retries: int = 0
    failing: str = ""  # what the store said last, while it fails


def resume_at(stream: str, claim: Claim | None, done: int) -> Claim | None:
    """What must be sent again before anything else: a claimed range that sink_ranges does not have.

    Raises SinkBroken when claim and tables contradict each other.
    """
    if claim is None:
        if done:
            raise SinkBroken(f"{stream}: the tables hold positions up to {done}, but nothing was ever claimed for them")
        return None
    if claim.last == done:
        return None
    if claim.first == done + 1:
        return claim
    raise SinkBroken(f"{stream}: the tables hold positions up to {done}, the claim is {claim.first} to {claim.last}")


class StreamSink:
    """Reads a stream after `rows.position`, and sends it on. `again` is sent first, exactly as it was claimed.

    `archive` has what was trimmed of the ledger. `insert` puts a range into the store. `on_cut` is called with each
    range as it is cut, while `rows` is exactly at its end, and returns what is to be called once it is in the tables.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        rows: StreamRows,
        claims: Claims,
        insert: Callable[[Range], Awaitable[None]],
        again: Claim | None,
        size: RangeSize,
        on_cut: OnCut | None = None,
        archive: Path | None = None,
    ) -> None:
        self.stream = stream
        self.rows = rows
        self.progress = Progress()
        self._connection = connection
        self._claims = claims
        self._insert = insert
        self._again = again
        self._size = size
        self._on_cut = on_cut
        self._archive = archive
        self._tail: Tail | History | None = None
        self._reading = False
        self._cut_at = 0.0
        self._moved = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Sink until cancelled or told to stop.

        Raises what makes going on wrong: FoldStopped, HistoryLost, ClaimLost, SinkBroken.
        """
        try:
            while True:
                await self._read_until_due()
                if not self.rows.pending:
                    return
                await self._send(self.rows.take())
        except GaveUp:
            return
        finally:
            await self._stop_reading()

    def stop(self) -> None:
        """Send what is pending, then return from `run`."""
        self._stopping = True
        self._moved.set()

    # Reading

    async def _read_until_due(self) -> None:
        """Return when a range may be cut, or at the end with nothing more to send."""
        while not self._is_due() and not self._stopping:
            try:
                await self._resume_reading()
                await self._news()
            except HistoryLost:
                await self._skip_lost()

    async def _news(self) -> None:
        """Wait until something may be due. Raises what stopped the tail."""
        self._moved.clear()
        assert self._tail is not None, "reading was resumed"
        waiting = asyncio.ensure_future(self._moved.wait())
        await asyncio.wait((waiting, self._tail.failure), timeout=self._wait_s(), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._tail.failure.done():
            self._tail.failure.result()

    async def _skip_lost(self) -> None:
        """Edges' reports are kept for a week: what a longer outage has lost is passed over. The ledger never is.

        Raises HistoryLost.
        """
        await self._stop_reading()
        if self.rows.pending and self._again is None:
            self._cut_at = 0.0
            return
        state = await jetstream.stream_state(self._connection, self.stream)
        before = int(state["first_seq"]) - 1
        if self.stream != USAGE or before <= self.rows.position:
            raise HistoryLost(f"{self.stream} has lost what comes after {self.rows.position}; rebuild the store")
        log.error("analytics.reports_lost", first=self.rows.position + 1, last=before)
        if self._again is None:
            self.rows.skip(before, before + 1)
        else:
            self.rows.skip(min(before, self._again.last), self._again.first)

    def _is_due(self) -> bool:
        if self._again is not None:
            return self.rows.pending > 0 and self.rows.position >= self._again.last
        if self._is_full():
            return True
        return self.rows.pending > 0 and (self._stopping or time.monotonic() >= self._cut_at)

    def _wait_s(self) -> float:
        if self.rows.pending and self._again is None:
            return max(0.01, self._cut_at - time.monotonic())
        return IDLE_S

    def _is_full(self) -> bool:
        return self.rows.pending_rows >= self._size.rows or self.rows.pending >= RANGE_MESSAGES_MAX

    def _on_entry(self, entry: Entry) -> None:
        """Messages that come after reading was to stop are read again later."""
        if not self._reading:
            return
        first = not self.rows.pending
        self.rows.apply(entry)
        if first and self.rows.pending:
            self._cut_at = time.monotonic() + self._size.seconds
            self._moved.set()
        if self._is_full() if self._again is None else entry.position >= self._again.last:
            self._reading = False
            self._moved.set()

    async def _resume_reading(self) -> None:
        if self._reading:
            return
        await self._stop_reading()
        self._reading = True
        after = self.rows.position
        if self.stream == LEDGER:
            self._tail = History(self._connection, after, self._on_entry, self._archive)
        else:
            self._tail = Tail(self._connection, self.stream, after, self._on_entry)
        await self._tail.start()

    async def _stop_reading(self) -> None:
        self._reading = False
        if self._tail is not None:
            tail, self._tail = self._tail, None
            await tail.stop()

    # Sending

    async def _send(self, range_: Range) -> None:
        """Claim and insert a range, until it is in. Meanwhile the next one is read."""
        then = None if self._on_cut is None else self._on_cut(range_, self.rows)
        claim = Claim(range_.first, range_.last)
        if self._again is None:
            await self._persist(lambda: self._claims.make(claim), "claim")
        elif claim != self._again:
            raise SinkBroken(f"{self.stream}: {claim.first} to {claim.last} was read, {self._again} is claimed")
        self._again = None
        await self._resume_reading()
        await self._persist(lambda: self._insert(range_), "insert")
        progress = self.progress
        progress.last, progress.last_time_ms = range_.last, range_.last_time_ms
        progress.rows += range_.rows.count
        progress.ranges += 1
        if then is not None:
            then()

    async def _persist(self, action: Callable[[], Awaitable[object]], what: str) -> None:
        """Do it, again and again until it works. Raises GaveUp when told to stop meanwhile."""
        wait_s = RETRY_S
        while True:
            try:
                await action()
                break
            except (StoreFailed, BusError) as error:
                self.progress.retries += 1
                self.progress.failing = str(error)
                log.warning("analytics.retry", stream=self.stream, what=what, error=str(error)[:200])
            if self._stopping:
                raise GaveUp
            self._moved.clear()
            try:
                async with asyncio.timeout(wait_s):
                    while not self._stopping:
                        await self._moved.wait()
                        self._moved.clear()
            except TimeoutError:
                pass
            wait_s = min(wait_s * 2, RETRY_MAX_S)
        self.progress.failing = ""
