"""Usage Analysis: the use of everything below the partner, drawn and as CSV, with the way to the limits of each."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from starlette.responses import Response

from console.analytics import AnalyticsAway, Used
from console.pages.keys import keys_of
from console.pages.partner import figures
from console.pages.partner.place import accounts_below, current_partner
from console.pages.usage import csv_file, every_day, series
from console.web.context import Context, Problem
from console.web.days import DAYS_MAX, span_of
from console.web.guards import Guard, Row
from console.web.paging import ROWS_A_PAGE, page_of
from console.web.reach import MOVES_MONEY, may
from proto.onysoft.v1 import admin_pb2 as admin
from runtime import ids

GROUPS = ("day", "account", "model", "key")
CURRENCIES = ("TRY", "USD")
CSV_ROWS_MAX = 100_000
MODEL_CHARACTERS_MAX = 200
TAIL_CHARACTERS = 6


def usage(context: Context) -> Response:
    """A chart and a table of one grouping; a page of fifty at a time, but all days."""
    partner, group_by, page = current_partner(context), _group(context), page_of(context)
    asked, one = _asked(context, partner)
    rows: list[figures.Line] | None
    total: figures.Line | None = None
    limit, offset = (DAYS_MAX, 0) if group_by == "day" else (ROWS_A_PAGE + 1, page * ROWS_A_PAGE)
    try:
        rows = figures.usage(context.services.analytics, asked, group_by, limit, offset)
        total = next(iter(figures.usage(context.services.analytics, asked, "all", 1)), None)
    except AnalyticsAway:
        rows = None
    shown = (rows or []) if group_by == "day" else (rows or [])[:ROWS_A_PAGE]
    accounts = {} if group_by in ("day", "model") else accounts_below(context, partner, [x.account_id for x in shown])
    keys = {key.key_id: key.name for key in keys_of(context, one)} if one and group_by == "key" else {}
    drawn = [_named(row.used, accounts, keys) for row in shown]
    query = _query(asked)
    values = {
        "partner": partner,
        "asked": asked,
        "one": one,
        "groups": GROUPS,
        "group_by": group_by,
        "currencies": CURRENCIES,
        "rows": None if rows is None else shown,
        "total": total,
        "accounts": accounts,
        "keys": keys,
        "series": series(every_day(drawn, asked.first, asked.last) if group_by == "day" and drawn else drawn, group_by),
        "query": query,
        "here": f"/partner/usage?{query}&group_by={group_by}",
        "page": page,
        "more": rows is not None and len(rows) > len(shown),
        "may_change": may(context, partner, MOVES_MONEY),
    }
    return context.render("partner/usage.html", values)


def _named(row: Used, accounts: Mapping[str, admin.Account], keys: Mapping[str, str]) -> Used:
    """As the chart calls it: accounts and keys by their names, others by their ends, which tell them apart."""
    if row.name.startswith(ids.KEY):
        return replace(row, name=keys.get(row.name) or f"…{row.name[-TAIL_CHARACTERS:]}")
    account = accounts.get(row.name)
    return replace(row, name=account.name) if account is not None and account.name else row


def usage_csv(context: Context) -> Response:
    """The same rows, all of them and exact, for a spreadsheet."""
    partner, group_by = current_partner(context), _group(context)
    asked, _ = _asked(context, partner)
    try:
        rows = figures.usage(context.services.analytics, asked, group_by, CSV_ROWS_MAX)
    except AnalyticsAway:
        raise Problem(context.translate("Usage cannot be read right now. Please try again shortly."), 503) from None
    own = f"partner_charge_{partner.balance.currency}"
    header = (group_by, "account", "currency", "calls", "charge", own, "prompt_tokens", "completion_tokens", "refused")
    table = [
        (
            row.used.name,
            row.account_id if group_by in ("account", "key") else "",
            asked.currency,
            row.used.calls,
            row.used.charge,
            row.own,
            row.used.prompt_tokens,
            row.used.completion_tokens,
            row.refused,
        )
        for row in rows
    ]
    name = f"usage-{partner.account_id}-{group_by}-{asked.currency}-{asked.first}-{asked.last}.csv"
    return csv_file(name, header, table)


def _asked(context: Context, partner: admin.Account) -> tuple[figures.Asked, admin.Account | None]:
    """What the query asks for, and the one account that it names, if it does."""
    query, (first, last) = context.request.query_params, span_of(context)
    named = query.get("of", "")
    one = accounts_below(context, partner, [named]).get(named) if named.startswith(ids.ACCOUNT) else None
    currency = query.get("currency", "")
    if one is not None:
        currency = one.balance.currency
    return (
        figures.Asked(
            partner_id=partner.account_id,
            currency=currency if currency in CURRENCIES else CURRENCIES[0],
            first=first,
            last=last,
            account_id=one.account_id if one is not None else "",
            model=query.get("model", "").strip()[:MODEL_CHARACTERS_MAX],
        ),
        one,
    )


def _query(asked: figures.Asked) -> str:
    values: Mapping[str, str] = {
        "account": asked.partner_id,
        "currency": asked.currency,
        "from": asked.first.isoformat(),
        "to": asked.last.isoformat(),
        "of": asked.account_id,
        "model": asked.model,
    }
    return urlencode({name: value for name, value in values.items() if value})


def _group(context: Context) -> str:
    asked = context.request.query_params.get("group_by", "")
    return asked if asked in GROUPS else "account"


ROWS = [
    Row("/partner/usage", usage, Guard.PERSON),
    Row("/partner/usage.csv", usage_csv, Guard.PERSON),
]
