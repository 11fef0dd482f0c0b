"""The analytics process: owns the embedded store, or writes to a server; sinks LEDGER and USAGE; answers questions.

With this process or its ClickHouse gone, calls are served as before; the tables catch up afterwards.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from prometheus_client import REGISTRY

from bus import snapshots
from bus.connection import Connection
from bus.errors import BusError
from bus.presence import Presence
from bus.streams import LEDGER, USAGE, provision
from projections.analytics.asks import UsageAsks
from projections.analytics.claims import Claim, Claims
from projections.analytics.endpoint import Endpoint
from projections.analytics.ledger_rows import LedgerRows
from projections.analytics.metrics import AnalyticsCollector
from projections.analytics.migrate import home_id, migrate, require_current
from projections.analytics.ranges import insert_range, insert_run, last_position, seen_reports
from projections.analytics.readers import Readers
from projections.analytics.reconciling import ReconcileCollector, ReconcileJob, ReconcileRun
from projections.analytics.rows import Range
from projections.analytics.sink import RETRY_MAX_S, RETRY_S, OnCut, RangeSize, StreamRows, StreamSink, resume_at
from projections.analytics.snapshots import SnapshotFolder, freeze
from projections.analytics.store import Store, StoreFailed, StoreInUse, dsn_of, limit
from projections.analytics.usage_rows import UsageRows
from runtime.errors import OperatorError
from runtime.log import log
from runtime.ops import Ops
from runtime.process import unless_stopped
from runtime.settings import Settings

NICENESS = 5
"""Analytics comes after calls: where processor time is short, edges and cores get it first."""

READER = "analytics"
"""Under which this process announces how far it is, see bus/snapshots.py."""

Result = TypeVar("Result")


class Analytics:
    """Both sinks on one store. Everything that writes to it runs in one thread."""

    def __init__(self, connection: Connection, settings: Settings, store: Store, thread: ThreadPoolExecutor) -> None:
        self.sinks: dict[str, StreamSink] = {}
        self._connection = connection
        self._settings = settings
        self._store = store
        self._thread = thread
        self._snapshots: SnapshotFolder | None = None
        self._snapshot_at = 0.0
        self._announcing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find where the tables end, and the fold at that place. Raises SinkBroken, StoreFailed, BusError."""
        home = await self._in_thread(home_id, self._store)
        self._snapshots = SnapshotFolder(self._settings.projections_dir / "analytics-sink", home)
        done, claims, again = await self._resume(home, LEDGER)
        state, attempts = self._snapshots.load(done)
        log.info("analytics.resumes", stream=LEDGER, tables=done, fold=state.position)
        ledger = LedgerRows(state, attempts, silent_until=done)
        self._snapshot_at = time.monotonic() + self._settings.snapshot_every_s
        self._announce(state.position)
        self._add(LEDGER, ledger, claims, again, done, self._on_ledger_cut)
        done, claims, again = await self._resume(home, USAGE)
        log.info("analytics.resumes", stream=USAGE, tables=done)
        usage = UsageRows(done, await self._in_thread(seen_reports, self._store, done))
        self._add(USAGE, usage, claims, again, done)

    async def run(self, stop: asyncio.Event) -> None:
        """Sink until `stop`, then send what is pending. Raises what makes going on wrong."""
        running = [asyncio.create_task(sink.run()) for sink in self.sinks.values()]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((*running, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for sink in self.sinks.values():
            sink.stop()
        for each in running:
            await each

    async def keep(self, run: ReconcileRun) -> None:
        """A row of `reconciliations`. Raises StoreFailed."""
        await self._in_thread(insert_run, self._store, run)

    async def _resume(self, home: str, stream: str) -> tuple[int, Claims, Claim | None]:
        claims = Claims(self._connection, home, stream)
        done = await self._in_thread(last_position, self._store, stream)
        return done, claims, resume_at(stream, await claims.read(), done)

    def _add(
        self,
        stream: str,
        rows: StreamRows,
        claims: Claims,
        again: Claim | None,
        done: int,
        on_cut: OnCut | None = None,
    ) -> None:
        async def insert(range_: Range) -> None:
            await self._in_thread(insert_range, self._store, stream, range_)

        size = RangeSize(self._settings.analytics_range_rows, self._settings.analytics_range_s)
        archive = self._settings.archive_dir
        sink = StreamSink(self._connection, stream, rows, claims, insert, again, size, on_cut, archive)
        sink.progress.last = done
        self.sinks[stream] = sink

    def _on_ledger_cut(self, range_: Range, rows: StreamRows) -> Callable[[], None] | None:
        """Now and then keep the fold as it is at a range's end, once that range is in the tables."""
        if time.monotonic() < self._snapshot_at or not isinstance(rows, LedgerRows) or self._snapshots is None:
            return None
        self._snapshot_at = time.monotonic() + self._settings.snapshot_every_s
        folder, frozen = self._snapshots, freeze(rows)

        def save() -> None:
            try:
                folder.save(range_.last, frozen)
            except OSError as error:
                log.warning("analytics.snapshot_unsaved", position=range_.last, error=type(error).__name__)
            else:
                self._announce(range_.last)

        return save

    def _announce(self, position: int) -> None:
        """Tell that the ledger up to there is not needed here any more; the trim waits for it."""

        async def announce() -> None:
            try:
                await snapshots.announce_reader(self._connection, READER, position)
            except BusError as error:
                log.warning("analytics.unannounced", position=position, error=type(error).__name__)

        self._announcing = asyncio.create_task(announce())

    async def _in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def facts_of(analytics: Analytics, job: ReconcileJob, not_ready: str | None) -> dict[str, Any]:
    """What operators are shown of this process."""
    sinks = {
        stream: {
            "position": sink.progress.last,
            "time_ms": sink.progress.last_time_ms,
            "failing": sink.progress.failing,
        }
        for stream, sink in analytics.sinks.items()
    }
    return {
        "not_ready": not_ready,
        "position": sinks[LEDGER]["position"],
        "streams": sinks,
        "reconciled": {"position": job.position, "differences": job.differences, "ok_ms": int(job.ok_at_s * 1000)},
    }


def open_store(settings: Settings) -> Store:
    """The configured store with its schema. An embedded one is brought up to date; a server's is its operator's.

    Raises StoreInUse, SchemaMissing, StoreFailed, OperatorError for a wrong DSN.
    """
    try:
        dsn = dsn_of(settings)
    except ValueError as error:
        raise OperatorError(f"ONYSOFT_ANALYTICS_DSN: {error}") from None
    store = Store.open(dsn)
    limit(store, settings)
    if dsn.embedded:
        migrate(store, settings)
    else:
        require_current(store)
    return store


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run analytics until `stop`. A store that is away is waited for; one that another process owns is an error."""
    os.nice(NICENESS)
    thread = ThreadPoolExecutor(1, "store")
    reason: str | None = "opening the store"
    ops = Ops(settings, "analytics", lambda: reason)
    port = await ops.start()
    connection = await unless_stopped(stop, Connection.open(settings, settings.process_name or "analytics"))
    await unless_stopped(stop, provision(connection, settings))
    store = await unless_stopped(stop, _opened(settings, thread))
    analytics = Analytics(connection, settings, store, thread)
    await unless_stopped(stop, analytics.start())
    REGISTRY.register(AnalyticsCollector(analytics.sinks))
    readers = await asyncio.get_running_loop().run_in_executor(thread, Readers.open, store, settings)
    ops.serve_more(Endpoint(readers).answer, settings.analytics_query_s)
    asks = UsageAsks(connection, readers, analytics.sinks[LEDGER])
    await asks.start()
    job = ReconcileJob(connection, settings, readers, analytics.sinks[LEDGER], analytics.keep)
    presence = Presence(connection, settings, "analytics", lambda: facts_of(analytics, job, reason))
    REGISTRY.register(ReconcileCollector(job))
    reconciling = asyncio.create_task(job.run()) if settings.reconcile_every_s else None
    reason = None
    log.info("analytics.ready", store=store.dsn.public, ops_port=port)
    await analytics.run(stop)
    await presence.stop()
    if reconciling is not None:
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)
    await ops.close()
    await readers.close()
    await connection.close()
    await asyncio.get_running_loop().run_in_executor(thread, store.close)


async def _opened(settings: Settings, thread: ThreadPoolExecutor) -> Store:
    """The store, once it can be opened. Raises StoreInUse, OperatorError."""
    wait_s = RETRY_S
    while True:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, open_store, settings)
        except StoreInUse:
            raise
        except StoreFailed as error:
            log.warning("analytics.store_away", error=str(error), retry_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)
