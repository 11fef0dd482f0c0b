"""What was used: by day, model and key, drawn and as CSV."""

import csv
import io
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

import orjson
from starlette.responses import Response

from console.analytics import GROUPS, AnalyticsAway, Used
from console.pages.keys import keys_of
from console.web.context import Context, Problem
from console.web.days import span_of
from console.web.guards import Guard, Row
from console.web.reach import current_account
from proto.onysoft.v1 import admin_pb2 as admin

COLUMNS = ("calls", "charge", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


def usage(context: Context) -> Response:
    """A chart and a table of one grouping."""
    account, first, last = current_account(context), *span_of(context)
    group_by = _group(context)
    rows: list[Used] | None
    try:
        rows = context.services.analytics.usage(account.account_id, group_by, first, last)
    except AnalyticsAway:
        rows = None
    values = {
        "account": account,
        "currency": account.balance.currency,
        "group_by": group_by,
        "groups": list(GROUPS),
        "first": first,
        "last": last,
        "rows": rows,
        "names": _names(context, account) if group_by == "key" else {},
        "total": _total(rows or []),
        "series": series(every_day(rows, first, last) if group_by == "day" and rows else rows or [], group_by),
    }
    return context.render("usage.html", values)


def usage_csv(context: Context) -> Response:
    """The same rows, exact, for a spreadsheet."""
    account, first, last = current_account(context), *span_of(context)
    group_by = _group(context)
    try:
        rows = context.services.analytics.usage(account.account_id, group_by, first, last)
    except AnalyticsAway:
        raise Problem(context.translate("Usage cannot be read right now. Please try again shortly."), 503) from None
    table = [(row.name, account.balance.currency, *(getattr(row, name) for name in COLUMNS)) for row in rows]
    name = f"usage-{account.account_id}-{group_by}-{first}-{last}.csv"
    return csv_file(name, (group_by, "currency", *COLUMNS), table)


def csv_file(name: str, header: Iterable[str], table: Iterable[Iterable[object]]) -> Response:
    """A download for spreadsheets: amounts whole, and no text that would be taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in table)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return harmless(value) if isinstance(value, str) else value


def harmless(text: str) -> str:
    """A spreadsheet must not take a name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _group(context: Context) -> str:
    asked = context.request.query_params.get("group_by", "day")
    return asked if asked in GROUPS else "day"


def _names(context: Context, account: admin.Account) -> dict[str, str]:
    return {key.key_id: key.name for key in keys_of(context, account)}


def _total(rows: list[Used]) -> Used:
    sums = {name: sum(getattr(row, name) for row in rows) for name in COLUMNS if name != "charge"}
    return Used(name="", charge=sum((row.charge for row in rows), Decimal(0)), **sums)


def every_day(rows: list[Used], first: date, last: date) -> list[Used]:
    """Days without use too, so that the chart's distances are true."""
    days = {row.name: row for row in rows}
    names = [(first + timedelta(days=each)).isoformat() for each in range((last - first).days + 1)]
    return [days.get(name) or Used(name, 0, Decimal(0)) for name in names]


def series(rows: list[Used], group_by: str) -> str:
    """What the chart draws: names and amounts. A picture may round, the table does not."""
    shown = rows if group_by == "day" else rows[:12]
    return orjson.dumps(
        {
            "names": [row.name for row in shown],
            "charges": [float(row.charge) for row in shown],
            "calls": [row.calls for row in shown],
            "days": group_by == "day",
        }
    ).decode()


ROWS = [
    Row("/usage", usage, Guard.PERSON),
    Row("/usage.csv", usage_csv, Guard.PERSON),
]
