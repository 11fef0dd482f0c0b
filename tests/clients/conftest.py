"""One gateway for all client tests: two edges, two cores, nobody hurts it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from tests.faults.gateway import Customer, Gateway

ENVIRONMENT = {
    "ONYSOFT_FIRST_BYTE_TIMEOUT_S": "3",
    "ONYSOFT_PROVIDER_IDLE_TIMEOUT_S": "3",
    "ONYSOFT_KIE_CREATES_PER_10S": "2000",
    "ONYSOFT_TASK_POLL_S": "0.5",
}

Control = Callable[..., None]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Short provider timeouts, so that a provider that hangs is noticed within a test's patience."""
    gateway = Gateway(tmp_path_factory.mktemp("clients") / "data", edges=2, cores=2, environment=ENVIRONMENT)
    try:
        gateway.start()
        yield gateway
    finally:
        code = gateway.stop()
    assert code == 0, gateway.screen_tail()


@pytest.fixture(scope="session")
def rich(gateway: Gateway) -> Customer:
    """An account with much balance, no limits and the default markup of 50 %."""
    return gateway.open_account("1000", markup_bps=5000)


@pytest.fixture(scope="session")
def poor(gateway: Gateway) -> Customer:
    """An account without balance."""
    return gateway.open_account("0")


@pytest.fixture(scope="session")
def suspended(gateway: Gateway) -> Customer:
    """An account with balance that an operator has suspended."""
    customer = gateway.open_account("5")
    gateway.admin("SuspendAccount", admin.AccountRef(account_id=customer.account_id))
    return customer


@pytest.fixture
def control(gateway: Gateway) -> Iterator[Control]:
    """Tells the sandbox what to do wrong; afterwards it behaves again."""

    def put(**faults: Any) -> None:
        gateway.control(**faults)

    yield put
    gateway.control()
