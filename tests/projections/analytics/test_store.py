"""The store's port: where it is, who may open it, and that a repeated insert counts once."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from projections.analytics.ledger_rows import BASES, ENDS
from projections.analytics.migrate import home_id, migrate, migrations
from projections.analytics.store import Store, StoreFailed, parse_dsn
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings


def test_a_dsn_names_a_folder_or_a_server() -> None:
    assert parse_dsn("chdb:///var/lib/store").folder == Path("/var/lib/store")
    server = parse_dsn("clickhouse://ana:s%40crét@db.example:9123/billing")
    assert (server.host, server.port, server.user, server.database) == ("db.example", 9123, "ana", "billing")
    assert server.password == "s@crét"
    assert parse_dsn("https://db.example").port == 8443
    assert "s@cr" not in server.public


@pytest.mark.parametrize("text", ["", "chdb://relative/path", "postgres://x/y", "http://h/a;drop"])
def test_a_wrong_dsn_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"store|database") as refused:
        parse_dsn(text)
    assert not text or text not in str(refused.value)


def test_the_schema_is_applied_once_and_keeps_its_identity(store: Store) -> None:
    home = home_id(store)
    assert home
    assert migrate(store, Settings()) == []
    assert home_id(store) == home


def test_every_column_explains_itself(store: Store) -> None:
    silent = store.rows(
        "SELECT table, name FROM system.columns WHERE database = {database:String} AND comment = ''"
        " AND table NOT LIKE '%_feed' AND table != 'migrations'",
        {"database": store.database},
    )
    assert silent == []


@pytest.mark.parametrize(("column", "enum", "known"), [("basis", pb.CostBasis, BASES), ("call_end", pb.CallEnd, ENDS)])
def test_every_word_of_the_ledger_has_one_in_the_tables(store: Store, column: str, enum: Any, known: range) -> None:
    """A word that the tables lack would stand there as `unspecified`."""
    type_ = store.value(
        "SELECT type FROM system.columns"
        " WHERE database = {database:String} AND table = 'charges' AND name = {name:String}",
        {"database": store.database, "name": column},
    )
    named = {int(number): name for name, number in re.findall(r"'(\w+)' = (\d+)", str(type_))}
    assert named == {number: _word(name) for name, number in enum.items()}
    assert list(known) == sorted(named)


def _word(name: str) -> str:
    return "unspecified" if name.endswith("_UNSPECIFIED") else name.lower()


def test_the_same_files_make_replicated_tables() -> None:
    text = "\n".join(statement for each in migrations() for statement in each.statements(replicated=True))
    assert text.count("ReplicatedMergeTree(") == text.count("ReplicatedMergeTree('/clickhouse/tables/")
    assert " MergeTree" not in text
    assert "non_replicated_deduplication_window" not in text


def test_retention_follows_the_settings(store: Store) -> None:
    def definition(table: str) -> str:
        return str(store.value(f"SHOW CREATE TABLE {table}"))

    assert "toIntervalDay(400)" in definition("requests")
    assert "TTL" not in definition("charges")
    migrate(store, Settings(analytics_charges_days=30, analytics_requests_days=0))
    assert "toIntervalDay(30)" in definition("charges")
    assert "TTL" not in definition("requests")


@pytest.mark.parametrize("home", ["embedded"], indirect=True)
def test_a_second_process_cannot_open_the_folder(store: Store) -> None:
    code = (
        "import sys\nfrom projections.analytics.store import Store, StoreInUse, parse_dsn\n"
        "try:\n Store.open(parse_dsn(sys.argv[1]))\nexcept StoreInUse as error:\n print(error)\n sys.exit(7)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, store.dsn.public], capture_output=True, text=True, timeout=60)
    assert found.returncode == 7, found.stderr
    assert "belongs to another process" in found.stdout


def test_a_failure_names_what_clickhouse_said(store: Store) -> None:
    with pytest.raises(StoreFailed, match="UNKNOWN_TABLE"):
        store.rows("SELECT * FROM nothing")
