"""A gap or a duplicate in invoice numbers is an offence, whoever is killed in between."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from console.invoices import numbers
from console.invoices.tables import BillingProfile, Invoice, InvoiceSeries
from console.payments.tables import Payment, State
from console.people.store import Store
from console.people.tables import Table, now
from tests.console.invoices.issuer import issue_all

COUNT = 200
KILLS = 3
ROOT = Path(__file__).parents[3]
ACCOUNT = "acc_" + "0" * 24


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both stores."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'people.sqlite'}"
    uri: str = request.getfixturevalue("postgres")
    return uri


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    """Empty but for payments that need an invoice."""
    opened = Store(dsn)
    opened.migrate()
    with opened.transaction() as transaction:
        for table in reversed(Table.metadata.sorted_tables):
            transaction.execute(table.delete())
        details = {"name": "Ayşe Öztürk", "tax_id": "10000000146", "email": "a@b.co", "phone": "0216 555 11 22"}
        place = {"address": "Cad. 1", "district": "Kadıköy", "city": "İstanbul"}
        transaction.add(BillingProfile(account_id=ACCOUNT, kind="person", **details, **place))
        transaction.add_all(_payment(number) for number in range(COUNT))
    yield opened
    opened.close()


def _payment(number: int) -> Payment:
    net = 10_000 + 5 * number
    amounts = {"net_kurus": net, "vat_kurus": net // 5, "gross_kurus": net + net // 5, "vat_bps": 2_000}
    names = {"account_id": ACCOUNT, "person_id": "p", "provider": "iyzico", "state": State.CREDITED}
    return Payment(**names, **amounts, expires_at=now())


def test_two_hundred_at_once_have_no_gap_and_no_duplicate(store: Store) -> None:
    issue_all(store)
    issue_all(store)
    _assert_whole(store)


def test_a_killed_process_leaves_no_gap(store: Store, dsn: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("issuer.py")), dsn]
    for turn in range(KILLS):
        process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
        assert process.stdout
        for _ in range(40 * turn + 10):
            assert process.stdout.readline()
        process.kill()
        process.wait(30)
        process.stdout.close()
        assert 0 < _count(store) < COUNT
    issue_all(store)
    _assert_whole(store)


def _count(store: Store) -> int:
    with store.transaction() as transaction:
        return transaction.scalar(select(func.count()).select_from(Invoice)) or 0


def _assert_whole(store: Store) -> None:
    with store.transaction() as transaction:
        rows = transaction.scalars(select(Invoice).order_by(Invoice.sequence)).all()
    assert [row.sequence for row in rows] == list(range(1, COUNT + 1))
    assert len({row.payment_id for row in rows}) == COUNT
    assert [row.number for row in rows] == [f"ONA{row.year}{row.sequence:09d}" for row in rows]
    assert [row.issued_at for row in rows] == sorted(row.issued_at for row in rows)


def test_a_year_begins_at_one_and_a_slow_clock_does_not_go_back(store: Store) -> None:
    with store.transaction() as transaction:
        counter = numbers.lock(transaction, "NEW")
        first, second = numbers.take(counter), numbers.take(counter)
        assert (first.sequence, second.sequence) == (1, 2)
        counter.last_at = now() + timedelta(days=366)
        ahead = numbers.take(counter)
        after = numbers.take(counter)
    assert (ahead.year, ahead.sequence, after.sequence) == (first.year + 1, 1, 2)
    assert after.issued_at >= ahead.issued_at
    with store.transaction() as transaction:
        assert transaction.get_one(InvoiceSeries, "NEW").last == 2
