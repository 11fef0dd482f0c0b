"""Margins: what the partner's customers paid, against what the partner paid for the same calls."""

from datetime import date

from starlette.responses import Response

from console.analytics import AnalyticsAway
from console.pages.partner import figures
from console.pages.partner.place import accounts_below, current_partner
from console.pages.usage import csv_file
from console.web.context import Context, Problem
from console.web.days import month_after, month_of
from console.web.guards import Guard, Row
from console.web.paging import ROWS_A_PAGE, page_of

GROUPS = ("customer", "month")
MONTHS_SHOWN = 12
CSV_ROWS_MAX = 100_000


def margins(context: Context) -> Response:
    """Of a month by customer, fifty at a time; or of the twelve months up to it."""
    partner, month, group_by, page = current_partner(context), month_of(context), _group(context), page_of(context)
    first, end = _span(month, group_by)
    analytics = context.services.analytics
    rows: list[figures.Margin] | None
    total: figures.Margin | None = None
    try:
        offset = page * ROWS_A_PAGE
        rows = figures.margins(analytics, partner.account_id, first, end, group_by, ROWS_A_PAGE + 1, offset)
        total = next(iter(figures.margins(analytics, partner.account_id, first, end, "all", 1)), None)
    except AnalyticsAway:
        rows = None
    shown = (rows or [])[:ROWS_A_PAGE]
    by_customer = group_by == "customer"
    values = {
        "partner": partner,
        "month": month,
        "groups": GROUPS,
        "group_by": group_by,
        "rows": None if rows is None else shown,
        "total": total,
        "accounts": accounts_below(context, partner, [row.name for row in shown]) if by_customer else {},
        "page": page,
        "more": rows is not None and len(rows) > len(shown),
    }
    return context.render("partner/margins.html", values)


def margins_csv(context: Context) -> Response:
    """The same rows, all of them and exact, for a spreadsheet."""
    partner, month, group_by = current_partner(context), month_of(context), _group(context)
    first, end = _span(month, group_by)
    try:
        rows = figures.margins(context.services.analytics, partner.account_id, first, end, group_by, CSV_ROWS_MAX)
    except AnalyticsAway:
        raise Problem(context.translate("Usage cannot be read right now. Please try again shortly."), 503) from None
    header = (group_by, "calls", "paid_TRY", "cost_USD", "cost_TRY", "margin_TRY")
    table = [(row.name, row.calls, row.paid, row.cost_usd, row.cost, row.margin) for row in rows]
    return csv_file(f"margins-{partner.account_id}-{group_by}-{first}-{end}.csv", header, table)


def _span(month: date, group_by: str) -> tuple[date, date]:
    """First day, and the first one that is not included any more."""
    end = month_after(month)
    return (month if group_by == "customer" else month_after(end, -MONTHS_SHOWN)), end


def _group(context: Context) -> str:
    asked = context.request.query_params.get("group_by", "")
    return asked if asked in GROUPS else GROUPS[0]


ROWS = [
    Row("/partner/margins", margins, Guard.PERSON),
    Row("/partner/margins.csv", margins_csv, Guard.PERSON),
]
