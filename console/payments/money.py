"""Amounts of a top-up in whole kuruş. Nothing here is a float."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

BPS = 10_000
_DIGITS_MAX = 12


@dataclass(frozen=True, slots=True)
class Price:
    """What is credited, the tax on top, and what the card pays."""

    net_kurus: int
    vat_kurus: int

    @property
    def gross_kurus(self) -> int:
        """What the card pays."""
        return self.net_kurus + self.vat_kurus


def price_of(net_kurus: int, vat_bps: int) -> Price:
    """VAT on top, rounded half up to the kuruş as invoices round it."""
    return Price(net_kurus, share(net_kurus, vat_bps, BPS))


def share(kurus: int, part: int, whole: int) -> int:
    """`kurus * part / whole`, rounded half up."""
    return (2 * kurus * part + whole) // (2 * whole)


def to_text(kurus: int) -> str:
    """`123450` → `1234.50`."""
    sign, kurus = ("-", -kurus) if kurus < 0 else ("", kurus)
    return f"{sign}{kurus // 100}.{kurus % 100:02d}"


def from_text(text: str) -> int:
    """A provider's decimal, such as `1234.5`, in kuruş. Raises ValueError for anything finer or not a number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not value.is_finite() or value.adjusted() > _DIGITS_MAX:
        raise ValueError("out of range")
    kurus = value * 100
    if kurus != kurus.to_integral_value():
        raise ValueError("finer than a kuruş")
    return int(kurus)


def from_person(text: str) -> int:
    """What somebody typed: `1.234,50`, `1234,5`, `1234.50`, `1.000`. Raises ValueError.

    A comma is the decimal sign; without one, a single point with one or two digits behind it is.
    """
    text = text.replace(" ", "").replace("₺", "").removesuffix("TL")
    if "," in text:
        whole, _, fraction = text.rpartition(",")
        text = f"{whole.replace('.', '')}.{fraction}"
    elif "." in text and len(text.rpartition(".")[2]) == 3:
        text = text.replace(".", "")
    if not text.replace(".", "", 1).isdecimal() or not text.isascii() or len(text) > _DIGITS_MAX:
        raise ValueError("not an amount")
    return from_text(text)


def rounded(value: Decimal) -> Decimal:
    """To the kuruş, half up."""
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)
