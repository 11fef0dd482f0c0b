"""What analytics says of everything below a partner. Every question is filtered by the partner's account."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from console.analytics import NANO, Analytics, Used, used

_DEAREST_FIRST = "charge_nano DESC, refused DESC, name"
GROUPS = {
    "day": ("toString(u.day)", "name"),
    "account": ("u.account_id", _DEAREST_FIRST),
    "model": ("u.model", _DEAREST_FIRST),
    "key": ("u.key_id", _DEAREST_FIRST),
    "all": ("''", "name"),
}
MARGIN_GROUPS = {
    "customer": ("c.account_id", "margin_nano DESC, name"),
    "month": ("formatDateTime(c.time, '%Y-%m', 'Europe/Istanbul')", "name DESC"),
    "all": ("''", "name"),
}


@dataclass(frozen=True, slots=True)
class Totals:
    """What accounts of one currency paid, and what the partner's own balance paid for their calls."""

    today: Decimal = Decimal(0)
    month: Decimal = Decimal(0)
    own_today: Decimal = Decimal(0)
    own_month: Decimal = Decimal(0)
    calls_today: int = 0
    calls: int = 0


def totals(analytics: Analytics, partner_id: str, today: date) -> dict[str, Totals]:
    """By currency, today and since the first of the month. Raises AnalyticsAway."""
    parameters = {"partner": partner_id, "first": today.replace(day=1), "today": today}
    return {
        row["currency"]: Totals(
            today=row["today_nano"] / NANO,
            month=row["month_nano"] / NANO,
            own_today=row["own_today_nano"] / NANO,
            own_month=row["own_month_nano"] / NANO,
            calls_today=row["calls_today"],
            calls=row["calls"],
        )
        for row in analytics.rows("below_totals", parameters)
    }


def spent(
    analytics: Analytics, partner_id: str, first: date, last: date, account_ids: list[str] | None = None
) -> list[Used]:
    """What accounts paid, the dearest first: those named, or the hundred dearest of each currency."""
    parameters = {"partner": partner_id, "first": first, "last": last, "accounts": ",".join(account_ids or [])}
    return [used(row) for row in analytics.rows("below_spent", parameters)]


@dataclass(frozen=True, slots=True)
class Line:
    """Use of a day, account, model or key; `own`: what the partner's own balance paid for it; `refused` by limits."""

    used: Used
    own: Decimal
    refused: int
    account_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Which use: of accounts with this currency, on these days, of one account or model where they are named."""

    partner_id: str
    currency: str
    first: date
    last: date
    account_id: str = ""
    model: str = ""


def usage(analytics: Analytics, asked: Asked, group_by: str, limit: int, offset: int = 0) -> list[Line]:
    """By `day` in order, by `account`, `model` or `key` the dearest first; by `all`: one line with the sums.

    Raises AnalyticsAway.
    """
    group, order = GROUPS[group_by]
    parameters = {
        "partner": asked.partner_id,
        "currency": asked.currency,
        "first": asked.first,
        "last": asked.last,
        "account": asked.account_id,
        "model": asked.model,
        "limit": limit,
        "offset": offset,
    }
    rows = analytics.rows("below_usage", parameters, group=group, order=order)
    return [Line(used(row), row["own_nano"] / NANO, row["refused"], row["account_id"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Margin:
    """What customers paid in lira, what that cost their partner, and the rest; `bps` of it in the cost."""

    name: str
    calls: int
    paid: Decimal
    cost_usd: Decimal
    cost: Decimal
    margin: Decimal
    bps: int


def margins(
    analytics: Analytics, partner_id: str, first: date, end: date, group_by: str, limit: int, offset: int = 0
) -> list[Margin]:
    """By `month` in order, by `customer` the largest first; by `all`: one line. `end` is not included.

    Raises AnalyticsAway.
    """
    group, order = MARGIN_GROUPS[group_by]
    parameters = {"partner": partner_id, "first": first, "end": end, "limit": limit, "offset": offset}
    return [
        Margin(
            name=row["name"],
            calls=row["calls"],
            paid=row["paid_nano"] / NANO,
            cost_usd=row["cost_usd_nano"] / NANO,
            cost=row["cost_nano"] / NANO,
            margin=row["margin_nano"] / NANO,
            bps=row["margin_bps"],
        )
        for row in analytics.rows("margins", parameters, group=group, order=order)
    ]
