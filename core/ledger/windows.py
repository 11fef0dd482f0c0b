"""Windows of the log's time. Days and months are Europe/Istanbul's: UTC+3 the year round since 2016.

Nothing is ever reset: a counter belongs to its window's number, and another window has another number.
A change of Turkish law would come as a new rules version.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ISTANBUL_OFFSET_MS = 3 * 3_600_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Windows(NamedTuple):
    """The numbers of the minute, the Istanbul day and the Istanbul month that a moment is in."""

    minute: int
    day: int
    month: int


def minute_of(time_ms: int) -> int:
    """Number of the minute since 1970."""
    return time_ms // MINUTE_MS


def day_of(time_ms: int) -> int:
    """Number of the Istanbul day since 1970."""
    return (time_ms + ISTANBUL_OFFSET_MS) // DAY_MS


@lru_cache(maxsize=64)
def month_of_day(day: int) -> int:
    """Number of the month, since the year 0, that an Istanbul day is in."""
    date = _EPOCH + timedelta(days=day)
    return date.year * 12 + date.month - 1


def windows_of(time_ms: int) -> Windows:
    """All windows that a moment is in."""
    day = day_of(time_ms)
    return Windows(minute_of(time_ms), day, month_of_day(day))


def minute_end_s(minute: int) -> int:
    """Unix seconds at which the minute is over."""
    return (minute + 1) * 60


def day_end_s(day: int) -> int:
    """Unix seconds at which the Istanbul day is over."""
    return ((day + 1) * DAY_MS - ISTANBUL_OFFSET_MS) // 1000


def month_end_s(month: int) -> int:
    """Unix seconds at which the Istanbul month is over."""
    year, index = divmod(month + 1, 12)
    first = datetime(year, index + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) - ISTANBUL_OFFSET_MS // 1000
