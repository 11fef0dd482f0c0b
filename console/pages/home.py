"""The first page: what the account has, what it spends, and how long that lasts."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from starlette.responses import Response

from cli.client import CallFailed
from console.analytics import AnalyticsAway
from console.people.tables import Membership, Person, Role, Standing
from console.web.context import Context
from console.web.days import today
from console.web.guards import Guard, Row
from console.web.reach import ask, own_accounts
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

RATE_DAYS = 7
"""Whole days before today whose mean says how long a balance lasts."""
LASTS_DAYS_MAX = 365


@dataclass(frozen=True, slots=True)
class Spending:
    """What an account spent; `empty_on`: when the balance would be used up at last week's rate, where that is near."""

    today: Decimal
    month: Decimal
    calls_today: int
    empty_on: date | None


def home(context: Context) -> Response:
    """Balances of the person's accounts. A customer's first visit opens their account in the ledger."""
    person = context.me.person
    if person.standing != Standing.CUSTOMER and not person.memberships:
        return context.go("/admin")
    if not person.memberships:
        _open_first_account(context)
        return context.go("/home")
    accounts = []
    for account_id in own_accounts(context):
        try:
            accounts.append(ask(context, "GetAccount", admin.AccountRef(account_id=account_id)))
        except CallFailed as failure:
            if failure.code != "not_found":
                raise
    spending: dict[str, Spending] | None = {}
    try:
        spending = {each.account_id: _spending(context, each) for each in accounts}
    except AnalyticsAway:
        spending = None
    return context.render("home.html", {"accounts": accounts, "spending": spending})


def _spending(context: Context, account: admin.Account) -> Spending:
    day = today()
    first = min(day.replace(day=1), day - timedelta(days=RATE_DAYS))
    days = {each.name: each for each in context.services.analytics.spent(account.account_id, first, day)}
    month = sum((each.charge for name, each in days.items() if name >= day.replace(day=1).isoformat()), Decimal(0))
    now = days.get(day.isoformat())
    week = sum((each.charge for name, each in days.items() if _is_recent(name, day)), Decimal(0))
    return Spending(
        today=now.charge if now else Decimal(0),
        month=month,
        calls_today=now.calls if now else 0,
        empty_on=empty_on(Decimal(account.balance.available), week, day),
    )


def _is_recent(name: str, day: date) -> bool:
    return (day - timedelta(days=RATE_DAYS)).isoformat() <= name < day.isoformat()


def empty_on(available: Decimal, week: Decimal, day: date) -> date | None:
    """The day on which `available` is used up when every week costs `week`; None when that is over a year away."""
    if week <= 0:
        return None
    days = int(max(available, Decimal(0)) * RATE_DAYS / week)
    return day + timedelta(days=days) if days <= LASTS_DAYS_MAX else None


def _open_first_account(context: Context) -> None:
    """Names no person: the ledger's account is called after its owner's id."""
    person_id = context.me.person.id
    request = admin.OpenAccountRequest(kind=ledger.USER, name=f"person {person_id}")
    account: admin.Account = ask(context, "OpenAccount", request)
    with context.services.store.transaction() as transaction:
        person = transaction.get_one(Person, person_id, with_for_update=True)
        if not person.memberships:  # the same person may have come in twice at once; the other account stays empty
            person.memberships.append(Membership(account_id=account.account_id, role=Role.OWNER))


ROWS = [Row("/home", home, Guard.PERSON)]
