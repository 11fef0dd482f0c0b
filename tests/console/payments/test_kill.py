"""The console is killed after it learnt of a payment and before the ledger did: the customer still gets the credit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.payments.tables import State
from console.services import Services
from tests.conftest import free_port
from tests.console.payments.conftest import Till, eventually
from tests.faults.gateway import Gateway

ROOT = Path(__file__).parents[3]
NOBODY = "127.0.0.1:9"


@pytest.fixture
def provider() -> str:
    """One is enough: nothing of this is the provider's."""
    return "paytr"


@contextmanager
def console(services: Services, port: int, admin_address: str) -> Iterator[None]:
    """A console process on the test's store; killed at the end."""
    settings = services.settings
    told = {
        "CONSOLE_DIR": settings.console_dir,
        "CONSOLE_PORT": port,
        "CONSOLE_SECRET": settings.console_secret.get_secret_value(),
        "CONSOLE_URL": settings.console_url,
        "API_URL": settings.api_url,
        "ADMIN_ADDRESS": admin_address,
        "ADMIN_TOKEN": settings.admin_token.get_secret_value(),
        "PAYMENT_PROVIDER": settings.payment_provider,
        "PAYTR_URL": settings.paytr_url,
        "PAYTR_MERCHANT_ID": settings.paytr_merchant_id,
        "PAYTR_MERCHANT_KEY": settings.paytr_merchant_key.get_secret_value(),
        "PAYTR_MERCHANT_SALT": settings.paytr_merchant_salt.get_secret_value(),
        "OPS_PORT": free_port(),
    }
    environment = {**os.environ, **{f"ONYSOFT_{name}": str(value) for name, value in told.items()}}
    command = [sys.executable, "-m", "cli.main", "console"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        assert process.poll() is None
        process.kill()
        process.wait(30)


def test_a_death_between_paid_and_credited_costs_nothing(services: Services, gateway: Gateway, port: int) -> None:
    till = Till(services, gateway)
    account_id = till.account()
    payment = till.begin(account_id)
    with console(services, port, NOBODY):
        till.pay(payment, come_back=False)
        eventually(lambda: till.payment(payment.id).state == State.PAID)
    assert till.balance(account_id) == "0.00"
    for _ in range(2):
        with console(services, port, services.settings.admin_address):
            eventually(lambda: till.payment(payment.id).state == State.CREDITED)
            till.act("notify", payment)
    assert till.balance(account_id) == "100.00"
