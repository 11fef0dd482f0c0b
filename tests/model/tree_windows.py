"""Windows and patterns of rules version 2 in other words than the ledger's: from the time zone database, by sorting."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from tests.model.reference import istanbul

MINUTE, DAILY, MONTHLY = "minute", "day", "month"


@lru_cache(maxsize=4096)
def window(kind: str, time_ms: int) -> object:
    """What all moments of one window have in common."""
    local = istanbul(time_ms)
    if kind == MINUTE:
        return time_ms // 60_000
    return local.date() if kind == DAILY else (local.year, local.month)


@lru_cache(maxsize=4096)
def turns(kind: str, time_ms: int) -> int:
    """Unix seconds at which the window is over."""
    midnight = istanbul(time_ms).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == MINUTE:
        return (time_ms // 60_000 + 1) * 60
    if kind == DAILY:
        return int((midnight + timedelta(days=1)).timestamp())
    following: datetime = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return int(following.timestamp())


def fits(pattern: str, model: str) -> bool:
    return pattern == model or (pattern[-1:] == "*" and model[: len(pattern) - 1] == pattern[:-1])


def closest(patterns: Iterable[str], model: str) -> str | None:
    """Exact, else the longest that fits."""
    fitting = sorted((p for p in patterns if fits(p, model)), key=len)
    exact = [p for p in fitting if p == model]
    return (exact or fitting[-1:] or [None])[0]


def sound(pattern: str) -> bool:
    return 1 <= len(pattern) <= 200 and pattern.find("*") in (-1, len(pattern) - 1)
