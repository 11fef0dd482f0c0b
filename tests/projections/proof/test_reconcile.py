"""Reconciliation: whatever is lost, changed or invented in the tables or the log must be found and named."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from bus import jetstream
from bus.streams import LEDGER
from core.ledger.windows import DAY_MS
from projections.analytics.main import Analytics
from projections.analytics.readers import Readers
from projections.analytics.reconciling import ReconcileCollector, ReconcileJob
from projections.proof.books import Books
from projections.proof.reconcile import Reconciler, Report
from projections.proof.reconcile_provider import ProviderBook
from projections.proof.reconcile_usage import compare_usage
from proto.onysoft.v1.usage_pb2 import UsageBatch, UsageEvent
from tests.projections.conftest import ACCOUNT, KEY
from tests.projections.proof.conftest import DEADLINE_S, ONE, Tables


async def test_equal_sets_have_no_difference(tables: Tables) -> None:
    report = await tables.reconciled()
    assert report.differences == []
    totals = report.totals
    assert {name: totals[name] for name in ("charges", "credits", "tasks", "releases", "losses", "accounts")} == {
        "charges": 30,
        "credits": 3,
        "tasks": 1,
        "releases": 1,
        "losses": 1,
        "accounts": 1,
    }


@pytest.mark.parametrize(
    ("damage", "where", "told", "money"),
    [
        (f"ALTER TABLE charges DELETE WHERE {ONE}", "charges", "is missing", True),
        (f"ALTER TABLE charges UPDATE charge_nano = charge_nano + 1 WHERE {ONE}", "charges", "charge_nano", True),
        (f"ALTER TABLE charges UPDATE model = 'other' WHERE {ONE}", "charges", "model is 'other'", False),
        (f"INSERT INTO charges SELECT * FROM charges WHERE {ONE}", "charges", "is there twice", True),
        ("ALTER TABLE credits DELETE WHERE kind = 'reversed'", "credits", "chargeback", True),
        (
            "INSERT INTO credits SELECT * REPLACE (3 AS stream_seq) FROM credits WHERE kind = 'reversed'",
            "credits",
            "is not in the ledger",
            True,
        ),
        ("ALTER TABLE tasks DELETE WHERE 1", "tasks", "is missing", False),
        ("ALTER TABLE releases UPDATE reason = 'x' WHERE 1", "releases", "reason is 'x'", False),
        ("ALTER TABLE losses DELETE WHERE 1", "losses", "is missing", False),
    ],
)
async def test_a_row_deleted_changed_or_invented_by_hand_is_named(
    tables: Tables, damage: str, where: str, told: str, money: bool
) -> None:
    tables.store.command(damage, {"mutations_sync": "1"})
    report = await tables.reconciled()
    found = [each for each in report.differences if each.table == where]
    assert any(told in each.text for each in found), report.differences
    assert found[0].position > 0
    assert any(each.table == "balances" for each in report.differences) is money


async def test_it_goes_on_where_it_was(tables: Tables) -> None:
    run = Reconciler(tables.ledger.connection, None, Books(), tables.ask)
    await run.advance(20)
    await tables.ledger.calls(5)
    await tables.fill()
    await run.advance(await tables.ledger.last())
    await run.compare_balances()
    assert (run.report.differences, run.report.totals["charges"]) == ([], 35)


async def test_reports_of_edges_are_held_against_outcomes(tables: Tables) -> None:
    [[time_ms]] = await tables.ask("SELECT toUnixTimestamp64Milli(max(time)) FROM charges")

    def report_of(number: int, status: int, code: str = "", account_id: bytes = ACCOUNT) -> UsageEvent:
        event = UsageEvent(request_id=number.to_bytes(12, "big"), received_ms=int(time_ms), account_id=account_id)
        event.key_id, event.route, event.status, event.code, event.model = KEY, "chat", status, code, "m"
        return event

    events = [report_of(number, 200) for number in range(1, 20)]
    events += [report_of(20, 402, "insufficient_balance"), report_of(21, 200, account_id=b"somebodyelse")]
    events += [report_of(999, 200), report_of(998, 402, "insufficient_balance"), report_of(1, 200)]
    batch = UsageBatch(edge="edge-1", epoch=b"e" * 8, number=1, events=events)
    await jetstream.append(tables.ledger.connection, "usage.edge-1", batch.SerializeToString(), "u1")
    await tables.fill()
    report = Report()
    await compare_usage(tables.ask, report, int(time_ms) - DAY_MS, int(time_ms) + DAY_MS)
    told = sorted(each.text.partition("(")[0].strip() for each in report.differences)
    assert len(told) == 4, told
    assert any("was answered with 200 and never charged" in each for each in told)
    assert any("was refused with 402 insufficient_balance and charged" in each for each in told)
    assert any("and charged to" in each and b"somebodyelse".hex() in each for each in told)
    assert any("was reported 2 times" in each for each in told)
    assert report.totals["charges without a report"] == 9


async def test_the_providers_journal_is_held_against_settlements(tables: Tables) -> None:
    entries = [{"id": f"gen-{number}", "cost_usd": "0.000025"} for number in range(1, 31)]
    entries[4]["cost_usd"] = "0.000026"
    del entries[6]
    entries.append({"id": "gen-nobody", "cost_usd": "1"})
    run = Reconciler(tables.ledger.connection, None, Books(), None)
    book = ProviderBook(run.report, entries, frozenset({"sandbox"}), after=0)
    run.on_settlement = book.settled
    await run.advance(await tables.ledger.last())
    book.finish()
    told = [each.text for each in run.report.differences]
    assert len(told) == 2, told
    assert "settles 0.000025 USD, the provider billed 0.000026 for gen-5" in told[0]
    assert "names gen-7, which the provider does not know" in told[1]
    assert run.report.totals["… never settled, the house's loss"] == 1


async def test_the_job_finds_what_changes_while_it_runs(tables: Tables) -> None:
    """An alert on the metric must fire, and stay until somebody has looked."""
    ledger = tables.ledger
    readers = Readers.open(tables.store, ledger.settings)
    with ThreadPoolExecutor(1) as thread:
        analytics = Analytics(ledger.connection, ledger.settings, tables.store, thread)
        await analytics.start()
        sink = analytics.sinks[LEDGER]
        stop = asyncio.Event()
        running = asyncio.create_task(analytics.run(stop))
        job = ReconcileJob(ledger.connection, ledger.settings, readers, sink, analytics.keep)
        async with asyncio.timeout(DEADLINE_S):
            await job.once()
            for count in (5, 5):
                await ledger.calls(count)
                end = await ledger.last()
                while sink.progress.last < end:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                await job.once()
                assert (job.differences, job.position) == (0, end)
            ok_at_s = job.ok_at_s
            tables.store.command(f"ALTER TABLE charges DELETE WHERE {ONE}", {"mutations_sync": "1"})
            await job.once()
        stop.set()
        await running
    await readers.close()
    assert (job.differences, job.ok_at_s) == (1, ok_at_s)
    assert job.ran_at_s > ok_at_s > 0
    figures = {metric.name: metric.samples[0].value for metric in ReconcileCollector(job).collect()}
    assert figures["onysoft_reconcile_differences"] == 1
    kept = await tables.ask(
        "SELECT first_position, last_position, accounts, differences, found, problem FROM reconciliations ORDER BY time"
    )
    assert [(row[0], row[3], row[5]) for row in kept[1:3]] == [(kept[0][1] + 1, 0, ""), (kept[1][1] + 1, 0, "")]
    assert (kept[3][0], kept[3][2], kept[3][3]) == (0, 1, 1)
    assert "balances" in kept[3][4][0]
