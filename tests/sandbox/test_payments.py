"""The providers' own rules: a client that signs wrongly must fail here as it would there."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from console.payments.iyzico import Iyzico
from console.payments.paytr import PayTR
from console.payments.port import Buyer, Forged, Known, Order, Provider, ProviderFailed, Standing
from sandbox.payments import iyzico as iyzico_side
from sandbox.payments import paytr as paytr_side
from tests.faults.gateway import Gateway

BUYER = Buyer("p1", "Ayşe", "Öztürk", "a@b.co", "+905551112233", "10000000146", "Cad. 1", "İst", "Türkiye", "10.0.0.1")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running sandbox, as part of an instance."""
    gateway = Gateway(Path(tmp_path_factory.mktemp("payments")) / "data", edges=1, cores=1)
    gateway.start()
    yield gateway.sandbox_url
    gateway.stop()


@pytest.fixture(params=["iyzico", "paytr"])
def provider(request: pytest.FixtureRequest, url: str) -> Provider:
    """An adapter with the sandbox's keys."""
    if request.param == "iyzico":
        return Iyzico(url, iyzico_side.API_KEY, iyzico_side.SECRET_KEY)
    return PayTR(url, paytr_side.MERCHANT_ID, paytr_side.MERCHANT_KEY, paytr_side.MERCHANT_SALT)


def order(number: str) -> Order:
    """Of 120.50."""
    return Order(number, 12_050, "TRY", "API kredisi", "tr", BUYER, "http://127.0.0.1:9/payments/return/iyzico")


def known(number: str, token: str, provider_payment_id: str = "") -> Known:
    """What is known of it."""
    return Known(number, token, provider_payment_id, date.today())


def _tell(url: str, action: str, number: str, **more: object) -> None:
    body = json.dumps({"order": number, **more}).encode()
    urllib.request.urlopen(f"{url}/sandbox/payments/{action}", body, timeout=10).close()


def test_an_order_is_begun_paid_listed_and_given_back(provider: Provider, url: str) -> None:
    number = f"{provider.name}life"
    begun = provider.begin(order(number))
    assert provider.look(known(number, begun.token)).standing is Standing.PENDING
    with urllib.request.urlopen(begun.page_url, timeout=10) as page:
        assert b"120.50" in page.read()
    _tell(url, "pay", number)
    finding = provider.look(known(number, begun.token))
    assert (finding.standing, finding.paid_kurus, finding.currency) == (Standing.PAID, 12_050, "TRY")
    paid = known(number, begun.token, finding.provider_payment_id)
    provider.refund(paid, 2_050)
    assert provider.returned_kurus(paid) == 2_050
    with pytest.raises(ProviderFailed):
        provider.refund(paid, 10_001)
    mentioned = [each.returned for each in provider.mentions(date.today()) if each.payment_id == number]
    assert sorted(mentioned) == [False, True]


def test_wrong_keys_are_refused(provider: Provider, url: str) -> None:
    wrong = (
        Iyzico(url, iyzico_side.API_KEY, "another")
        if provider.name == "iyzico"
        else PayTR(url, paytr_side.MERCHANT_ID, "another", paytr_side.MERCHANT_SALT)
    )
    with pytest.raises(ProviderFailed):
        wrong.begin(order("wrong"))
    with pytest.raises(ProviderFailed):
        wrong.look(known("wrong", "token"))
    with pytest.raises(ProviderFailed):
        wrong.mentions(date.today())


def test_a_provider_that_is_away_is_not_waited_for(provider: Provider) -> None:
    away = (
        Iyzico("http://127.0.0.1:9", "a", "b")
        if provider.name == "iyzico"
        else PayTR("http://127.0.0.1:9", "1", "a", "b")
    )
    with pytest.raises(ProviderFailed):
        away.begin(order("away"))


def test_the_page_takes_no_real_card(provider: Provider) -> None:
    begun = provider.begin(order(f"{provider.name}card"))
    fields = urllib.parse.urlencode({"card": "4242424242424242"}).encode()
    with urllib.request.urlopen(begun.page_url, fields, timeout=10) as page:
        assert b"Only the sandbox" in page.read()
    assert provider.look(known(f"{provider.name}card", begun.token)).standing is Standing.PENDING


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b"merchant_oid=1", b'{"iyziEventType": 1}'])
def test_what_is_no_message_is_forged(provider: Provider, body: bytes) -> None:
    with pytest.raises(Forged):
        provider.notice({}, body)
