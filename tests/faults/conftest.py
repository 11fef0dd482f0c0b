"""One gateway that the fault tests hurt in turn, with short leases so that an orphaned hold ends soon."""

from collections.abc import Iterator

import pytest

from tests.faults.gateway import Gateway

ENVIRONMENT = {"ONYSOFT_HOLD_LEASE_S": "6", "ONYSOFT_CORE_SILENCE_S": "2", "ONYSOFT_CHECKPOINT_EVERY_S": "1"}


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two edges, two cores; restarted by their supervisor when a test kills them."""
    gateway = Gateway(tmp_path_factory.mktemp("hurt") / "data", edges=2, cores=2, environment=ENVIRONMENT)
    gateway.start()
    yield gateway
    assert gateway.stop() == 0, gateway.screen_tail()
