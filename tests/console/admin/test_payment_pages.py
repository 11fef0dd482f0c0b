"""Payments, invoices and incidents as staff sees them; a refund goes out once, whoever presses how often."""

import re
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from console.credits.tables import Proposal
from console.invoices.office import Office
from console.invoices.tables import Invoice
from console.invoices.tables import State as InvoiceState
from console.payments.cashier import RefundRunning
from console.payments.incidents import report
from console.payments.port import ProviderFailed
from console.payments.tables import Incident, Payment, State
from console.people.tables import Act, Role, new_id, now
from console.services import Services
from console.web.days import today
from console.web.paging import ROWS_A_PAGE
from tests.console.admin.conftest import root, root_id, rows_of, sue
from tests.console.conftest import Browser, add_person
from tests.console.invoices.test_office import office
from tests.console.payments.conftest import Till, database, eventually, port, services, till

__all__ = ["database", "office", "port", "root", "root_id", "services", "sue", "till"]

REASON = "the customer asked for it, ticket 12"
both_stores = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def provider() -> str:
    """Which payment provider it was does not matter here."""
    return "iyzico"


def _credited(till: Till, net_kurus: int = 10_000) -> Payment:
    account_id = till.account()
    till.profile(account_id)
    payment = till.begin(account_id, net_kurus)
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)
    return till.payment(payment.id)


def _acts(services: Services, subject: str) -> list[tuple[str, str]]:
    with services.store.transaction() as transaction:
        found = transaction.scalars(select(Act).where(Act.subject == subject).order_by(Act.at))
        return [(each.what, each.detail) for each in found]


def _many(services: Services, count: int) -> None:
    with services.store.transaction() as transaction:
        for number in range(count):
            payment = Payment(
                account_id="acc_" + "0" * 24,
                person_id=new_id(),
                provider="paytr",
                state=State.EXPIRED,
                net_kurus=100 + number,
                vat_kurus=20,
                gross_kurus=120 + number,
                vat_bps=2_000,
                expires_at=now(),
                created_at=now() - timedelta(days=3),
            )
            transaction.add(payment)


def test_payments_are_filtered_and_shown_by_fifty(sue: Browser, till: Till) -> None:
    """Support could not find the payment that somebody asks about."""
    paid, opened = _credited(till), till.begin(till.account())
    _many(till.services, ROWS_A_PAGE)
    page = sue.get("/admin/payments")
    assert len(rows_of(page)) == ROWS_A_PAGE
    assert len(rows_of(sue.get("/admin/payments?page=1"))) == 2
    for query in ("state=credited", f"account={paid.account_id}"):
        page = sue.get(f"/admin/payments?{query}")
        assert len(rows_of(page)) == 1, query
        assert f"/admin/payments/{paid.id}" in page
    assert f"/admin/payments/{opened.id}" in sue.get(f"/admin/payments?day={today()}&state=pending&provider=iyzico")
    assert len(rows_of(sue.get(f"/admin/payments?day={today()}"))) == 2
    assert len(rows_of(sue.get("/admin/payments?provider=paytr"))) == ROWS_A_PAGE
    assert "No payment here." in sue.get(f"/admin/payments?day={today()}&provider=paytr")


