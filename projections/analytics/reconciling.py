"""The reconciliation that runs by itself: what came since the last time, row by row, and every account's balance.

A row that is older than this process and that somebody changes without touching a balance is found by `onysoft
reconcile`, which reads everything.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.connection import Connection
from bus.errors import BusError
from core.ledger.outcome import FoldStopped
from core.ledger.state import State
from projections.analytics.ledger_rows import LedgerRows
from projections.analytics.readers import Busy, Readers
from projections.analytics.sink import StreamSink
from projections.analytics.store import StoreFailed
from projections.proof.books import Books
from projections.proof.reconcile import Reconciler, Report, StoreAway
from runtime.log import log
from runtime.settings import Settings

LOGGED_MAX = 20


@dataclass(frozen=True, slots=True)
class ReconcileRun:
    """One comparison, as table `reconciliations` keeps it."""

    time_ms: int
    first_position: int
    last_position: int
    seconds: float
    accounts: int
    differences: int
    found: tuple[str, ...]
    problem: str = ""


Keep = Callable[[ReconcileRun], Awaitable[None]]
"""Keeps a run in the tables. Raises StoreFailed."""


class ReconcileJob:
    """Compares again every `reconcile_every_s`, beside the sink. Its folds are its own."""

    def __init__(
        self, connection: Connection, settings: Settings, readers: Readers, ledger: StreamSink, keep: Keep | None = None
    ) -> None:
        self.differences = 0
        self.position = 0
        self.ran_at_s = 0.0
        self.ok_at_s = 0.0
        self._connection = connection
        self._settings = settings
        self._readers = readers
        self._ledger = ledger
        self._keep = keep
        self._run: Reconciler | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._settings.reconcile_every_s)
            try:
                await self.once()
            except StoreAway as error:
                log.warning("reconcile.store_away", error=str(error)[:200])
            except (BusError, FoldStopped) as error:
                self.differences += 1
                log.error("reconcile.unreadable", position=self.position, error=str(error)[:200])
                self._run = None
                await self._note(
                    ReconcileRun(_now_ms(), 0, self.position, 0, 0, self.differences, (), str(error)[:200])
                )

    async def _note(self, run: ReconcileRun) -> None:
        """Keep it; a run that cannot be kept has been compared all the same."""
        if self._keep is None:
            return
        try:
            await self._keep(run)
        except StoreFailed as error:
            log.warning("reconcile.not_kept", error=str(error)[:200])

    async def once(self) -> None:
        """Compare what came since the last time. Raises StoreAway, FoldStopped, BusError."""
        began, first = time.monotonic(), self.position + 1 if self.ran_at_s else 0
        run = self._run = self._run or self._begin()
        first = first or run.position + 1
        last = self._ledger.progress.last
        seen = run.report.count
        if last > run.position:
            await run.advance(last)
        balances = Report()
        if last == run.position:
            await run.compare_balances(balances)
        self.position = run.position
        self.differences = run.report.count + balances.count
        self.ran_at_s = time.time()
        if not self.differences:
            self.ok_at_s = self.ran_at_s
        fresh = run.report.differences[seen : seen + LOGGED_MAX] + balances.differences[:LOGGED_MAX]
        for each in fresh:
            log.error("reconcile.differs", position=each.position, table=each.table, what=each.text)
        run.report.differences.clear()
        log.info("reconcile.done", position=self.position, differences=self.differences)
        await self._note(
            ReconcileRun(
                time_ms=_now_ms(),
                first_position=first if first <= self.position else 0,
                last_position=self.position,
                seconds=time.monotonic() - began,
                accounts=balances.totals["accounts"],
                differences=self.differences,
                found=tuple(f"position {each.position or '-'}, {each.table}: {each.text}" for each in fresh),
            )
        )

    def _begin(self) -> Reconciler:
        """From the sink's fold on: what the tables held before is left to `onysoft reconcile`."""
        rows = self._ledger.rows
        assert isinstance(rows, LedgerRows), "the ledger's sink folds the ledger"
        books = Books.following(State.from_snapshot(rows.state.to_snapshot()))
        return Reconciler(self._connection, self._settings.archive_dir, books, self._ask)

    async def _ask(self, sql: str) -> Sequence[Sequence[Any]]:
        try:
            return await self._readers.rows(sql, {})
        except (StoreFailed, Busy) as error:
            raise StoreAway(str(error)) from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ReconcileCollector(Collector):
    """What the last comparison found."""

    def __init__(self, job: ReconcileJob) -> None:
        self._job = job

    def collect(self) -> Iterator[Metric]:
        """All figures of the job."""
        job = self._job
        yield GaugeMetricFamily(
            "onysoft_reconcile_differences",
            "Differences between ledger and analytics; must be 0",
            value=job.differences,
        )
        yield GaugeMetricFamily("onysoft_reconcile_position", "Ledger position compared", value=job.position)
        yield GaugeMetricFamily(
            "onysoft_reconcile_last_run_seconds", "Unix time of the last comparison; 0: none yet", value=job.ran_at_s
        )
        yield GaugeMetricFamily(
            "onysoft_reconcile_last_ok_seconds", "Unix time of the last one without a difference", value=job.ok_at_s
        )
