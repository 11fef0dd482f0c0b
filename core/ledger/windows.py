"""Windows of the log's time. Days and months are Europe/Istanbul's: UTC+3 the year round since 2016.

Nothing is ever reset: a counter belongs to its window's number, and another window has another number.
A change of Turkish law would come as a new rules version.
"""

from typing import NamedTuple

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ISTANBUL_OFFSET_MS = 3 * 3_600_000

_ERA_DAYS = 146_097
"""Days of 400 years, after which the calendar repeats."""

_MARCH_OF_0 = 719_468
"""Days from the first of March of the year 0 to 1970. Years are counted from March, so that a leap day comes last."""


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


def month_of_day(day: int) -> int:
    """Number of the month, since the year 0, that an Istanbul day is in."""
    era, day_of_era = divmod(day + _MARCH_OF_0, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - _days_of_years(year_of_era)
    months_since_march = (5 * day_of_year + 2) // 153
    return (era * 400 + year_of_era) * 12 + months_since_march + 2


def _first_day_of(month: int) -> int:
    """Number of the day, since 1970, that a month begins with."""
    year, months_since_march = divmod(month - 2, 12)
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * months_since_march + 2) // 5
    return era * _ERA_DAYS + _days_of_years(year_of_era) + day_of_year - _MARCH_OF_0


def _days_of_years(years: int) -> int:
    """Days in so many years, counted from the first of March of a year that 400 divides."""
    return 365 * years + years // 4 - years // 100


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
    return (_first_day_of(month + 1) * DAY_MS - ISTANBUL_OFFSET_MS) // 1000
