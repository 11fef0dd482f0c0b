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
