"""What a row says must be what the fold made of the event, to the last nano-unit, and fit its column."""

from decimal import Decimal

import pytest

from bus.tail import Entry
from core.ledger.state import State
from projections.analytics.ledger_rows import LedgerRows
from projections.analytics.ranges import insert_range, last_position, seen_reports
from projections.analytics.rows import cost_nano, pack_text
from projections.analytics.snapshots import SnapshotFolder, freeze, thaw
from projections.analytics.store import Store
from projections.analytics.usage_rows import UsageRows
from tests.projections.analytics.log import NANO, LogMaker

NOW_MS = 1_790_000_000_000


def entries(batches: list[bytes], subject: str = "ledger.00", first: int = 1) -> list[Entry]:
    return [Entry(first + number, NOW_MS + number * 10, subject, batch) for number, batch in enumerate(batches)]


def folded(log: list[Entry], silent_until: int = 0) -> LedgerRows:
    rows = LedgerRows(State(), {}, silent_until)
    for entry in log:
        rows.apply(entry)
    return rows


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("1", NANO),
        ("0.000000001", 1),
        ("0.0000000010", 1),
        ("0.000000001000000001", 2),
        ("12.5", 12_500_000_000),
        ("1E-9", 1),
        ("1.5e-9", 2),
        ("", 0),
        ("unknown", 0),
        ("NaN", 0),
        ("٣", 3 * NANO),
        ("9" * 40, 2**63 - 1),
    ],
)
def test_a_providers_cost_is_rounded_up_to_a_whole_nano(text: str, nano: int) -> None:
    assert cost_nano(text) == nano


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000])
def test_texts_of_every_length_arrive_whole(store: Store, size: int) -> None:
    store.command("CREATE TABLE texts (text String) ENGINE = Memory")
    store.insert("texts", ("text",), pack_text("ş" * size), "t")
    assert store.rows("SELECT text FROM texts") == [("ş" * size,)]


def test_tables_hold_what_the_fold_says(store: Store) -> None:
    """Balances, losses, moves and prices are asked of these tables; a wrong column would be believed."""
    maker = LogMaker(3)
    rows = folded(entries([maker.opening(), *maker.traffic(600)]))
    insert_range(store, "LEDGER", rows.take())
    state = rows.state
    balances = {row[0]: row[1] for row in store.rows("SELECT account_id, balance_nano FROM balances")}
    assert balances == {"acc_" + each.hex(): account.balance_nano for each, account in state.accounts.items()}
    shortfall = sum(account.shortfall_nano for account in state.accounts.values())
    assert store.value("SELECT sum(shortfall_nano) + sum(parent_shortfall_nano) FROM charges") == shortfall
    assert store.rows("SELECT kind, asked_nano, amount_nano FROM credits WHERE kind = 'reversed'") == [
        ("reversed", 900 * NANO, -500 * NANO)
    ]
    tables = ("charges", "releases", "losses", "tasks", "accounts", "fx_rates", "model_prices", "changes")
    counts = {table: store.value(f"SELECT count() FROM {table}") for table in tables}
    assert all(counts.values()), counts
    assert counts["accounts"] == len(state.accounts)
    assert store.value("SELECT count() FROM charges WHERE opened_seq = 0 OR model = '' OR key_id = ''") == 0
    assert store.value("SELECT count() FROM charges WHERE opened_seq >= stream_seq") == 0
    assert store.value("SELECT countIf(details LIKE '%key_hash%') FROM changes") == 0
    assert store.value("SELECT any(actor) FROM changes WHERE actor != ''") == "op_1"
    margin = store.value("SELECT sum(margin_usd) FROM margins")
    assert isinstance(margin, Decimal)
    assert store.value("SELECT countIf(ended = 'running') FROM task_ends") == 0


def test_an_extended_hold_is_shown_as_it_was_when_the_call_ended(store: Store) -> None:
    maker = LogMaker(5)
    rows = folded(entries([maker.opening(), *maker.traffic(400)]))
    insert_range(store, "LEDGER", rows.take())
    assert store.value("SELECT countIf(hold_nano > 10000000) FROM charges") > 0


def test_the_same_range_is_byte_for_byte_the_same_after_a_restart() -> None:
    """ClickHouse discards other rows under a used token without a word: a difference would be a silent loss."""
    maker = LogMaker(7)
    log = entries([maker.opening(), *maker.traffic(400)])
    whole = folded(log, silent_until=11)
    half = folded(log[:11], silent_until=11)
    state, opened = thaw(freeze(half))
    resumed = LedgerRows(state, opened, silent_until=11)
    for entry in log[11:]:
        resumed.apply(entry)
    one, other = whole.take(), resumed.take()
    assert (one.first, one.last) == (other.first, other.last) == (12, len(log))
    assert one.rows.blocks() == other.rows.blocks()


def test_a_repeated_report_gives_no_rows_even_after_a_restart(store: Store) -> None:
    """An edge repeats a batch whose acknowledgement was lost; counted twice it would inflate every rate."""
    log = entries(LogMaker(9).reports(1_000), "usage.edge-1")
    rows = UsageRows(0, {})
    for entry in log[:11]:
        rows.apply(entry)
    insert_range(store, "USAGE", rows.take())
    done = last_position(store, "USAGE")
    resumed = UsageRows(done, seen_reports(store, done))
    for entry in log[11:]:
        resumed.apply(entry)
    insert_range(store, "USAGE", resumed.take())
    assert store.value("SELECT count() FROM requests") == 1_000
    assert store.value("SELECT count() FROM usage_batches") == 20


def test_a_range_that_is_sent_again_changes_nothing(store: Store) -> None:
    maker = LogMaker(11)
    taken = folded(entries([maker.opening(), *maker.traffic(400)])).take()
    insert_range(store, "LEDGER", taken)
    found = store.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
        {"database": store.database},
    )
    tables = [row[0] for row in found]
    before = {table: store.value(f"SELECT count() FROM {table}") for table in tables}
    sums = store.rows("SELECT sum(calls), sum(charge_nano), sum(revenue_usd_nano) FROM charges_daily")
    insert_range(store, "LEDGER", taken)
    assert {table: store.value(f"SELECT count() FROM {table}") for table in tables} == before
    assert store.rows("SELECT sum(calls), sum(charge_nano), sum(revenue_usd_nano) FROM charges_daily") == sums


def test_a_broken_snapshot_is_passed_over(tmp_path) -> None:  # type: ignore[no-untyped-def]
    maker = LogMaker(13)
    log = entries([maker.opening(), *maker.traffic(100)])
    folder = SnapshotFolder(tmp_path, "home")
    for position in (2, 5, 9):
        folder.save(position, freeze(folded(log[:position])))
    assert folder.load(10)[0].position == 9
    assert folder.load(8)[0].position == 5
    assert folder.load(4)[0].position == 0  # of the three, the newest two are kept
    (tmp_path / "home-9.snapshot").write_bytes(b"torn")
    assert folder.load(10)[0].position == 5
    assert SnapshotFolder(tmp_path, "another").load(10)[0].position == 0