def test_a_payment_is_refunded_in_part_and_its_history_tells_it(root: Browser, till: Till, root_id: str) -> None:
    payment = _credited(till)
    here = f"/admin/payments/{payment.id}"
    page = root.get(here)
    assert ["begun" in row or "paid" in row or "credited" in row for row in rows_of(page)[:3]] == [True] * 3
    assert 'name="returned" value="0"' in page
    assert "Please give a reason" in root.post(f"{here}/refund", 400, amount="30", returned="0")
    assert "an amount" in root.post(f"{here}/refund", 400, amount="x", returned="0", reason=REASON)
    page = root.post(f"{here}/refund", amount="30,00", returned="0", reason=REASON)
    assert till.balance(payment.account_id) == "75.00"
    history = "\n".join(rows_of(page))
    for text in ("refund asked for by root", REASON, "went back to the card ₺30.00", "taken out of the balance ₺25.00"):
        assert text in history
    assert "look again" in root.post(f"{here}/refund", 409, amount="30,00", returned="0", reason=REASON)
    assert "look again" in root.post(f"{here}/refund", 409, amount="90.01", returned="3000", reason=REASON)
    assert till.balance(payment.account_id) == "75.00"
    page = root.post(f"{here}/refund", amount="90", returned="3000", reason=REASON)
    assert "refunded" in page
    assert "/refund" not in page
    assert till.balance(payment.account_id) == "0.00"
    assert [what for what, _ in _acts(till.services, payment.id)] == ["payment.refund_asked"] * 2


def test_support_sees_a_payment_and_refunds_nothing(sue: Browser, till: Till) -> None:
    payment = _credited(till)
    assert "<form" not in sue.get(f"/admin/payments/{payment.id}").partition("<main")[2]
    sue.post(f"/admin/payments/{payment.id}/refund", 404, amount="30", returned="0", reason=REASON)
    sue.get("/admin/payments/none", 404)
    assert till.balance(payment.account_id) == "100.00"


