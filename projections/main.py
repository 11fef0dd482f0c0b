"""The projections process: one fold of the log, and every read model that comes out of it.

Order within a flush: the directory first, then the store. A crash in between publishes the same records again.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from prometheus_client import REGISTRY

from bus import snapshots
from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_key
from bus.errors import BusError, HistoryLost
from bus.history import History
from bus.presence import Presence
from bus.streams import provision
from bus.tail import Entry
from bus.transport import Message
from bus.writer import LedgerWriter
from core.ledger.accounts import Key
from core.ledger.state import State
from projections import stories
from projections.fold import Fold
from projections.keys import key_record
from projections.metrics import ProjectionsCollector
from projections.models import VersionRow, prices_of
from projections.proof.statement import NoStatement
from projections.statements import Statements
from projections.store import AccountRow, IndexRow, Store, is_rebuilt
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import work_pb2
from proto.onysoft.v1.directory_pb2 import KeyRecord
from proto.onysoft.v1.snapshot_pb2 import Snapshot
from runtime.log import log
from runtime.ops import Ops
from runtime.process import unless_stopped
from runtime.settings import Settings

NICENESS = 5
"""Read models come after calls: where processor time is short, edges and cores get it first."""

READER = "projections"
"""Under which this process announces how far it is, see bus/snapshots.py."""

FLUSH_S = 0.25
ASKS_MAX = 256
VERSIONS_SHOWN = 200
FORGET_EVERY_S = 60.0
FORGET_ROWS = 10_000


Answering = Callable[[work_pb2.Ask], Awaitable[work_pb2.Answer]]


class Projections:
    """One fold, the store, the directory, snapshots and checkpoints."""

    def __init__(self, connection: Connection, settings: Settings, partitions: int) -> None:
        self.store = Store(settings.projections_dir)
        self._connection = connection
        self._settings = settings
        self._partitions = partitions
        self.writer = LedgerWriter(connection, partitions)
        kept = self.store.snapshot()
        state = State() if kept is None else State.from_snapshot(Snapshot.FromString(kept))
        self.fold = Fold(state)
        self.tail = History(connection, state.position, self._on_entry, settings.archive_dir)
        self._snapshot_position = state.position
        self._checkpointed = max(state.fingerprints, default=0)
        self._snapshot_at = 0.0
        self._checkpoint_at = 0.0
        self._forget_at = time.monotonic() + FORGET_EVERY_S
        self._unpublished: dict[bytes, int] = {}
        self._flushing = asyncio.Lock()
        self._asks: set[asyncio.Task[None]] = set()
        self.statements = Statements(settings)

    async def start(self) -> None:
        """Fold to the log's end, bring the directory up to date, take questions."""
        await self._begin()
        await self._catch_up()
        await self.writer.start()
        await self._mend_directory()
        await self.flush()
        await self._connection.subscribe_direct("ask.request", self._on_ask(self._story), "projections")
        await self._connection.subscribe_direct("ask.versions", self._on_ask(self._versions), "projections")
        await self._connection.subscribe_direct("ask.statement", self._on_ask(self._statement), "projections")

    async def _begin(self) -> None:
        """Read on from the store's position; where that is trimmed and not archived, from the newest snapshot."""
        try:
            await self.tail.start()
        except HistoryLost as lost:
            newest = await snapshots.load(self._connection)
            if newest is None or newest.position <= self.fold.state.position:
                raise
            log.warning("projections.index_incomplete", begins_at=newest.position + 1, reason=str(lost))
            self.fold.state = State.from_snapshot(newest)
            self.tail = History(self._connection, newest.position, self._on_entry, self._settings.archive_dir)
            await self.tail.start()

    async def _catch_up(self) -> None:
        """Fold to the log's end, writing on the way: a rebuild reads months, and its rows must not pile up."""
        catching_up = asyncio.create_task(self.tail.caught_up())
        while not catching_up.done():
            await asyncio.wait((catching_up,), timeout=FLUSH_S)
            self._write()
        catching_up.result()

    async def _mend_directory(self) -> None:
        """Publish what the directory lacks or has wrong, after a crash or where the stream was lost."""
        mirror = DirectoryMirror(self._connection)
        await mirror.start()
        await mirror.loaded()
        for key_hash, key in self.fold.state.keys_by_hash.items():
            known = mirror.keys.get(key_hash)
            if known is None or not known.tells(self._record(key, key_hash, known.position)):
                self._unpublished.setdefault(key.key_id, self.fold.state.position)
        self.fold.model_records.mend(self.fold.state, mirror)
        for model in self.fold.state.models.values():
            self.store.keep_prices(prices_of(model.set))
        await mirror.stop()

    async def run(self, stop: asyncio.Event) -> None:
        """Flush now and then until `stop`, or until a rebuilt store waits to take this one's place: the process ends,
        and whoever supervises it starts it again with the new one. Raises what stopped the fold."""
        while not stop.is_set():
            waiting = asyncio.ensure_future(stop.wait())
            await asyncio.wait((waiting, self.tail.failure), timeout=FLUSH_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if self.tail.failure.done():
                await self.tail.failure
            await self.flush()
            if is_rebuilt(self._settings.projections_dir):
                log.info("projections.rebuilt", position=self.fold.state.position)
                return

    async def close(self) -> None:
        """Write what is known, then stop."""
        await self.statements.close()
        await self.writer.close()
        await self.flush(snapshot=True)
        await self.tail.stop()
        self.store.close()

    def _on_entry(self, entry: Entry) -> None:
        batch, partition, outcomes = self.fold.apply(entry)
        if batch.writer == self.writer.writer_id:
            self.writer.applied(partition, batch.number, entry.position, self.fold.state.time_ms, outcomes)

    async def flush(self, snapshot: bool = False) -> None:
        """Directory, store, and where due a snapshot and a checkpoint."""
        async with self._flushing:
            await self._flush(snapshot)

    async def _flush(self, snapshot: bool) -> None:
        state = self.fold.state
        enough = state.position - self._snapshot_position >= self._settings.snapshot_every_positions
        due = enough and time.monotonic() >= self._snapshot_at
        body = state.to_snapshot() if due or (snapshot and state.position > self._snapshot_position) else None
        position = state.position
        index, accounts, versions, keys = self.fold.take()
        self._unpublished.update(keys)
        await self._publish_keys()
        await self.fold.model_records.publish(self._connection, state)
        self._write_rows(position, index, accounts, versions, body)
        if body is not None:
            self._snapshot_position = position
            self._snapshot_at = time.monotonic() + self._settings.snapshot_every_s
            await self._save(body)
        self._checkpoint()
        self._forget()

    def _write(self) -> None:
        """Rows alone, before this process has caught up; its keys are published later."""
        position = self.fold.state.position
        index, accounts, versions, keys = self.fold.take()
        self._unpublished.update(keys)
        self._write_rows(position, index, accounts, versions, None)

    def _write_rows(
        self,
        position: int,
        index: list[IndexRow],
        accounts: list[AccountRow],
        versions: list[VersionRow],
        body: Snapshot | None,
    ) -> None:
        if position > self.store.position() or body is not None:
            snapshot = None if body is None else body.SerializeToString()
            self.store.write(position, index, accounts, snapshot, versions)

    async def _publish_keys(self) -> None:
        """Publish what is waiting; what fails waits for the next flush."""
        for key_id, position in list(self._unpublished.items()):
            try:
                await self._publish_key(key_id, position)
            except BusError as error:
                log.warning("directory.unpublished", keys=len(self._unpublished), reason=type(error).__name__)
                return
            del self._unpublished[key_id]

    async def _publish_key(self, key_id: bytes, position: int) -> None:
        """Under the hash of each secret that counts, or may count."""
        key = self.fold.state.keys[key_id]
        for key_hash in (key.key_hash, key.old_hash):
            if key_hash:
                await publish_key(self._connection, key_hash, self._record(key, key_hash, position))

    def _record(self, key: Key, key_hash: bytes, position: int) -> KeyRecord:
        return key_record(self.fold.state, key, key_hash, position, self._partitions)

    async def _save(self, body: Snapshot) -> None:
        try:
            await snapshots.save(self._connection, body)
            await snapshots.announce_reader(self._connection, READER, body.position)
        except BusError as error:
            log.warning("snapshot.unsaved", position=body.position, reason=type(error).__name__)

    def _checkpoint(self) -> None:
        """State in the log what this fold was at the newest fingerprint, so that every replica compares."""
        newest = max(self.fold.state.fingerprints, default=0)
        now = time.monotonic()
        if newest <= self._checkpointed or now < self._checkpoint_at:
            return
        chain_hash, digest = self.fold.state.fingerprints[newest]
        checkpoint = pb.Checkpoint(position=newest, chain_hash=chain_hash, state_digest=digest)
        self.writer.append(0, pb.Event(checkpoint=checkpoint))
        self._checkpointed = newest
        self._checkpoint_at = now + self._settings.checkpoint_every_s

    def _forget(self) -> None:
        now = time.monotonic()
        if now < self._forget_at:
            return
        oldest_ms = time.time_ns() // 1_000_000 - self._settings.request_index_days * 86_400_000
        deleted = self.store.forget_requests_before(oldest_ms.to_bytes(6, "big"), FORGET_ROWS)
        self._forget_at = now + (FORGET_EVERY_S if deleted < FORGET_ROWS else FLUSH_S)

    def _on_ask(self, answer: Answering) -> Callable[[Message], None]:
        def on_message(message: Message) -> None:
            if len(self._asks) < ASKS_MAX:
                task = asyncio.create_task(self._reply(message, answer))
                self._asks.add(task)
                task.add_done_callback(self._asks.discard)

        return on_message

    async def _reply(self, message: Message, answering: Answering) -> None:
        ask = work_pb2.Ask.FromString(message.data)
        try:
            await self._reach(ask.min_position)
            answer = await answering(ask)
        except stories.Unknown:
            answer = work_pb2.Answer(code="not_found")
        except NoStatement as error:
            answer = work_pb2.Answer(code="invalid_request", json=str(error).encode())
        except BusError:
            answer = work_pb2.Answer(code="service_unavailable")
        answer.position = self.fold.state.position
        self._connection.send(message.reply, answer.SerializeToString())

    async def _story(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        archive = self._settings.archive_dir
        story = await stories.tell(
            self._connection, self.store, self.fold.state, ask.request_id, ask.account_id, archive
        )
        return _json(story | {"prices": stories.prices(self.store, story)} if ask.prices else story)

    async def _versions(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        versions = [
            {
                "position": position,
                "time_ms": time_ms,
                "price": version.price.decode(),
                "price_version": version.price_version.hex(),
                "unlisted": version.unlisted,
            }
            for position, time_ms, version in self.store.versions_of(ask.model, VERSIONS_SHOWN)
        ]
        return _json(versions)

    async def _statement(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        return work_pb2.Answer(statement=await self.statements.part(ask.account_id, ask.statement))

    async def _reach(self, position: int) -> None:
        """A caller that was just answered asks about that very call: wait until it is here, and written."""
        if self.fold.state.position < position or not position:
            await self.tail.caught_up()
        await self.flush()


def _json(body: Any) -> work_pb2.Answer:
    return work_pb2.Answer(json=orjson.dumps(body))


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the projections until `stop`; a log that cannot be folded ends the process, loudly."""
    os.nice(NICENESS)
    opening = Connection.open(settings, settings.process_name or "projections")
    connection = await unless_stopped(stop, opening)
    partitions = await unless_stopped(stop, provision(connection, settings))
    projections = Projections(connection, settings, partitions)
    started = False

    def ready() -> str | None:
        if not started:
            return "folding the log"
        return None if connection.connected else "no connection to NATS"

    def facts() -> dict[str, Any]:
        return {"not_ready": ready(), "position": projections.fold.state.position}

    ops = Ops(settings, "projections", ready)
    presence = Presence(connection, settings, "projections", facts)
    REGISTRY.register(ProjectionsCollector(projections.fold, projections.tail))
    port = await ops.start()
    await unless_stopped(stop, projections.start())
    started = True
    log.info("projections.ready", position=projections.fold.state.position, ops_port=port)
    await projections.run(stop)
    await presence.stop()
    await projections.close()
    await ops.close()
    await connection.close()
