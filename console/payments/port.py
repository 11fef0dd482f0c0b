"""What a payment provider must be able to do. Adapters: `iyzico.py`, `paytr.py`; the sandbox speaks both protocols.

No card number passes through here: the provider's own page asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum, unique
from typing import Protocol


class ProviderFailed(Exception):
    """The provider could not be asked, or did not answer sensibly. Nothing is known; asking again is right."""


class Forged(Exception):
    """A message is not from the provider: its signature is wrong or missing."""


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who pays, as providers want to know it."""

    id: str
    name: str
    surname: str
    email: str
    phone: str
    identity_number: str
    address: str
    city: str
    country: str
    network_address: str


@dataclass(frozen=True, slots=True)
class Order:
    """A payment to begin. Amounts in kuruş."""

    payment_id: str
    gross_kurus: int
    currency: str
    description: str
    language: str
    buyer: Buyer
    return_url: str  # where the provider's page sends the browser


@dataclass(frozen=True, slots=True)
class Begun:
    """The provider knows of the payment: its token, and the page that asks for the card."""

    token: str
    page_url: str


@unique
class Standing(StrEnum):
    """What the provider says of a payment."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the provider said, checked to be the provider's words. Amounts in kuruş."""

    payment_id: str
    standing: Standing
    paid_kurus: int = 0
    currency: str = ""
    provider_payment_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known here of a payment that the provider is asked about."""

    payment_id: str
    token: str
    provider_payment_id: str
    created_on: date


@dataclass(frozen=True, slots=True)
class Notice:
    """A genuine message about a payment. `finding` where the message itself says all; else the provider is asked."""

    payment_id: str
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """One line of a day's listing. What was given back in the provider's panel may name its own number alone."""

    payment_id: str
    returned: bool  # money went back, rather than came
    provider_payment_id: str = ""


class Provider(Protocol):
    """A payment provider. Every method may raise ProviderFailed."""

    name: str

    def begin(self, order: Order) -> Begun:
        """Tell it of a payment; the customer has not paid yet."""

    def look(self, known: Known) -> Finding:
        """How the payment stands."""

    def returned_kurus(self, known: Known) -> int:
        """Gross sum of all refunds and chargebacks of a payment until now."""

    def mentions(self, day: date) -> list[Mention]:
        """Everything that moved money on a day of Istanbul."""

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """Read what was posted to the webhook's address. Raises Forged."""

    def refund(self, known: Known, kurus: int) -> None:
        """Send money back to the card."""
