"""Profiles: `pytest tests/model --hypothesis-profile=long` searches for minutes instead of seconds."""

import pytest
from hypothesis import HealthCheck, settings

from core.ledger import fold
from tests.model.world import FINGERPRINT_EVERY

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=QUIET)
settings.register_profile("mutants", max_examples=10, deadline=None, derandomize=True, database=None)


@pytest.fixture(autouse=True)
def _frequent_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "FINGERPRINT_EVERY", FINGERPRINT_EVERY)
