"""Moving the ledger's closed ranges to files, and purging from the stream what nobody needs there any more.

Archived is what a checkpoint in the log confirms: the archiver folds the log itself, compares every checkpoint, and a
range becomes part of the archive only when a checkpoint at or behind its end equals this fold. Purged is what is
archived and read back from the disk, lies before the newest snapshot, and is past every durable reader.
"""

import asyncio
import time
from dataclasses import dataclass, field

from bus import jetstream, snapshots, streams
from bus.archive import Archive, Range, RangeFile
from bus.connection import Connection
from bus.errors import NoSuchPosition
from bus.jetstream import Entry
from bus.streams import LEDGER, last_position
from core.ledger.outcome import Code, FoldStopped, Outcome
from core.ledger.state import FINGERPRINT_EVERY, State
from projections.proof.books import Books
from projections.proof.reading import OnProgress, no_progress, read_through
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.proof_pb2 import BooksState

RANGE_POSITIONS_MAX = 65_536
RANGE_BYTES_MAX = 256 * 1024 * 1024
LOOK_BACK_WINDOW = 64
DAY_MS = 86_400_000


@dataclass(slots=True)
class _Closed:
    """A range that is written and waits for a checkpoint."""

    file: RangeFile
    state: bytes
    chain_before: bytes
    chain_hash: bytes
    digest: bytes


class Archiver:
    """Takes the log's messages in order, from the archive's end up to `target`, a multiple of FINGERPRINT_EVERY.

    Raises FoldStopped when the log contradicts itself or what is archived.
    """

    def __init__(self, archive: Archive, target: int) -> None:
        self.added: list[Range] = []
        self._archive = archive
        self._target = target
        kept = archive.state_before(archive.last) if archive.last else None
        self.books = Books() if kept is None else Books.from_bytes(kept)
        self.state = self.books.state
        if self.state.chain_hash != archive.chain_hash:
            raise FoldStopped(f"the archived state at {archive.last} has another chain hash than its manifest")
        self._chain_before = self.state.chain_hash
        self._file: RangeFile | None = None
        self._closed: list[_Closed] = []

    def on_entry(self, entry: Entry) -> list[Outcome]:
        """Fold and write one message; what its events did."""
        batch, outcomes, _ = self.books.apply(entry)
        if self._file is None:
            self._file = RangeFile(self._archive.folder, entry.position)
        self._file.append(entry)
        if entry.position % FINGERPRINT_EVERY == 0 and (self._is_full(self._file) or entry.position == self._target):
            self._close(self._file)
        for event, outcome in zip(batch.events, outcomes, strict=True):
            if outcome.code is Code.CHECKED:
                self._add_up_to(event.checkpoint.position)
        return outcomes

    def end_at(self, target: int) -> None:
        """Have the last range end there."""
        self._target = target

    def finish(self, checkpoint: pb.Checkpoint) -> None:
        """The log up to `target` is read; `checkpoint` is what the log says of this position."""
        mine = (self.state.position, self.state.chain_hash, self.state.digest())
        if mine != (checkpoint.position, checkpoint.chain_hash, checkpoint.state_digest):
            raise FoldStopped(f"the checkpoint of position {checkpoint.position} differs from this fold")
        self._add_up_to(checkpoint.position)

    def discard(self) -> None:
        """Throw away what no checkpoint has confirmed."""
        for file in [each.file for each in self._closed] + ([] if self._file is None else [self._file]):
            file.discard()
        self._closed.clear()
        self._file = None

    def _is_full(self, file: RangeFile) -> bool:
        return file.last - file.first + 1 >= RANGE_POSITIONS_MAX or file.payload_bytes >= RANGE_BYTES_MAX

    def _close(self, file: RangeFile) -> None:
        self.books.check()
        digest = self.state.digest()
        self._closed.append(_Closed(file, self.books.to_bytes(), self._chain_before, self.state.chain_hash, digest))
        self._chain_before = self.state.chain_hash
        self._file = None

    def _add_up_to(self, position: int) -> None:
        while self._closed and self._closed[0].file.last <= position:
            closed = self._closed.pop(0)
            added = self._archive.add(closed.file, closed.state, closed.chain_before, closed.chain_hash, closed.digest)
            self.added.append(added)


