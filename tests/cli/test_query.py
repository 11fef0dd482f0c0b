"""`onysoft query` and `onysoft analytics`: an analyst's first contact, on the folder of a gateway that is stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from projections.analytics.migrate import migrate
from projections.analytics.store import Store, parse_dsn
from runtime.settings import Settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two exchange rates in its store."""
    folder = tmp_path_factory.mktemp("data")
    store = Store.open(parse_dsn(f"chdb://{folder / 'projections' / 'analytics'}"))
    migrate(store, Settings())
    for day, rate in ((1, 40), (2, 41)):
        row = f"{day}, 0, '2026-11-0{day} 00:00:00.000', 'USD', 'TRY', {rate}000000000, 'tcmb', ''"
        store.command(f"INSERT INTO fx_rates VALUES ({row})")
    store.close()
    return folder


def onysoft(data: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "cli.main", *words, "--data", str(data)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def test_the_same_rows_come_in_every_form(data: Path, tmp_path: Path) -> None:
    """What an analyst copies into a sheet must be what the dashboard shows."""
    sql = "SELECT stream_seq, rate_nano FROM fx_rates ORDER BY stream_seq"
    rows: list[dict[str, Any]] = json.loads(onysoft(data, "query", sql, "--json").stdout)
    assert rows == [{"stream_seq": 1, "rate_nano": 40 * 10**9}, {"stream_seq": 2, "rate_nano": 41 * 10**9}]
    assert onysoft(data, "query", "--csv", sql).stdout.splitlines()[1:] == [b"1,40000000000", b"2,41000000000"]
    file = tmp_path / "rates.parquet"
    assert onysoft(data, "query", "--parquet", str(file), sql).returncode == 0
    assert pyarrow.parquet.read_table(file).to_pylist() == rows
    shown = onysoft(data, "query", sql).stdout.decode()
    assert "41000000000" in shown
    assert "2 rows" in shown


def test_a_wrong_question_says_why_and_changes_nothing(data: Path) -> None:
    for sql, word in (("SELECT * FROM nothing", "UNKNOWN_TABLE"), ("DROP TABLE fx_rates", "only SELECT")):
        found = onysoft(data, "query", sql, "--json")
        assert found.returncode == 1
        assert word in json.loads(found.stdout)["error"]["message"]
    assert json.loads(onysoft(data, "query", "SELECT count() AS n FROM fx_rates", "--json").stdout) == [{"n": 2}]


def test_a_question_may_begin_with_a_comment_and_a_wrong_option_is_still_one(data: Path) -> None:
    """As the files in docs/questions do: `onysoft query "$(cat FILE)"`."""
    found = onysoft(data, "query", "-- how many?\nSELECT count() AS n FROM fx_rates", "--json")
    assert json.loads(found.stdout) == [{"n": 2}]
    wrong = onysoft(data, "query", "--cvs", "SELECT 1")
    assert wrong.returncode == 2
    assert b"--cvs" in wrong.stderr


def test_migrate_says_that_nothing_is_missing(data: Path) -> None:
    found = onysoft(data, "analytics", "migrate", "--json")
    assert json.loads(found.stdout)["applied"] == []


def test_a_partners_user_is_printed_with_its_password_once(data: Path) -> None:
    found = json.loads(onysoft(data, "analytics", "access", "acme", "--partner", "acc_" + "0" * 24, "--json").stdout)
    assert len(found["password"]) > 20
    assert found["password"] not in found["sql"]
    assert onysoft(data, "analytics", "access", "Acme Ltd").returncode == 1
