"""Values of the sandbox's control, read from JSON. Each reader raises BadControl, whose text names the key."""

from typing import Any

RATES_SUM_MAX = 1.0


class BadControl(Exception):
    """The text names the key that was refused."""


def number(name: str, value: Any) -> float:
    """A number from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise BadControl(f"{name}: a number from 0 is needed")
    return float(value)


def whole(name: str, value: Any) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise BadControl(f"{name}: a whole number from 0 is needed")
    return value


def tokens(name: str, value: Any) -> int | None:
    """A whole number from 0, or null for never."""
    return None if value is None else whole(name, value)


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BadControl(f"{name}: true or false is needed")
    return value


def rate(name: str, value: Any) -> float:
    """A share from 0 to 1."""
    share = number(name, value)
    if share > 1:
        raise BadControl(f"{name}: a rate from 0 to 1 is needed")
    return share


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise BadControl(f"{name}: a string is needed")
    return value


def rates(name: str, value: Any) -> dict[int, float]:
    """Shares by HTTP status."""
    if not isinstance(value, dict):
        raise BadControl(f"{name}: an object of status and rate is needed")
    found = {}
    for status, share in value.items():
        if not (status.isascii() and status.isdigit() and 400 <= int(status) <= 599):
            raise BadControl(f"{name}: {status} is not an error status")
        found[int(status)] = rate(name, share)
    if sum(found.values()) > RATES_SUM_MAX + 1e-9:
        raise BadControl(f"{name}: the rates' sum is over 1")
    return found


def ids(name: str, value: Any) -> tuple[str, ...]:
    """Ids of models."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadControl(f"{name}: a list of model ids is needed")
    return tuple(value)
