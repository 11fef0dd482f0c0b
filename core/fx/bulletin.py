"""The central bank of Turkey's bulletin of exchange rates, an XML that appears about 15:30 on business days.

On weekends and holidays the last one stays where it is. A currency's rates are for `Unit` of it (the yen's for 100),
and may be empty (the IMF's unit has no selling rate). Decimals have a dot.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from xml.etree import ElementTree

from core.ledger.money import ceil_div, from_text

BULLETIN_BYTES_MAX = 256 * 1024
UNIT_MAX = 1_000_000

_PUBLISHED_AFTER_MIDNIGHT_UTC = timedelta(hours=12, minutes=30)  # 15:30 in Istanbul, UTC+3 the year round


class BulletinUnreadable(Exception):
    """What came is not a bulletin; the message says where."""


class Bulletin(NamedTuple):
    """`rates`: what the bank sells one unit of a currency for, in nano-lira. The house buys its dollars there."""

    day: date
    rates: Mapping[str, int]

    @property
    def reference(self) -> str:
        """The bulletin's name: its day, so that names sort as bulletins follow one another."""
        return self.day.isoformat()

    @property
    def published_ms(self) -> int:
        """Unix milliseconds at which it is due."""
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return int((midnight + _PUBLISHED_AFTER_MIDNIGHT_UTC).timestamp() * 1000)


def read(xml: bytes) -> Bulletin:
    """Raises BulletinUnreadable."""
    if len(xml) > BULLETIN_BYTES_MAX:
        raise BulletinUnreadable("it is too large")
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise BulletinUnreadable("it declares entities")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise BulletinUnreadable(f"it is not XML: {error}") from None
    if root.tag != "Tarih_Date":
        raise BulletinUnreadable("its root is not Tarih_Date")
    rates = {}
    for currency in root.iter("Currency"):
        rate_nano = _rate_of(currency)
        if rate_nano is not None:
            rates[currency.get("CurrencyCode", "")] = rate_nano
    return Bulletin(_day_of(root.get("Date", "")), rates)


def _day_of(text: str) -> date:
    try:
        return datetime.strptime(text, "%m/%d/%Y").date()
    except ValueError:
        raise BulletinUnreadable("its Date is not MM/DD/YYYY") from None


def _rate_of(currency: ElementTree.Element) -> int | None:
    """Nano-lira for one unit; None where the bulletin names no selling rate."""
    text = (currency.findtext("ForexSelling") or "").strip()
    if not text:
        return None
    unit = (currency.findtext("Unit") or "").strip()
    code = currency.get("CurrencyCode", "")
    if not (unit.isascii() and unit.isdigit() and 0 < int(unit) <= UNIT_MAX):
        raise BulletinUnreadable(f"the Unit of {code} is not a whole number")
    try:
        rate_nano = from_text(text)
    except ValueError as error:
        raise BulletinUnreadable(f"the rate of {code} is wrong: {error}") from None
    if rate_nano <= 0:
        raise BulletinUnreadable(f"the rate of {code} is not above 0")
    return ceil_div(rate_nano, int(unit))
