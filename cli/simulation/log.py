"""A ledger with times of its own choosing: an archive, written message by message through the real fold.

JetStream stamps messages itself, so a past month cannot be published into it. It can be archived: the instance then
looks like one whose log was trimmed at the end of that month.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from bus import jetstream, snapshots
from bus.archive import Archive
from bus.connection import Connection
from bus.jetstream import Entry
from bus.streams import ledger_subject, provision
from core.ledger.outcome import Outcome
from core.ledger.state import FINGERPRINT_EVERY, State
from projections.proof.archiving import Archiver
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings

_NO_TARGET = 2**63


class LogBuilder:
    """Appends batches at given times, with the checkpoints that projections would write."""

    def __init__(self, folder: Path, partitions: int, seed: int) -> None:
        self.archive = Archive(folder)
        self.partitions = partitions
        self._archiver = Archiver(self.archive, _NO_TARGET)
        self._random = random.Random(seed)
        self._writer = self._random.randbytes(8)
        self._numbers = [0] * partitions
        self._due: pb.Event | None = None

    @property
    def state(self) -> State:
        """The fold after the last batch."""
        return self._archiver.state

    def append(self, time_ms: int, partition: int, events: Sequence[pb.Event]) -> list[Outcome]:
        """One batch, stamped with `time_ms`; what its events did."""
        outcomes = self._write(time_ms, partition, events)
        if self.state.position % FINGERPRINT_EVERY == 0:
            self._write(time_ms, 0, [self._checkpoint()])
        return outcomes

    def finish(self, time_ms: int) -> pb.Event:
        """End the log at a position that a checkpoint can name; this checkpoint, which the live log begins with."""
        self._archiver.end_at(-(-(self.state.position + 1) // FINGERPRINT_EVERY) * FINGERPRINT_EVERY)
        while self.state.position % FINGERPRINT_EVERY:
            self._write(time_ms, 0, [])
        checkpoint = self._checkpoint()
        self._archiver.finish(checkpoint.checkpoint)
        return checkpoint

    def _checkpoint(self) -> pb.Event:
        position = max(self.state.fingerprints)
        chain_hash, digest = self.state.fingerprints[position]
        return pb.Event(checkpoint=pb.Checkpoint(position=position, chain_hash=chain_hash, state_digest=digest))

    def _write(self, time_ms: int, partition: int, events: Sequence[pb.Event]) -> list[Outcome]:
        self._numbers[partition] += 1
        batch = pb.LedgerBatch(writer=self._writer, number=self._numbers[partition], events=events)
        payload = batch.SerializeToString()
        entry = Entry(self.state.position + 1, time_ms, ledger_subject(partition), payload)
        return self._archiver.on_entry(entry)

    async def publish(self, connection: Connection, settings: Settings, checkpoint: pb.Event) -> None:
        """Make the streams of an instance that goes on after this log. Raises ApiRefused and the like."""
        position = self.state.position
        await provision(connection, settings, position + 1)
        snapshot = self.state.to_snapshot()
        await snapshots.save_base(connection, snapshot)
        await snapshots.save(connection, snapshot)
        batch = pb.LedgerBatch(writer=self._random.randbytes(8), number=1, events=[checkpoint])
        await jetstream.append(connection, ledger_subject(0), batch.SerializeToString(), f"simulated:{position}")
