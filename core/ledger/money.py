"""Money is an int of nano-units (10^-9 of a currency), at most int64. No float touches it."""

import re

NANO = 1_000_000_000
MAX_NANO = 2**63 - 1

_PLAIN = re.compile(r"([+-]?)([0-9]{1,19})(?:\.([0-9]{1,30}))?")


def to_text(nano: int) -> str:
    """`1500000000` → `1.50`: a decimal with at least two places and no more than are needed."""
    sign = "-" if nano < 0 else ""
    units, rest = divmod(abs(nano), NANO)
    places = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units}.{places}"


def from_text(text: str) -> int:
    """`1.50` → `1500000000`.

    Raises ValueError when the text is not a plain decimal (digits, one point, a sign), has more than nine places that
    count, or exceeds int64.
    """
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise ValueError("not a decimal number")
    sign, units, places = match.groups(default="")
    places = places.rstrip("0")
    if len(places) > 9:
        raise ValueError("more than nine decimal places")
    nano = int(units) * NANO + int(places.ljust(9, "0"))
    if nano > MAX_NANO:
        raise ValueError("too large")
    return -nano if sign == "-" else nano


def ceil_div(numerator: int, denominator: int) -> int:
    """The one rounding of a charge: up, to a whole nano-unit."""
    return -(-numerator // denominator)
