"""Rebuilding: what a read model has wrong must be told and gone, what it has right must stay as it is."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from bus import jetstream
from bus.archive import Archive
from bus.directory import DirectoryMirror, publish_key
from projections.analytics.rebuild import TABLES, StillSinking, fingerprints, rebuild_analytics
from projections.main import Projections
from projections.proof.archiving import archive_ledger, trim_ledger
from projections.proof.rebuild import NothingToCompare, rebuild_accounts, rebuild_directory
from projections.store import FILE, Store, is_rebuilt
from proto.onysoft.v1.directory_pb2 import KeyRecord
from tests.projections.conftest import ACCOUNT, KEY, Ledger
from tests.projections.proof.conftest import ONE, Tables


async def test_rebuilt_tables_are_the_old_ones(tables: Tables) -> None:
    before = fingerprints(tables.store)
    rebuilt = await rebuild_analytics(tables.ledger.connection, tables.ledger.settings, tables.store)
    assert (rebuilt.equal, rebuilt.switched, rebuilt.differences) == (True, True, [])
    assert fingerprints(tables.store) == before
    assert set(rebuilt.rows) == set(TABLES)
    assert (rebuilt.rows["charges"], rebuilt.rows["credits"], rebuilt.rows["charges_daily"]) == (30, 3, 1)
    await tables.ledger.calls(3)
    await tables.fill()
    assert (await tables.reconciled()).differences == []


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        (f"ALTER TABLE charges UPDATE charge_nano = 1 WHERE {ONE}", "charges"),
        ("ALTER TABLE credits DELETE WHERE 1", "credits"),
        (
            "INSERT INTO charges SELECT * REPLACE (toDateTime64('2020-01-01', 3, 'UTC') AS time) FROM charges",
            "charges_daily",
        ),
    ],
)
async def test_tables_that_were_wrong_are_told_and_mended(tables: Tables, damage: str, table: str) -> None:
    before = fingerprints(tables.store)
    tables.store.command(damage, {"mutations_sync": "1"})
    assert fingerprints(tables.store) != before
    rebuilt = await rebuild_analytics(tables.ledger.connection, tables.ledger.settings, tables.store)
    assert any(each.startswith(f"{table}:") for each in rebuilt.differences), rebuilt.differences
    assert rebuilt.switched
    assert fingerprints(tables.store) == before
    assert (await tables.reconciled()).differences == []


async def test_tables_are_not_replaced_while_they_grow(tables: Tables) -> None:
    grown = asyncio.Event()

    def on_progress(_done: int, _total: int) -> None:
        if not grown.is_set():
            grown.set()
            tables.store.command(
                "INSERT INTO sink_ranges SELECT stream, last + 1, last + 9, 0, last_time, inserted FROM sink_ranges"
                " WHERE stream = 'LEDGER' ORDER BY last DESC LIMIT 1"
            )

    with pytest.raises(StillSinking):
        await rebuild_analytics(tables.ledger.connection, tables.ledger.settings, tables.store, on_progress)


async def test_accounts_are_rebuilt_beside_and_taken_at_the_next_start(ledger: Ledger) -> None:
    await ledger.open_account()
    await ledger.calls(300)
    await ledger.project()
    archive = Archive(ledger.archive_dir)
    await archive_ledger(ledger.connection, archive)
    await trim_ledger(ledger.connection, archive, 0)
    folder = ledger.settings.projections_dir
    with closing(sqlite3.connect(folder / FILE)) as file:
        file.execute("UPDATE account SET charges_nano = charges_nano + 1")
        file.execute("DELETE FROM request_event WHERE request_id = ?", ((7).to_bytes(12, "big"),))
        file.execute("INSERT INTO request_event VALUES (?, 1, 0, 1, 1, 0, 0)", ((9999).to_bytes(12, "big"),))
        file.commit()
    rebuilt = await rebuild_accounts(ledger.connection, ledger.settings)
    assert (rebuilt.equal, rebuilt.rows) == (False, {"account": 1, "request_event": 600})
    told = [each.partition(":")[0] for each in rebuilt.differences]
    assert told == [
        f"account {ACCOUNT.hex()}",
        *[f"request_event {number.to_bytes(12, 'big').hex()}" for number in (7, 7, 9999)],
    ]
    assert is_rebuilt(folder)
    projections = Projections(ledger.connection, ledger.settings, ledger.partitions)
    await projections.start()
    assert not is_rebuilt(folder)
    assert len(projections.store.events_of((7).to_bytes(12, "big"))) == 2
    await projections.close()
    again = await rebuild_accounts(ledger.connection, ledger.settings)
    assert again.equal


async def test_running_projections_end_for_a_rebuilt_store(ledger: Ledger) -> None:
    await ledger.open_account()
    projections = Projections(ledger.connection, ledger.settings, ledger.partitions)
    await projections.start()
    running = asyncio.create_task(projections.run(asyncio.Event()))
    rebuilt = await rebuild_accounts(ledger.connection, ledger.settings)
    assert rebuilt.equal, rebuilt.differences
    await asyncio.wait_for(running, 10)
    await projections.close()
    store = Store(ledger.settings.projections_dir)
    assert store.position() == rebuilt.position
    assert store.snapshot() is not None
    store.close()


async def test_without_an_old_store_there_is_nothing_to_compare(ledger: Ledger) -> None:
    await ledger.open_account()
    with pytest.raises(NothingToCompare):
        await rebuild_accounts(ledger.connection, ledger.settings)


async def test_the_directory_is_rebuilt_record_by_record(ledger: Ledger) -> None:
    await ledger.open_account()
    await ledger.open_account(b"second-acct-")
    await ledger.project()
    right = await rebuild_directory(ledger.connection, ledger.settings)
    assert (right.equal, right.rows["keys"]) == (True, 2)
    forged = KeyRecord(key_id=KEY, account_id=b"second-acct-", position=10**9)
    await publish_key(ledger.connection, ACCOUNT.ljust(32), forged)
    await publish_key(ledger.connection, b"x" * 32, KeyRecord(key_id=b"nobodys-key-", account_id=ACCOUNT, position=1))
    second = b"second-acct-".ljust(32)
    await jetstream.call(ledger.connection, "STREAM.PURGE.DIRECTORY", {"filter": f"directory.key.{second.hex()}"})
    wrong = await rebuild_directory(ledger.connection, ledger.settings)
    assert sorted(each.rpartition(" ")[2] for each in wrong.differences) == ["ledger", "missing", "wrong"]
    mirror = DirectoryMirror(ledger.connection)
    await mirror.start()
    await mirror.loaded()
    await mirror.stop()
    assert mirror.keys.keys() == {ACCOUNT.ljust(32), second}
    assert mirror.keys[ACCOUNT.ljust(32)].account_id == ACCOUNT
