"""Whatever comes, in whichever order: the ledger has each payment once, or not at all."""

import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from cli.client import CallFailed
from console.payments.money import to_text
from console.payments.port import ProviderFailed
from console.payments.tables import Payment, Reversal, State
from tests.console.payments.conftest import POOR_CARD, Till, eventually


def test_a_payment_is_credited_net_of_tax_when_the_browser_comes_back(till: Till) -> None:
    account_id = till.account()
    payment = till.begin(account_id, 12_345)
    assert payment.gross_kurus == 14_814
    assert till.balance(account_id) == "0.00"
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)
    assert till.balance(account_id) == "123.45"
    assert not till.incidents()


def test_a_customer_who_closes_the_tab_is_credited_by_the_webhook(till: Till) -> None:
    payment = till.begin(till.account())
    till.pay(payment, come_back=False)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)


def test_without_webhook_and_browser_the_job_asks_and_the_listing_tells(till: Till) -> None:
    till.control(webhook_lost_rate=1.0)
    asked, listed = till.begin(till.account()), till.begin(till.account())
    with till.services.store.transaction() as transaction:
        transaction.get_one(Payment, listed.id).state = State.EXPIRED
        transaction.get_one(Payment, asked.id).next_at = asked.created_at
    for each in (asked, listed):
        till.pay(each, come_back=False)
    till.rounds.settle()
    assert till.payment(asked.id).state == State.CREDITED
    assert till.payment(listed.id).state == State.EXPIRED
    assert till.rounds.compare() == 1
    assert till.payment(listed.id).state == State.CREDITED
    assert till.rounds.compare() == 0


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_everything_at_once_credits_each_payment_once(till: Till) -> None:
    """Duplicates, delays, reordering, lost and forged webhooks, lost answers, closed tabs, two consoles' jobs."""
    account_id = till.account()
    till.control(
        seed=7,
        webhook_duplicates=2,
        webhook_delay_ms=30,
        webhook_reorder=True,
        webhook_lost_rate=0.3,
        webhook_bad_signature_rate=0.3,
        webhook_retry_ms=50,
        lose_answer_rate=0.1,
        http_error_rate=0.1,
        decline_rate=0.2,
    )
    payments = []
    for number in range(12):
        try:
            payments.append(till.begin(account_id, 10_000 + number))
        except ProviderFailed:
            continue
    assert payments
    busy = [threading.Thread(target=_repeat, args=(till,)) for _ in range(2)]
    for each in busy:
        each.start()
    for number, payment in enumerate(payments):
        till.pay(payment, come_back=number % 3 > 0)
    for each in busy:
        each.join()
    till.control()
    paid = {payment.id for payment in payments if till.act("notify", payment)["state"] == "paid"}
    assert len(paid) > 0
    eventually(lambda: all(till.payment(each).state == State.CREDITED for each in paid))
    till.rounds.compare()
    others = [payment for payment in payments if payment.id not in paid]
    assert all(till.payment(each.id).state != State.CREDITED for each in others)
    assert till.balance(account_id) == to_text(sum(each.net_kurus for each in payments if each.id in paid))


def _repeat(till: Till) -> None:
    for _ in range(4):
        till.rounds.settle()
        till.rounds.compare()


def test_a_forged_webhook_credits_nothing_and_is_reported(till: Till, provider: str) -> None:
    payment = till.begin(till.account())
    till.act("notify", payment, forged=True)
    eventually(lambda: "forged" in till.incidents())
    url = f"{till.services.settings.console_url}/payments/webhooks/{provider}"
    body = urllib.parse.urlencode(
        {"merchant_oid": payment.id, "status": "success", "total_amount": payment.gross_kurus, "hash": "x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, data=body.encode()), timeout=10)
    assert refused.value.code == 400
    assert till.payment(payment.id).state == State.PENDING


@pytest.mark.parametrize(
    ("fault", "incident"),
    [({"amount_off_kurus": 1}, "other_amount"), ({"currency": "USD"}, "other_currency")],
)
def test_another_amount_or_currency_credits_nothing_and_is_reported(
    till: Till, fault: dict[str, object], incident: str
) -> None:
    account_id = till.account()
    payment = till.begin(account_id)
    till.control(**fault)
    till.pay(payment)
    eventually(lambda: incident in till.incidents())
    till.rounds.compare()
    assert till.balance(account_id) == "0.00"
    assert till.payment(payment.id).credited_at is None


def test_an_answer_about_another_order_credits_nothing(till: Till) -> None:
    account_id = till.account()
    payment = till.begin(account_id)
    till.control(other_order=True)
    till.pay(payment)
    eventually(lambda: till.incidents() & {"other_order", "unknown_payment"})
    assert till.balance(account_id) == "0.00"


def test_a_declined_card_may_be_followed_by_a_good_one(till: Till) -> None:
    account_id = till.account()
    payment = till.begin(account_id)
    till.pay(payment, POOR_CARD)
    eventually(lambda: till.payment(payment.id).state == State.FAILED)
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)
    assert till.balance(account_id) == "100.00"


def test_a_ledger_that_is_away_gets_the_credit_later_and_once(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console knows that it was paid and dies, or the core does: the job picks it up."""
    account_id = till.account()
    payment = till.begin(account_id)
    whole = type(till.services.gateway).call

    def lost(self: object, method: str, request: object, actor: str) -> object:
        answer = whole(till.services.gateway, method, request, actor)
        if method == "CreditAccount":
            raise CallFailed("unavailable", "the answer was lost")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(type(till.services.gateway), "call", lost)
        till.pay(payment)
        eventually(lambda: till.payment(payment.id).attempts)
        assert till.payment(payment.id).state == State.PAID
    eventually(lambda: till.rounds.settle() or till.payment(payment.id).state == State.CREDITED)
    assert till.balance(account_id) == "100.00"


def test_refunds_leave_the_balance_once_and_the_rest_is_owed(till: Till) -> None:
    account_id = till.account()
    payment = till.begin(account_id)
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)
    till.cashier.refund(payment.id, 3_000)
    assert till.balance(account_id) == "75.00"
    till.act("return", payment, kurus=9_000, kind="chargeback")
    assert till.rounds.compare() == 1
    assert till.rounds.compare() == 0
    assert till.payment(payment.id).state == State.REFUNDED
    assert till.balance(account_id) == "0.00"
    with till.services.store.transaction() as transaction:
        rows = transaction.query(Reversal).filter_by(payment_id=payment.id).all()
    assert sum(row.net_kurus for row in rows) == payment.net_kurus
    with pytest.raises(ValueError, match="not refundable"):
        till.cashier.refund(payment.id, 1)


def test_a_payment_nobody_makes_expires_and_still_counts_when_it_comes(till: Till, tmp_path: Path) -> None:
    account_id = till.account()
    payment = till.begin(account_id)
    with till.services.store.transaction() as transaction:
        row = transaction.get_one(Payment, payment.id)
        row.expires_at = row.next_at = row.created_at
    till.rounds.settle()
    assert till.payment(payment.id).state == State.EXPIRED
    till.pay(payment)
    eventually(lambda: till.payment(payment.id).state == State.CREDITED)
    assert till.balance(account_id) == "100.00"
