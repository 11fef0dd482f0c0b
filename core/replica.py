"""A core's own copy of the ledger's state: it folds the log, and gives each event it appends the fold's outcome.

There is no other source of a verdict. Any number of replicas fold one log; none of them leads.
"""

import asyncio
from collections.abc import Callable

import google_crc32c

from bus import snapshots
from bus.connection import Connection
from bus.errors import BusError
from bus.streams import LEDGER, last_position
from bus.tail import Entry, Tail
from bus.writer import Applied, LedgerWriter
from core.ledger.fold import apply_batch
from core.ledger.outcome import Outcome
from core.ledger.state import State
from core.ledger.versions import HANDLERS, NEWEST
from proto.onysoft.v1.ledger_pb2 import Event, LedgerBatch, RulesActivated
from runtime.log import log

SUBJECT_PREFIX = len("ledger.")


class RulesTooOld(BusError):
    """The rules in force do not know this event; the newest ones must be activated first."""


class Replica:
    """The state after the last position seen, and the writer whose batches it confirms.

    `on_superseded(request_id, attempt)` is called when another core has taken over an attempt.
    """

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.partitions = partitions
        self.state = State()
        self.writer = LedgerWriter(connection, partitions)
        self.on_superseded: Callable[[bytes, int], None] | None = None
        self._connection = connection
        self._tail: Tail | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._freshening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Restore the newest snapshot and fold the log to its end.

        Raises FoldStopped, HistoryLost and the like when the log cannot be folded.
        """
        snapshot = await snapshots.load(self._connection)
        if snapshot is not None:
            self.state = State.from_snapshot(snapshot)
        self._tail = Tail(self._connection, LEDGER, self.state.position, self._on_entry)
        await self._tail.start()
        await self._tail.caught_up()
        await self.writer.start()
        log.info("replica.ready", position=self.state.position, accounts=len(self.state.accounts))

    async def failed(self) -> None:
        """Return never, but raise what stopped the fold."""
        assert self._tail is not None
        await self._tail.failure

    async def close(self) -> None:
        """Send what is queued, then stop."""
        await self.writer.close()
        if self._tail is not None:
            await self._tail.stop()

    def partition_of(self, root_id: bytes) -> int:
        """The partition of a billing root."""
        return int(google_crc32c.value(root_id)) % self.partitions

    def append(self, root_id: bytes, event: Event) -> asyncio.Future[Applied]:
        """Append an event to its billing root's partition; the result is what the fold made of it.

        Raises Overloaded when too much is queued, RulesTooOld for an event that the ledger's rules do not know yet.
        """
        if self.state.rules_version < NEWEST:
            self._require_known(event)
        return self.writer.append(int(google_crc32c.value(root_id)) % self.partitions, event)

    def _require_known(self, event: Event) -> None:
        """An event that the rules in force do not know would stop every replica."""
        version, kind = self.state.rules_version, event.WhichOneof("event") or ""
        if kind not in HANDLERS[version]:
            raise RulesTooOld(f"rules version {version} is in force, and does not know {kind}: activate {NEWEST}")

    async def activate_rules(self, allowed: bool) -> None:
        """Put the newest rules in force: on a new ledger, and where it is `allowed` on one that has older ones."""
        if self.state.rules_version >= NEWEST:
            return
        if self.state.accounts and not allowed:
            log.warning("rules.older", in_force=self.state.rules_version, newest=NEWEST)
            return
        activated = Event(rules_activated=RulesActivated(version=NEWEST))
        await self.writer.append(0, activated)
        log.info("rules.activated", version=NEWEST)

    async def reached(self, position: int) -> None:
        """Wait until the state includes `position`."""
        if self.state.position < position:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((position, future))
            await future

    async def fresh(self) -> None:
        """Wait until the state includes all that was in the log when this was called.

        A refusal that this replica alone gives needs it: a top-up acknowledged by another core must count. Calls
        that come while one read of the log's end is under way share the next one.
        """
        running = self._freshening
        if running is not None and not running.done():
            await asyncio.shield(running)
        if self._freshening is running or self._freshening is None:
            self._freshening = asyncio.create_task(self._freshen())
        await asyncio.shield(self._freshening)

    async def _freshen(self) -> None:
        try:
            last = await last_position(self._connection, LEDGER)
        except (BusError, TimeoutError):
            return  # the log is out of reach: what is known stands
        await self.reached(last)

    def _on_entry(self, entry: Entry) -> None:
        batch = LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject[SUBJECT_PREFIX:])
        outcomes = apply_batch(self.state, batch, partition, entry.position, entry.time_ms, entry.payload)
        if batch.writer == self.writer.writer_id:
            self.writer.applied(partition, batch.number, entry.position, self.state.time_ms, outcomes)
        for index, outcome in enumerate(outcomes):
            if outcome.superseded:
                self._report_superseded(batch, index, outcome)
        if self._waiting:
            self._wake()

    def _report_superseded(self, batch: LedgerBatch, index: int, outcome: Outcome) -> None:
        if self.on_superseded is not None:
            self.on_superseded(batch.events[index].request_opened.request_id, outcome.superseded)

    def _wake(self) -> None:
        still = []
        for position, future in self._waiting:
            if position > self.state.position:
                still.append((position, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still
