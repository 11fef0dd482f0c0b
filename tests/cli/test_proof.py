"""What an operator types to prove things, on a running instance that goes on behind a simulated month."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from projections.proof.publishing import FILE
from tests.cli.test_query import onysoft
from tests.faults.gateway import PROJECT, Gateway, wait_until

MONTH = "2026-10"
CALLS = 5
MODEL = "openai/gpt-4o-mini"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two thousand simulated calls, and an instance on them that has served some more."""
    data = tmp_path_factory.mktemp("proof") / "data"
    made = onysoft(data, "simulate", "--calls", "2000", "--accounts", "60", "--month", MONTH, "--json")
    assert made.returncode == 0, made.stderr.decode()
    gateway = Gateway(data, edges=1, cores=1)
    try:
        gateway.start()
        customer = gateway.open_account("5.00")
        client = OpenAI(base_url=gateway.base_urls[0], api_key=customer.api_key, max_retries=2)
        for _ in range(CALLS):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        yield gateway
    finally:
        gateway.stop()


def run(gateway: Gateway, *words: str, code: int = 0) -> Any:
    """The JSON that a command prints; its exit code must be `code`."""
    done = onysoft(gateway.data, *words, "--json")
    assert done.returncode == code, (words, done.stdout.decode()[-2000:], done.stderr.decode()[-2000:])
    return json.loads(done.stdout)


def busiest(gateway: Gateway) -> str:
    """The simulated account with the most calls."""
    query = "SELECT account_id FROM charges_daily WHERE day < '2026-11-01' GROUP BY 1 ORDER BY sum(calls) DESC LIMIT 1"
    (row,) = run(gateway, "query", query)
    return str(row["account_id"])


def test_ledger_tables_edges_and_provider_agree(gateway: Gateway) -> None:
    def is_sunk() -> bool:
        rows = run(gateway, "query", "SELECT count() AS n FROM charges WHERE time > '2026-11-02'")
        return bool(rows[0]["n"] == CALLS)

    wait_until(is_sunk, WAIT_S, "the last calls in the tables", poll_s=0.5)
    report = run(gateway, "reconcile")
    assert (report["ok"], report["differences"]) == (True, 0)
    assert report["totals"]["provider's generations"] == CALLS
    assert report["totals"]["rows compared whole"] > 2_000
    part = run(gateway, "reconcile", "--from", "2026-10-15", "--to", "2026-10-20T12:00")
    assert part["ok"]
    assert report["from_position"] < part["from_position"] < part["to_position"] < report["to_position"]


def test_the_log_is_archived_published_and_trimmed_and_still_verifies(gateway: Gateway) -> None:
    before = run(gateway, "ledger", "verify")
    assert before["ok"]
    run(gateway, "ledger", "archive")
    published = run(gateway, "ledger", "publish", "--now")
    assert published["published"] >= 31, "each day of the month, and now"
    assert run(gateway, "ledger", "publish", "--check")["compared"] == published["published"]
    kept = run(gateway, "ledger", "trim")
    assert (kept["purged"], kept["held_back_by"]) == (0, "the newest 35 days"), (
        "everything live is younger than 35 days"
    )
    trimmed = run(gateway, "ledger", "trim", "--keep-days", "0")
    assert trimmed["held_back_by"], "archive, snapshot or a reader: the newest is never purged"
    after = run(gateway, "ledger", "verify")
    assert (after["ok"], after["from_position"]) == (True, before["from_position"])


def test_a_customer_proves_a_statement_offline_and_notices_a_changed_line(gateway: Gateway, tmp_path: Path) -> None:
    run(gateway, "ledger", "archive")
    run(gateway, "ledger", "publish", "--now")
    account_id = busiest(gateway)
    csv, pdf = tmp_path / "s.csv", tmp_path / "s.pdf"
    told = run(gateway, "statement", account_id, "--month", MONTH, "--csv", str(csv), "--pdf", str(pdf))
    assert told["account"] == account_id
    assert pdf.read_bytes().startswith(b"%PDF")
    checkpoints = ("--checkpoints", str(gateway.data / "archive" / FILE))
    assert run(gateway, "ledger", "verify", "--file", str(csv), *checkpoints)["ok"]
    text = csv.read_text()
    line = next(line for line in text.splitlines() if ",charge," in line)
    csv.write_text(text.replace(line, line.replace(",charge,-", ",charge,-1"), 1))
    changed = run(gateway, "ledger", "verify", "--file", str(csv), *checkpoints, code=1)
    assert (changed["ok"], len(changed["problems"]) > 0) == (False, True)


def test_a_balance_of_the_past_is_told(gateway: Gateway) -> None:
    account_id = busiest(gateway)
    now = run(gateway, "balance", account_id)
    then = run(gateway, "balance", account_id, "--at", "2026-10-10T12:00")
    assert then["position"] < now["position"]
    assert run(gateway, "balance", account_id, "--at", str(then["position"]))["balance"] == then["balance"]


def test_read_models_are_rebuilt_equal(gateway: Gateway) -> None:
    assert run(gateway, "rebuild", "directory")["equal"]
    assert run(gateway, "rebuild", "accounts")["equal"]
    refused = run(gateway, "rebuild", "analytics", code=1)
    assert "another process" in refused["error"]["message"]
    gateway.stop()
    words = [sys.executable, "-m", "launcher", "--data", str(gateway.data), "--no-analytics", "--no-console"]
    process = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: gateway.document.get("ready"), 90, "the instance without analytics")
        rebuilt = run(gateway, "rebuild", "analytics")
        assert (rebuilt["equal"], rebuilt["switched"], rebuilt["differences"]) == (True, True, [])
        assert rebuilt["rows"]["charges"] > 1_000
    finally:
        process.terminate()
        assert process.wait(60) == 0
