"""The console on a real port, in front of a real gateway, with the sandbox as payment provider."""

import json
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from cli.client import Caller
from console.app import make_app
from console.invoices.tables import BillingProfile
from console.payments.cashier import Cashier
from console.payments.money import price_of
from console.payments.port import Buyer
from console.payments.rounds import Rounds
from console.payments.tables import Incident, Payment
from console.people.tables import Role
from console.services import Services, open_services
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.settings import Settings
from sandbox.payments.paytr import MERCHANT_ID, MERCHANT_KEY, MERCHANT_SALT
from tests.conftest import free_port
from tests.console.conftest import add_person
from tests.faults.gateway import Gateway

WAIT_S = 30.0
GOOD_CARD = "5528790000000008"
POOR_CARD = "4111111111111129"


def eventually(what: Callable[[], Any]) -> Any:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


@dataclass
class Till:
    """One console with its cashier, and the customers of a test."""

    services: Services
    gateway: Gateway

    @property
    def cashier(self) -> Cashier:
        """Made for each use."""
        return Cashier(self.services.settings, self.services.store, self.services.gateway)

    @property
    def rounds(self) -> Rounds:
        """The jobs' work."""
        return Rounds(self.services.settings, self.services.store, self.cashier)

    def account(self, currency: "ledger.Currency.ValueType" = ledger.TRY) -> str:
        """A fresh account in the ledger."""
        request = admin.OpenAccountRequest(kind=ledger.USER, name="payer", currency=currency)
        return str(self.services.gateway.call("OpenAccount", request, Caller("test")).account_id)

    def customer(self, email: str, role: Role = Role.OWNER) -> str:
        """A person with an account and billing details: the account's id."""
        account_id = self.account()
        add_person(self.services, email, memberships={account_id: role})
        self.profile(account_id)
        return account_id

    def profile(self, account_id: str, kind: str = "person", tax_id: str = "10000000146") -> None:
        """Billing details."""
        with self.services.store.transaction() as transaction:
            transaction.merge(
                BillingProfile(
                    account_id=account_id,
                    kind=kind,
                    name="Ayşe Öztürk" if kind == "person" else "Örnek Yazılım Ltd. Şti.",
                    tax_id=tax_id,
                    tax_office="" if kind == "person" else "Kadıköy",
                    email="ayse@example.com",
                    phone="+905551112233",
                    address="Bağdat Cad. 1",
                    district="Kadıköy",
                    city="İstanbul",
                )
            )

    def begin(self, account_id: str, net_kurus: int = 10_000) -> Payment:
        """A payment whose page waits for a card."""
        buyer = Buyer(
            "p" * 32, "Ayşe", "Öztürk", "a@example.com", "+90555", "10000000146", "Cad. 1", "İst", "Türkiye", "10.0.0.1"
        )
        payment_id = self.cashier.open(account_id, price_of(net_kurus, 2_000), buyer, "tr", "API kredisi")
        return self.payment(payment_id)

    def payment(self, payment_id: str) -> Payment:
        """As it stands now."""
        with self.services.store.transaction() as transaction:
            return transaction.get_one(Payment, payment_id)

    def pay(self, payment: Payment, card: str = GOOD_CARD, come_back: bool = True) -> None:
        """Fill in the provider's page as a browser does, and go where it leads."""
        assert payment.page_url
        html = _post(payment.page_url, {"card": card} | ({} if come_back else {"close": "1"}))
        form = re.search(r'<form method="(\w+)" action="([^"]+)"', html)
        token = re.search(r'name="token" value="(\w+)"', html)
        if form and form[1] == "post" and token:
            _post(form[2], {"token": token[1]})

    def balance(self, account_id: str) -> str:
        """What the ledger says."""
        return str(
            self.services.gateway.call("GetBalance", admin.AccountRef(account_id=account_id), Caller("test")).balance
        )

    def incidents(self) -> set[str]:
        """Kinds of what somebody must look at."""
        with self.services.store.transaction() as transaction:
            return {each.kind for each in transaction.query(Incident).all()}

    def act(self, action: str, payment: Payment, **more: Any) -> dict[str, Any]:
        """Tell the sandbox to pay, to give back or to notify."""
        body = json.dumps({"order": payment.id, **more}).encode()
        request = urllib.request.Request(f"{self.gateway.sandbox_url}/sandbox/payments/{action}", data=body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            shown: dict[str, Any] = json.loads(answer.read())
            return shown

    def control(self, **faults: Any) -> None:
        """What goes wrong with payments from now on."""
        self.gateway.control(payments=faults)


def _post(url: str, fields: dict[str, str]) -> str:
    request = urllib.request.Request(url, data=urllib.parse.urlencode(fields).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(params=["iyzico", "paytr"])
def provider(request: pytest.FixtureRequest) -> str:
    """Everything here must hold with both."""
    return str(request.param)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """SQLite, and PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return ""
    uri: str = request.getfixturevalue("postgres")
    return uri


@pytest.fixture
def port() -> int:
    """Of the console."""
    return free_port()


@pytest.fixture
def services(gateway: Gateway, tmp_path: Path, database: str, provider: str, port: int) -> Iterator[Services]:
    """The console's own parts, with the sandbox for a provider."""
    opened = open_services(
        Settings(
            console_dir=tmp_path,
            console_database=database,
            console_secret="c" * 32,
            console_url=f"http://127.0.0.1:{port}",
            api_url=gateway.base_urls[0],
            admin_address=gateway.document["admin_address"],
            admin_token=gateway.document["admin_token"],
            sandbox_url=gateway.sandbox_url,
            payment_provider="sandbox" if provider == "iyzico" else "paytr",
            paytr_url=gateway.sandbox_url,
            paytr_merchant_id=MERCHANT_ID,
            paytr_merchant_key=MERCHANT_KEY,
            paytr_merchant_salt=MERCHANT_SALT,
            payment_listing_days=1,
            seller_tax_id="1234567808",
            seller_name="Onysoft Deneme A.Ş.",
            seller_tax_office="Maslak",
            seller_address="Büyükdere Cad. 1",
            seller_district="Sarıyer",
            seller_city="İstanbul",
        )
    )
    yield opened
    opened.gateway.close()
    opened.store.close()


@pytest.fixture
def till(services: Services, gateway: Gateway, port: int) -> Iterator[Till]:
    """The console serves while the test runs; its jobs run when the test says so."""
    config = uvicorn.Config(make_app(services), host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield Till(services, gateway)
    gateway.control()
    server.should_exit = True
    thread.join()
