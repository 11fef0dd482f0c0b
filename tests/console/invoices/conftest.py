"""Invoices are tested with the same console, gateway and sandbox as payments."""

import pytest

from tests.console.payments.conftest import port, services, till

__all__ = ["port", "provider", "services", "till"]


@pytest.fixture
def provider() -> str:
    """Which payment provider it was does not matter here."""
    return "iyzico"
