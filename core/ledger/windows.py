"""Windows of the log's time. Days are Europe/Istanbul's: UTC+3 the year round since 2016.

Nothing is ever reset: a counter belongs to its window's number, and another window has another number.
A change of Turkish law would come as a new rules version.
"""

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ISTANBUL_OFFSET_MS = 3 * 3_600_000


def minute_of(time_ms: int) -> int:
    """Number of the minute since 1970."""
    return time_ms // MINUTE_MS


def day_of(time_ms: int) -> int:
    """Number of the Istanbul day since 1970."""
    return (time_ms + ISTANBUL_OFFSET_MS) // DAY_MS


def minute_end_s(minute: int) -> int:
    """Unix seconds at which the minute is over."""
    return (minute + 1) * 60


def day_end_s(day: int) -> int:
    """Unix seconds at which the Istanbul day is over."""
    return ((day + 1) * DAY_MS - ISTANBUL_OFFSET_MS) // 1000