@both_stores
def test_a_refund_that_is_pressed_at_once_goes_out_once(till: Till) -> None:
    payment = _credited(till)
    gate, refused = threading.Barrier(3), list[str]()

    def refund() -> None:
        gate.wait(30)
        try:
            till.cashier.refund(payment.id, 3_000, 0)
        except (RefundRunning, ValueError) as error:
            refused.append(type(error).__name__)

    threads = [threading.Thread(target=refund) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 2
    assert till.payment(payment.id).returned_kurus == 3_000
    assert till.balance(payment.account_id) == "75.00"


def test_a_refund_whose_answer_was_lost_is_not_made_again(
    root: Browser, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider had sent the money; pressed again, the same form would send it twice."""
    payment = _credited(till)
    here, form = f"/admin/payments/{payment.id}", {"amount": "30", "returned": "0", "reason": REASON}
    provider = type(till.cashier.providers["iyzico"])
    real = provider.refund

    def lost(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise ProviderFailed("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(provider, "refund", lost)
        assert "did not confirm" in root.post(f"{here}/refund", 503, **form)
    assert "under way" in root.post(f"{here}/refund", 409, **form)
    with till.services.store.transaction() as transaction:
        transaction.get_one(Payment, payment.id).refunding_until = now()
    assert "something went back meanwhile" in root.post(f"{here}/refund", 409, **form)
    assert till.payment(payment.id).returned_kurus == 3_000
    assert till.balance(payment.account_id) == "75.00"
    root.post(f"{here}/refund", 200, **{**form, "returned": "3000"})
    assert till.balance(payment.account_id) == "50.00"


def _invoice_of(till: Till, payment: Payment) -> Invoice:
    with till.services.store.transaction() as transaction:
        return transaction.scalars(select(Invoice).where(Invoice.payment_id == payment.id)).one()


def _work(till: Till, office: Office, payment: Payment, state: InvoiceState) -> None:
    def there() -> bool:
        with till.services.store.transaction() as transaction:
            transaction.query(Invoice).update({"next_at": Invoice.issued_at})
        office.work()
        return bool(_invoice_of(till, payment).state == state)

    eventually(there)


def test_a_rejected_invoice_stands_first_and_is_sent_again(root: Browser, till: Till, office: Office) -> None:
    rejected = _credited(till)
    till.control(integrator_rejects=True)
    _work(till, office, rejected, InvoiceState.REJECTED)
    till.control()
    accepted = _credited(till, 20_000)
    _work(till, office, accepted, InvoiceState.ACCEPTED)
    page = root.get("/admin/invoices")
    first, second = rows_of(page)
    assert "rejected" in first
    assert "Reddedildi" in first
    assert "accepted" in second
    bad, good = _invoice_of(till, rejected), _invoice_of(till, accepted)
    assert len(rows_of(root.get(f"/admin/invoices?number={good.number.lower()}"))) == 1
    assert len(rows_of(root.get(f"/admin/invoices?state=rejected&account={bad.account_id}"))) == 1
    assert f"/admin/invoices/{good.id}/send" not in page
    assert "on its way" in root.post(f"/admin/invoices/{good.id}/send", 409)
    root.post("/admin/invoices/none/send", 404)
    root.post(f"/admin/invoices/{bad.id}/send")
    again = _invoice_of(till, rejected)
    assert (again.state, again.reason, again.number, again.xml) == (InvoiceState.ISSUED, "", bad.number, bad.xml)
    assert _acts(till.services, bad.id) == [("invoice.sent_again", "")]
    assert any("invoice issued" in row for row in rows_of(root.get(f"/admin/payments/{rejected.id}")))


def test_a_customer_has_a_list_of_invoices(till: Till, office: Office, browser: Browser) -> None:
    payment = _credited(till)
    _work(till, office, payment, InvoiceState.ACCEPTED)
    add_person(till.services, "ada@example.com", memberships={payment.account_id: Role.OWNER})
    browser.sign_in("ada@example.com")
    invoice = _invoice_of(till, payment)
    assert f'href="/invoices?account={payment.account_id}"' in browser.get("/payments")
    page = browser.get(f"/invoices?account={payment.account_id}")
    assert invoice.number in page
    for kind in ("pdf", "xml"):
        link = f"/invoices/{invoice.id}/{kind}"
        assert f'href="{link}"' in page
        assert browser.http.get(link).status_code == 200


def test_an_incident_is_closed_with_a_note_and_opens_again(root: Browser, sue: Browser, services: Services) -> None:
    report(services.store, "forged", detail="iyzico: no signature")
    report(services.store, "forged", detail="iyzico: wrong signature")
    page = root.get("/admin/incidents")
    (row,) = rows_of(page)
    assert "a message that the provider did not sign" in row
    assert "wrong signature 2" in row
    link = re.search(r'action="(/admin/incidents/(\w+)/close)"', page)
    assert link
    assert "Please give a reason" in root.post(link[1], 400, count="2")
    report(services.store, "forged", detail="iyzico: wrong again")
    assert "happened again" in root.post(link[1], 409, count="2", reason="a test of theirs")
    sue.post(link[1], 404, count="3", reason="not mine to close")
    assert "No incident here." in root.post(link[1], count="3", reason="a test of theirs")
    (row,) = rows_of(sue.get("/admin/incidents?state=closed"))
    assert "a test of theirs root" in row
    assert _acts(services, link[2]) == [("incident.closed", "a test of theirs")]
    report(services.store, "forged", detail="iyzico: once more")
    assert len(rows_of(root.get("/admin/incidents"))) == 1


def test_an_incident_leads_to_what_it_is_about(sue: Browser, till: Till) -> None:
    payment = till.begin(till.account())
    report(till.services.store, "other_amount", payment.id, "1.00 TRY")
    with till.services.store.transaction() as transaction:
        proposal = Proposal(
            form_id=new_id(),
            account_id=payment.account_id,
            kind="credit",
            currency="TRY",
            amount_kurus=1,
            reason="x",
            state="approved",
            proposed_by=new_id(),
        )
        transaction.add(proposal)
    report(till.services.store, "manual_credit_failed", proposal.id, "unavailable")
    page = sue.get("/admin/incidents")
    assert f'href="/admin/payments/{payment.id}"' in page
    assert f'href="/admin/credits?account={payment.account_id}"' in page
    assert "<form" not in page.partition("<main")[2]
    assert any("another amount was paid" in row for row in rows_of(sue.get(f"/admin/payments/{payment.id}")))
    with till.services.store.transaction() as transaction:
        assert transaction.query(Incident).count() == 2
