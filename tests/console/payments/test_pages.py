"""The customer's pages: billing details, top-up, payments; nobody sees somebody else's."""

import re

import pytest

from console.payments.cashier import OPEN_MAX
from console.payments.money import from_person, to_text
from console.payments.tables import State
from console.people.tables import Role
from proto.onysoft.v1.ledger_pb2 import USD
from tests.console.conftest import Browser, add_person
from tests.console.payments.conftest import Till, eventually

DETAILS = {
    "kind": "company",
    "name": "Örnek Yazılım Ltd. Şti.",
    "tax_id": "1234567808",
    "tax_office": "Kadıköy",
    "email": "muhasebe@example.com",
    "phone": "0216 555 11 22",
    "address": "Bağdat Cad. 1",
    "district": "Kadıköy",
    "city": "İstanbul",
}


@pytest.fixture
def provider() -> str:
    """The pages are the same for both."""
    return "iyzico"


def test_a_customer_tops_up_with_the_sandbox_card(till: Till, browser: Browser) -> None:
    account_id = till.account()
    add_person(till.services, "ada@example.com", memberships={account_id: Role.OWNER})
    browser.sign_in("ada@example.com")
    assert "Tax office" in browser.get("/top-up")
    assert "check its digits" in browser.post("/billing", 400, **{**DETAILS, "tax_id": "1234567800"})
    assert "Credit in lira" in browser.post("/billing", **DETAILS)
    shown = browser.get("/top-up/price?amount=1.000,50")
    assert all(amount in shown for amount in ("₺1,000.50", "₺200.10", "₺1,200.60"))
    assert "From ₺50.00" in browser.post("/top-up", 400, amount="49,99")
    page = browser.post("/top-up", amount="1.000,50")
    link = re.search(r'id="pay" href="([^"]+)"', page)
    identity = re.search(r"<code>([0-9a-f]{32})</code>", page)
    assert link
    assert identity
    till.pay(till.payment(identity[1]))
    eventually(lambda: till.payment(identity[1]).state == State.CREDITED)
    assert "in your balance" in browser.get(f"/payments/{identity[1]}")
    assert "₺1,200.60" in browser.get("/payments")
    assert till.balance(account_id) == "1000.50"


def test_nobody_sees_or_pays_for_somebody_elses_account(till: Till, browser: Browser) -> None:
    mine, theirs = till.customer("ada@example.com"), till.customer("eve@example.com")
    payment = till.begin(theirs)
    browser.sign_in("ada@example.com")
    for path in ("top-up", "payments", "billing"):
        browser.get(f"/{path}?account={theirs}", 404)
        browser.get(f"/{path}?account={mine}")
    browser.get(f"/payments/{payment.id}", 404)
    browser.get("/payments/nothing", 404)
    browser.post(f"/top-up?account={theirs}", 404, amount="100")
    browser.post(f"/billing?account={theirs}", 404, **DETAILS)
    browser.post(f"/billing/low-balance?account={theirs}", 404, threshold="10")


def test_a_member_who_does_not_own_the_account_sees_no_payment(till: Till, browser: Browser) -> None:
    till.customer("ada@example.com", Role.MEMBER)
    browser.sign_in("ada@example.com")
    for path in ("/top-up", "/payments", "/billing"):
        browser.get(path, 404)


def test_an_account_in_dollars_is_not_topped_up_by_card(till: Till, browser: Browser) -> None:
    account_id = till.account(currency=USD)
    till.profile(account_id)
    add_person(till.services, "bora@example.com", memberships={account_id: Role.PARTNER})
    browser.sign_in("bora@example.com")
    assert "cannot be topped up by card" in browser.get("/top-up", 400)
    assert "cannot be topped up by card" in browser.post("/top-up", 400, amount="100")


@pytest.mark.parametrize(
    ("text", "kurus"),
    [("1.234,50", 123_450), ("1234,5", 123_450), ("1234.50", 123_450), ("1.000", 100_000), ("250", 25_000)],
)
def test_amounts_are_read_as_people_write_them(text: str, kurus: int) -> None:
    assert from_person(text) == kurus
    assert from_person(to_text(kurus)) == kurus


@pytest.mark.parametrize("text", ["", "-5", "1,234", "1e5", "٣", "NaN", "1.2.3", "9" * 20])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_person(text)


def test_payments_that_nobody_finishes_do_not_pile_up(till: Till, browser: Browser) -> None:
    account_id = till.customer("ada@example.com")
    browser.sign_in("ada@example.com")
    for _ in range(OPEN_MAX):
        till.begin(account_id)
    assert "waiting already" in browser.post("/top-up", 429, amount="100")
