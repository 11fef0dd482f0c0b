"""Days as Turkey counts them, and the span of days that a page is about."""

from datetime import date, datetime, time, timedelta

from console.web.context import Context
from console.web.language import ISTANBUL

DAYS_SHOWN = 30
DAYS_MAX = 400


FIRST_DAY = date(2020, 1, 1)


def midnight(day: date) -> datetime:
    """The moment at which a day begins in Istanbul."""
    return datetime.combine(day, time(), ISTANBUL)


def day_of(text: str) -> date | None:
    """A day that a form names; None where it is missing or senseless."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= today() + timedelta(days=1) else None


def today() -> date:
    """This day in Istanbul."""
    return datetime.now(ISTANBUL).date()


def span_of(context: Context) -> tuple[date, date]:
    """`from` and `to` of the query, both included; the last thirty days where they are missing or senseless."""
    asked = context.request.query_params
    last = day_of(asked.get("to", "")) or today()
    first = day_of(asked.get("from", "")) or last - timedelta(days=DAYS_SHOWN - 1)
    if not timedelta(0) <= last - first < timedelta(days=DAYS_MAX):
        first = last - timedelta(days=DAYS_SHOWN - 1)
    return first, last


def month_of(context: Context) -> date:
    """The first day of the `month` of the query, such as `2026-11`; of this one where it is missing or senseless."""
    try:
        first = date.fromisoformat(context.request.query_params.get("month", "") + "-01")
    except ValueError:
        return today().replace(day=1)
    return first if FIRST_DAY <= first <= today() else today().replace(day=1)


def month_after(first: date, months: int = 1) -> date:
    """The first day of the month so many months later."""
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)