async def archive_ledger(
    connection: Connection, archive: Archive, on_progress: OnProgress = no_progress
) -> list[Range]:
    """Archive all that the log's newest checkpoint confirms; the ranges added, none when there is nothing new.

    Raises FoldStopped, HistoryLost, ArchiveBroken, BusError.
    """
    checkpoint = await newest_checkpoint(connection, archive.last)
    if checkpoint is None:
        return []
    archiver = Archiver(archive, checkpoint.position)
    try:
        await read_through(connection, None, archive.last, checkpoint.position, archiver.on_entry, on_progress)
        archiver.finish(checkpoint)
    finally:
        archiver.discard()
    return archiver.added


async def newest_checkpoint(connection: Connection, after: int) -> pb.Checkpoint | None:
    """The newest checkpoint in the log that is of a position behind `after`. Raises BusError."""
    position = await last_position(connection, LEDGER)
    while position > after:
        window = range(position, max(after, position - LOOK_BACK_WINDOW), -1)
        for payload in await asyncio.gather(*(_payload(connection, each) for each in window)):
            for event in pb.LedgerBatch.FromString(payload).events:
                if event.HasField("checkpoint") and event.checkpoint.position > after:
                    return event.checkpoint
        position = window[-1] - 1
    return None


async def _payload(connection: Connection, position: int) -> bytes:
    try:
        return (await jetstream.read(connection, LEDGER, position)).payload
    except NoSuchPosition:
        return b""  # trimmed, or lost: the fold will say


@dataclass(slots=True)
class Trim:
    """What was purged, or why nothing was. `bounds` are positions up to which each party allows it."""

    first_before: int
    purged_up_to: int
    bounds: dict[str, int] = field(default_factory=dict)

    @property
    def purged(self) -> int:
        """Positions that the stream no longer has."""
        return max(0, self.purged_up_to - self.first_before + 1)

    @property
    def held_back_by(self) -> str:
        """Who allows the least."""
        return min(self.bounds, key=lambda name: self.bounds[name]) if self.bounds else ""


async def trim_ledger(
    connection: Connection, archive: Archive, keep_days: float, on_progress: OnProgress = no_progress
) -> Trim:
    """Purge whole archived ranges older than `keep_days` that lie before every bound, and keep the state at their end
    as the base. Each is read back from the disk before.

    Raises ArchiveBroken, BusError, ValueError for an archived state that contradicts itself.
    """
    state = await jetstream.stream_state(connection, LEDGER)
    first = int(state["first_seq"]) or 1
    trimmed = Trim(first, first - 1, await bounds(connection, archive, keep_days))
    allowed = min(trimmed.bounds.values())
    ranges = [each for each in archive.ranges if first <= each.last <= allowed]
    if not ranges:
        return trimmed
    for number, each in enumerate(ranges):
        on_progress(number, len(ranges))
        await asyncio.to_thread(archive.check, each)
    last = ranges[-1]
    base = BooksState.FromString(archive.state_before(last.last) or b"").snapshot
    if State.from_snapshot(base).chain_hash.hex() != last.chain_hash:
        raise ValueError(f"{last.state_file} has another chain hash than its range")
    await snapshots.save_base(connection, base)
    await streams.trim(connection, last.last)
    trimmed.purged_up_to = last.last
    on_progress(len(ranges), len(ranges))
    return trimmed


async def bounds(connection: Connection, archive: Archive, keep_days: float) -> dict[str, int]:
    """Up to which position archive, age, snapshot and each durable reader allow a purge."""
    newest = await snapshots.load(connection)
    oldest_kept_ms = time.time_ns() // 1_000_000 - int(keep_days * DAY_MS)
    aged = [each.last for each in archive.ranges if each.last_time_ms < oldest_kept_ms or not keep_days]
    found = {
        "archive": archive.last,
        f"the newest {keep_days:g} days": max(aged, default=0),
        "snapshot": 0 if newest is None else newest.position,
        "reader projections": 0,
    }
    for reader, position in (await snapshots.readers(connection)).items():
        found[f"reader {reader}"] = position
    return found
