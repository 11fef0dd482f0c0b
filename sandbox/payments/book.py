"""The orders that merchants began, in memory."""

import itertools
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

ORDERS_MAX = 20_000
CARDS = {
    "5528790000000008": "",
    "4603450000000000": "",
    "4111111111111129": "Not sufficient funds",
    "4125111111111115": "Expired card",
}
"""The only numbers that the page takes, and why a payment with each is declined."""

_ISTANBUL = timezone(timedelta(hours=3))


@dataclass(slots=True)
class Return:
    """Money that went back."""

    kurus: int
    kind: str  # refund, chargeback
    at: float


@dataclass(slots=True)
class Order:
    """One order at one of the providers. Amounts in kuruş."""

    provider: str
    order: str
    token: str
    kurus: int
    currency: str
    return_url: str
    fail_url: str
    payment_id: str
    created_at: float = field(default_factory=time.time)
    state: str = "open"  # open, paid, declined
    reason: str = ""
    paid_at: float = 0.0
    returns: list[Return] = field(default_factory=list)
    webhooks: int = 0  # that were answered well

    @property
    def returned_kurus(self) -> int:
        """Sum of what went back."""
        return sum(each.kurus for each in self.returns)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "provider": self.provider,
            "order": self.order,
            "payment_id": self.payment_id,
            "token": self.token,
            "kurus": self.kurus,
            "currency": self.currency,
            "state": self.state,
            "reason": self.reason,
            "returned_kurus": self.returned_kurus,
            "webhooks": self.webhooks,
        }


class Book:
    """Orders by token and by number; the oldest leave when there are too many."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._numbers = itertools.count(20_000_000)

    def add(self, provider: str, order: str, kurus: int, currency: str, return_url: str, fail_url: str) -> Order:
        """A new order; the same number again gets a new token, as at the providers."""
        payment_id = str(next(self._numbers))
        made = Order(provider, order, secrets.token_hex(20), kurus, currency, return_url, fail_url, payment_id)
        self._orders[made.token] = made
        if len(self._orders) > ORDERS_MAX:
            self._orders.popitem(last=False)
        return made

    def by_token(self, provider: str, token: str) -> Order | None:
        """An order by its token."""
        found = self._orders.get(token)
        return found if found is not None and found.provider == provider else None

    def by_order(self, order: str) -> Order | None:
        """The newest with that number; a paid one before others."""
        found = [each for each in self._orders.values() if each.order == order]
        return max(found, key=lambda each: (each.state == "paid", each.created_at), default=None)

    def by_payment(self, payment_id: str) -> Order | None:
        """The order of the provider's own payment number."""
        return next((each for each in self._orders.values() if each.payment_id == payment_id), None)

    def movements(self, provider: str, day: str) -> list[tuple[Order, Return | None]]:
        """Payments and returns on a day of Istanbul, `YYYY-MM-DD`."""
        found: list[tuple[Order, Return | None]] = []
        for each in self._orders.values():
            if each.provider != provider or each.state != "paid":
                continue
            if day_of(each.paid_at) == day:
                found.append((each, None))
            found += [(each, back) for back in each.returns if day_of(back.at) == day]
        return found

    def listing(self) -> list[dict[str, Any]]:
        """All, oldest first."""
        return [each.shown() for each in self._orders.values()]


def day_of(moment: float) -> str:
    """The day in Istanbul."""
    return datetime.fromtimestamp(moment, UTC).astimezone(_ISTANBUL).date().isoformat()


def kurus_of(text: str) -> int:
    """`34.5` → 3450. Raises ValueError."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(2, "0")
    if not (whole.isdigit() and fraction.isdigit() and len(fraction) == 2):
        raise ValueError("not an amount")
    return int(whole) * 100 + int(fraction)


def lira(kurus: int) -> str:
    """3450 → `34.5`: the shortest text of the amount."""
    return f"{kurus // 100}.{kurus % 100:02d}".rstrip("0").rstrip(".")
