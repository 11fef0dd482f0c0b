"""Nothing can be changed by hand without being named: every table, every column, and the sums made of them."""

import pytest

from bus import jetstream
from projections.analytics.ledger_rows import LEDGER_TABLES
from projections.proof.reconcile_rollups import ROLL_UPS
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.usage_pb2 import UsageBatch, UsageEvent
from tests.projections.conftest import ACCOUNT, KEY
from tests.projections.proof.conftest import Tables

SYNC = {"mutations_sync": "1"}
LEDGER_NAMES = [table.name for table in LEDGER_TABLES]
SUMS = [each.name for each in ROLL_UPS]


@pytest.fixture
async def filled(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """With rates, a catalogue entry and edges' reports as well: no table is empty."""
    monkeypatch.setattr("projections.proof.reconcile_rollups.PAUSE_S", 0.01)
    price = b'{"prompt":"0.000001"}'
    await tables.ledger.write(
        pb.Event(fx_rate_set=pb.FxRateSet(base=pb.USD, quote=pb.TRY, rate_nano=41 * 10**9, source="tcmb")),
        pb.Event(
            model_set=pb.ModelSet(model_id="m", kind="chat", name="M" * 200, price=price, price_version=b"12345678")
        ),
        pb.Event(limit_set=pb.LimitSet(owner_id=ACCOUNT, pattern="*", daily_requests=7), actor="ada"),
    )
    [[time_ms]] = await tables.ask("SELECT toUnixTimestamp64Milli(max(time)) FROM charges")
    for number in (1, 2):
        events = [
            UsageEvent(
                request_id=bytes([number, index]) * 6,
                received_ms=time_ms,
                account_id=ACCOUNT,
                key_id=KEY,
                model="m",
                route="models",
                status=200,
                duration_us=900,
            )
            for index in range(3)
        ]
        batch = UsageBatch(edge="edge-1", epoch=b"epoch-12", number=number, events=events)
        await jetstream.append(tables.ledger.connection, "usage.edge-1", batch.SerializeToString(), f"e:{number}")
    await tables.fill()
    return tables


async def test_everything_agrees_and_no_table_was_left_out(filled: Tables) -> None:
    report = await filled.reconciled(whole=True, sums=True)
    assert report.differences == []
    [[rows]] = await filled.ask(" UNION ALL ".join(f"SELECT count() FROM {name}" for name in LEDGER_NAMES[:1]))
    assert report.totals["rows compared whole"] > rows
    assert report.totals["roll-up days"] >= len(SUMS)
    assert report.totals["batches of reports"] == 2
    for name in (*LEDGER_NAMES, *SUMS):
        assert (await filled.ask(f"SELECT count() FROM {name}"))[0][0] > 0, f"{name} is empty: nothing is proved"


@pytest.mark.parametrize("table", LEDGER_NAMES)
async def test_each_column_that_is_changed_is_named(filled: Tables, table: str) -> None:
    """One after the other, so that a later change cannot hide behind an earlier one."""
    order_keys = {"stream_seq", "event_index", "leg", "time", "account_id"}
    keys = {"accounts": {"account_id"}, "model_prices": {"model"}, "fx_rates": {"base", "quote"}, "changes": {"event"}}
    fixed = order_keys | keys.get(table, set())
    [[position]] = await filled.ask(f"SELECT min(stream_seq) FROM {table}")
    for column, type_ in (await filled.columns(table)).items():
        if column in fixed:
            continue  # ClickHouse itself refuses to change what a table is ordered by
        [[before]] = await filled.ask(f"SELECT toString({column}) FROM {table} WHERE stream_seq = {position} LIMIT 1")
        change = _other(column, type_)
        filled.store.command(f"ALTER TABLE {table} UPDATE {column} = {change} WHERE stream_seq = {position}", SYNC)
        found = [each for each in (await filled.reconciled(whole=True)).differences if each.table == table]
        assert found, f"{table}.{column} was {before} and was changed without a word"
        assert {each.position for each in found} == {position}
        assert any(column in each.text for each in found), (column, found)
        filled.store.command(f"ALTER TABLE {table} UPDATE {column} = '{before}' WHERE stream_seq = {position}", SYNC)
    left = (await filled.reconciled(whole=True)).differences
    assert [each for each in left if each.table == table] == []


def _other(column: str, type_: str) -> str:
    """Another value of the column's type."""
    if "String" in type_:
        return f"concat({column}, 'x')"
    if "DateTime" in type_:
        return f"{column} + INTERVAL 1 MILLISECOND"
    if "Enum" in type_:
        return f"CAST(if(toInt8({column}) = 1, 2, 1) AS {type_})" if column != "outcome" else "31"
    return f"{column} + 1"


@pytest.mark.parametrize("table", LEDGER_NAMES)
async def test_a_row_that_is_deleted_is_named_with_its_position(filled: Tables, table: str) -> None:
    [[position]] = await filled.ask(f"SELECT max(stream_seq) FROM {table}")
    filled.store.command(f"ALTER TABLE {table} DELETE WHERE stream_seq = {position}", SYNC)
    found = [each for each in (await filled.reconciled(whole=True)).differences if each.table == table]
    assert any(each.position == position and "is missing" in each.text for each in found), found


@pytest.mark.parametrize("table", LEDGER_NAMES)
async def test_a_row_that_is_invented_is_named(filled: Tables, table: str) -> None:
    filled.store.command(
        f"INSERT INTO {table} SELECT * REPLACE (1 AS stream_seq, 9 AS event_index) FROM {table} LIMIT 1"
    )
    found = [each for each in (await filled.reconciled(whole=True)).differences if each.table == table]
    assert any(each.position == 1 and "is not in the ledger" in each.text for each in found), found


@pytest.mark.parametrize("table", SUMS)
@pytest.mark.parametrize("damage", ["DELETE WHERE 1", "UPDATE calls = calls + 1 WHERE 1"])
async def test_a_roll_up_that_is_changed_is_named(filled: Tables, table: str, damage: str) -> None:
    filled.store.command(f"ALTER TABLE {table} {damage}", SYNC)
    found = (await filled.reconciled(sums=True)).differences
    assert {each.table for each in found} == {table}, found
    assert all("calls by" in each.text for each in found)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE WHERE stream_seq = 2 AND event_index = 0", "report 2 has 3 calls, the table 2"),
        ("UPDATE duration_us = 1 WHERE stream_seq = 1 AND event_index = 0", "duration_us by"),
        ("UPDATE model = 'n' WHERE stream_seq = 1 AND event_index = 0", "calls by"),
    ],
)
async def test_a_report_that_is_changed_is_named(filled: Tables, damage: str, told: str) -> None:
    filled.store.command(f"ALTER TABLE requests {damage}", SYNC)
    found = (await filled.reconciled(sums=True)).differences
    assert any(told in each.text for each in found), found
