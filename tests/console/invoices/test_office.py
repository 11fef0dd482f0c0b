"""From a payment to an accepted invoice, over HTTP, through whatever the integrator does."""

import itertools
import json
import time
import urllib.request
from typing import Any

import pytest
from sqlalchemy import select

from cli.client import Caller
from console.invoices.office import Office
from console.invoices.tables import Invoice, State
from console.low_balance import LowBalanceRound
from console.payments.tables import Payment, Reversal
from console.payments.tables import State as PaymentState
from console.people.tables import Role
from proto.onysoft.v1 import admin_pb2 as admin
from tests.console.conftest import Browser, add_person
from tests.console.payments.conftest import WAIT_S, Till, eventually

_TESTS = itertools.count(1)


@pytest.fixture
def office(till: Till) -> Office:
    """Speaks to the sandbox's integrator, which has seen other tests' numbers: each test has series of its own."""
    test = next(_TESTS)
    changes = {"invoice_series": f"E{test:02d}", "invoice_archive_series": f"A{test:02d}"}
    settings = till.services.settings.model_copy(update={"invoice_integrator": "sandbox", **changes})
    return Office(settings, till.services.store)


def _paid(till: Till, account_id: str) -> str:
    payment = till.begin(account_id)
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == PaymentState.CREDITED)
    return payment.id


def _invoices(till: Till) -> list[Invoice]:
    with till.services.store.transaction() as transaction:
        return list(transaction.scalars(select(Invoice).order_by(Invoice.issued_at, Invoice.number)))


def _work_until(till: Till, office: Office, *states: State) -> list[Invoice]:
    deadline = time.monotonic() + WAIT_S
    while True:
        found = _invoices(till)
        if [each.state for each in found] == list(states):
            return found
        assert time.monotonic() < deadline, [(each.state, each.reason) for each in found]
        with till.services.store.transaction() as transaction:
            transaction.query(Invoice).update({"next_at": Invoice.issued_at})
            transaction.query(Payment).update({"next_at": Payment.created_at})
            transaction.query(Reversal).update({"next_at": Reversal.created_at})
        office.work()


def _kept(till: Till) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{till.gateway.sandbox_url}/journal?kind=invoices", timeout=10) as answer:
        return {row["ettn"]: row for row in json.loads(answer.read())["data"]}


def test_a_registered_company_gets_an_e_fatura_and_others_an_e_arsiv(till: Till, office: Office) -> None:
    registered, other = till.account(), till.account()
    till.profile(registered, "company", "3297552117")
    till.profile(other, "company", "6310540565")
    for account_id in (registered, other):
        _paid(till, account_id)
    found = _work_until(till, office, State.ACCEPTED, State.ACCEPTED)
    profiles = {each.account_id: (each.profile, each.number[0]) for each in found}
    assert profiles == {registered: ("TEMELFATURA", "E"), other: ("EARSIVFATURA", "A")}
    kept = _kept(till)
    assert all(kept[each.ettn]["xml"].encode() in each.xml + b"\n" for each in found)
    assert {kept[each.ettn]["kind"] for each in found} == {"einvoice", "earchive"}


def test_errors_and_lost_answers_send_each_invoice_once(till: Till, office: Office) -> None:
    account_id = till.account()
    till.profile(account_id)
    for _ in range(2):
        _paid(till, account_id)
    before = len(_kept(till))
    till.control(seed=3, integrator_error_rate=0.3, integrator_lose_answer_rate=0.5)
    _work_until(till, office, State.ACCEPTED, State.ACCEPTED)
    assert len(_kept(till)) == before + 2


def test_a_refund_is_answered_by_a_return_invoice(till: Till, office: Office) -> None:
    account_id = till.account()
    till.profile(account_id)
    payment_id = _paid(till, account_id)
    sale = _work_until(till, office, State.ACCEPTED)[0]
    till.cashier.refund(payment_id, 6_001)
    till.cashier.refund(payment_id, 5_999)
    found = _work_until(till, office, State.ACCEPTED, State.ACCEPTED, State.ACCEPTED)
    returns = [each for each in found if each.kind == "return"]
    assert {each.returns_id for each in returns} == {sale.id}
    assert sum(each.net_kurus for each in returns) == sale.net_kurus
    assert sum(each.gross_kurus for each in returns) == sale.gross_kurus
    assert sale.number.encode() in returns[0].xml


def test_a_rejected_invoice_is_reported(till: Till, office: Office) -> None:
    account_id = till.account()
    till.profile(account_id)
    _paid(till, account_id)
    till.control(integrator_rejects=True)
    assert _work_until(till, office, State.REJECTED)[0].reason == "Reddedildi"
    assert "invoice_rejected" in till.incidents()


def test_an_owner_downloads_invoices_and_nobody_else_does(till: Till, office: Office, browser: Browser) -> None:
    mine, theirs = till.customer("ada@example.com"), till.customer("eve@example.com")
    for account_id in (mine, theirs):
        _paid(till, account_id)
    found = {each.account_id: each for each in _work_until(till, office, State.ACCEPTED, State.ACCEPTED)}
    browser.sign_in("ada@example.com")
    assert found[mine].number in browser.get("/payments")
    answer = browser.http.get(f"/invoices/{found[mine].id}/pdf")
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["content-disposition"] == f'attachment; filename="{found[mine].number}.pdf"'
    assert browser.http.get(f"/invoices/{found[mine].id}/xml").content == found[mine].xml
    for kind in ("pdf", "xml"):
        browser.get(f"/invoices/{found[theirs].id}/{kind}", 404)


def test_an_invoice_without_billing_details_waits_for_them(till: Till, office: Office) -> None:
    account_id = till.account()
    _paid(till, account_id)
    office.work()
    assert _invoices(till) == []
    assert "invoice_unfit" in till.incidents()


def test_an_owner_is_told_once_each_time_little_is_left(till: Till, browser: Browser) -> None:
    account_id = till.account()
    add_person(till.services, "ada@example.com", memberships={account_id: Role.OWNER})
    services = till.services
    services.gateway.call(
        "CreditAccount", admin.CreditAccountRequest(account_id=account_id, amount="50", reference="a"), Caller("test")
    )
    browser.sign_in("ada@example.com")
    browser.post("/billing/low-balance", threshold="20,00")
    rounds = LowBalanceRound(services.settings, services.store, services.gateway, services.mailer, lambda: False)
    mails = services.settings.console_dir / "mail"

    def look_after(method: str, request: Any) -> int:
        services.gateway.call(method, request, Caller("test"))
        for _ in range(2):
            rounds.look(account_id)
        return len(list(mails.glob("*.eml")))

    less = admin.ReverseCreditRequest(account_id=account_id, amount="31", reference="b")
    assert look_after("ReverseCredit", less) == 1
    assert "₺19.00" in browser.last_mail()
    more = admin.CreditAccountRequest(account_id=account_id, amount="5", reference="c")
    assert look_after("CreditAccount", more) == 1
    again = admin.ReverseCreditRequest(account_id=account_id, amount="5", reference="d")
    assert look_after("ReverseCredit", again) == 2
