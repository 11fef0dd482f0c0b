"""The partner's first page: its own balance, what it and those below it spend, and who is about to run dry."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from starlette.responses import Response

from console.analytics import AnalyticsAway, Used
from console.pages.home import RATE_DAYS, empty_on
from console.pages.partner import figures
from console.pages.partner.place import accounts_below, current_partner
from console.web.context import Context
from console.web.days import today
from console.web.guards import Guard, Row
from proto.onysoft.v1 import admin_pb2 as admin

DRY_SOON_DAYS = 7
SHOWN_MAX = 15


@dataclass(frozen=True, slots=True)
class Standing:
    """An account that was used last week. `empty_on`: when its balance is used up at that pace, where that is near."""

    account: admin.Account
    week: Used
    empty_on: date | None


def overview(context: Context) -> Response:
    """Figures of today and of this month; who runs dry within a week; who used most."""
    partner, day = current_partner(context), today()
    totals: dict[str, figures.Totals] | None
    try:
        totals = figures.totals(context.services.analytics, partner.account_id, day)
        standing = _standing(context, partner, day)
    except AnalyticsAway:
        totals, standing = None, []
    values = {
        "partner": partner,
        "totals": totals,
        "none_yet": figures.Totals(),
        "dry": _dry(standing, day + timedelta(days=DRY_SOON_DAYS)),
        "largest": sorted(standing, key=lambda each: (-each.week.calls, each.account.account_id))[:SHOWN_MAX],
    }
    return context.render("partner/overview.html", values)


def _dry(standing: list[Standing], last: date) -> list[Standing]:
    """Those whose balance is used up by then, the nearest first."""
    found = [(each.empty_on, each.account.account_id, each) for each in standing if each.empty_on is not None]
    return [each for day, _, each in sorted(found, key=lambda row: row[:2]) if day <= last][:SHOWN_MAX]


def _standing(context: Context, partner: admin.Account, day: date) -> list[Standing]:
    first = day - timedelta(days=RATE_DAYS - 1)
    week = figures.spent(context.services.analytics, partner.account_id, first, day)
    accounts = accounts_below(context, partner, [each.name for each in week])
    return [
        Standing(accounts[each.name], each, _empty_on(accounts[each.name], each, day))
        for each in week
        if each.name in accounts
    ]


def _empty_on(account: admin.Account, week: Used, day: date) -> date | None:
    return empty_on(Decimal(account.balance.available), week.charge, day)


ROWS = [Row("/partner", overview, Guard.PERSON)]
