"""A ledger whose every kind of event is in the tables of a real embedded ClickHouse."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bus import jetstream
from core.ledger.windows import DAY_MS
from projections.analytics.main import Analytics
from projections.analytics.migrate import migrate
from projections.analytics.store import Store, parse_dsn
from projections.proof.books import Books
from projections.proof.reconcile import Reconciler, Report
from projections.proof.reconcile_rollups import compare_batches, compare_roll_ups
from projections.proof.statement import ISTANBUL
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.projections.conftest import ACCOUNT, KEY, NANO, Ledger

DEADLINE_S = 60.0
ONE = "request_id LIKE '%0f'"
"""The fifteenth of the thirty calls."""


class Tables:
    """A real sink into a real embedded ClickHouse."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger = ledger
        self.store = store

    async def fill(self) -> None:
        """Run the sink until both streams are in."""
        with ThreadPoolExecutor(1) as thread:
            analytics = Analytics(self.ledger.connection, self.ledger.settings, self.store, thread)
            await analytics.start()
            stop = asyncio.Event()
            running = asyncio.create_task(analytics.run(stop))
            ends = {}
            for stream in analytics.sinks:
                ends[stream] = int((await jetstream.stream_state(self.ledger.connection, stream))["last_seq"])
            async with asyncio.timeout(DEADLINE_S):
                while any(analytics.sinks[stream].rows.position < end for stream, end in ends.items()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            stop.set()
            await running

    async def ask(self, sql: str) -> Sequence[Sequence[Any]]:
        """As the CLI asks."""
        return await asyncio.to_thread(self.store.rows, sql)

    async def reconciled(self, books: Books | None = None, whole: bool = False, sums: bool = False) -> Report:
        """A comparison of the ledger; with `whole` of every column, with `sums` of reports and roll-ups too."""
        run = Reconciler(self.ledger.connection, None, books or Books(), self.ask, whole)
        await run.advance(await self.ledger.last())
        await run.compare_balances()
        if sums:
            await compare_batches(self.ask, run.report, 0)
            await compare_roll_ups(self.ask, run.report, {}, datetime.now(ISTANBUL).date())
        return run.report

    async def columns(self, table: str) -> dict[str, str]:
        """Name → type of a table's columns."""
        rows = await self.ask(f"DESCRIBE TABLE {table}")
        return {str(row[0]): str(row[1]) for row in rows}


@pytest.fixture
async def tables(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Tables]:
    """A ledger with calls, credits of every kind, a release, a loss and a task, all of it in the tables."""
    store = Store.open(parse_dsn(f"chdb://{tmp_path / 'store'}"))
    migrate(store, ledger.settings)
    await ledger.write(pb.Event(rules_activated=pb.RulesActivated(version=2)))
    await ledger.open_account()
    await ledger.calls(30)
    for end in ("released", "task"):
        opened = pb.RequestOpened(
            request_id=end.encode().ljust(12), attempt=1, account_id=ACCOUNT, key_id=KEY, model="m"
        )
        opened.hold_nano, opened.lease_ms = NANO, 60_000
        await ledger.write(pb.Event(request_opened=opened))
    released = pb.RequestReleased(request_id=b"released".ljust(12), attempt=1, reason=pb.PROVIDER_FAILED)
    task = pb.TaskSubmitted(request_id=b"task".ljust(12), attempt=1, provider="kieai", provider_task_id="t-1")
    task.lease_ms = DAY_MS
    lost = pb.RequestSettled(request_id=b"released".ljust(12), attempt=1, charge_nano=5, generation_id="gen-late")
    taken = pb.CreditReversed(account_id=ACCOUNT, amount_nano=1000 * NANO, reference="chargeback")
    more = pb.CreditAdded(account_id=ACCOUNT, amount_nano=2000 * NANO, reference="pay-2")
    await ledger.write(pb.Event(request_released=released), pb.Event(task_submitted=task))
    await ledger.write(pb.Event(request_settled=lost), pb.Event(credit_reversed=taken), pb.Event(credit_added=more))
    made = Tables(ledger, store)
    await made.fill()
    yield made
    store.close()
