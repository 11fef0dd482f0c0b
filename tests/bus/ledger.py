"""Events, and a tail that stands for a core's fold: it counts what was applied, once for each batch number."""

import hashlib
import os

from bus.connection import Connection
from bus.streams import LEDGER
from bus.tail import Entry, Tail
from bus.writer import LedgerWriter
from proto.onysoft.v1.ledger_pb2 import CreditAdded, Event, LedgerBatch


def event(name: str, size_bytes: int = 0) -> Event:
    """An event that can be told from all others by `name`."""
    return Event(credit_added=CreditAdded(account_id=os.urandom(12), amount_nano=1, reference=name + "." * size_bytes))


class Follower:
    """Tails the ledger as a core does: ignores repeated batch numbers, hands outcomes to its writer.

    `names` are the events applied, in the log's order; `digest` runs over all bytes, as the chain hash does.
    """

    def __init__(self, connection: Connection, writer: LedgerWriter | None = None, after: int = 0) -> None:
        self.names: list[str] = []
        self.times: list[int] = []
        self.repeated = 0
        self.digest = b""
        self.writer = writer
        self._applied: dict[tuple[bytes, int], int] = {}
        self.tail = Tail(connection, LEDGER, after, self._on_entry)

    def _on_entry(self, entry: Entry) -> None:
        self.digest = hashlib.sha256(self.digest + entry.payload).digest()
        self.times.append(entry.time_ms)
        batch = LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject.removeprefix("ledger."))
        key = (batch.writer, partition)
        if batch.number <= self._applied.get(key, 0):
            self.repeated += 1
            outcomes: list[str] = []
        else:
            assert batch.number == self._applied.get(key, 0) + 1, "a batch number was left out"
            self._applied[key] = batch.number
            outcomes = [each.credit_added.reference for each in batch.events]
            self.names += outcomes
        if self.writer is not None and batch.writer == self.writer.writer_id:
            self.writer.applied(partition, batch.number, entry.position, entry.time_ms, outcomes)
