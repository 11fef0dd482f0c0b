"""Days as Turkey counts them, and the span of days that a page is about."""

from datetime import date, datetime, timedelta

from console.web.context import Context
from console.web.language import ISTANBUL

DAYS_SHOWN = 30
DAYS_MAX = 400


def today() -> date:
    """This day in Istanbul."""
    return datetime.now(ISTANBUL).date()


def span_of(context: Context) -> tuple[date, date]:
    """`from` and `to` of the query, both included; the last thirty days where they are missing or senseless."""
    last = _day(context, "to", today())
    first = _day(context, "from", last - timedelta(days=DAYS_SHOWN - 1))
    if not timedelta(0) <= last - first < timedelta(days=DAYS_MAX):
        first = last - timedelta(days=DAYS_SHOWN - 1)
    return first, last


def month_of(context: Context) -> date:
    """The first day of the `month` of the query, such as `2026-11`; of this one where it is missing or senseless."""
    try:
        first = date.fromisoformat(context.request.query_params.get("month", "") + "-01")
    except ValueError:
        return today().replace(day=1)
    return first if date(2020, 1, 1) <= first <= today() else today().replace(day=1)


def month_after(first: date, months: int = 1) -> date:
    """The first day of the month so many months later."""
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _day(context: Context, name: str, otherwise: date) -> date:
    try:
        day = date.fromisoformat(context.request.query_params.get(name, ""))
    except ValueError:
        return otherwise
    return day if date(2020, 1, 1) <= day <= today() + timedelta(days=1) else otherwise
