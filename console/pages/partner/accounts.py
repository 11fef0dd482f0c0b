"""The partner's customers and projects: listed, searched, opened."""

from starlette.responses import Response

from console.analytics import AnalyticsAway, Used
from console.pages.accounts import markup_of, path_of
from console.pages.members import check_email, send_invitation
from console.pages.partner import figures
from console.pages.partner.place import acting_partner, current_partner
from console.people.tables import Role
from console.web.context import Context, Problem
from console.web.days import today
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE
from console.web.reach import MOVES_MONEY, ask, may
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

SEARCH_CHARACTERS_MAX = 100
NAME_CHARACTERS_MAX = 100
LIMIT_DIGITS_MAX = 9
KINDS = {"customer": ledger.PARTNER_CUSTOMER, "project": ledger.PARTNER_PROJECT}


def accounts(context: Context) -> Response:
    """A page of them, by id, with what each paid this month."""
    partner = current_partner(context)
    asked = context.request.query_params
    search, kind = asked.get("search", "").strip()[:SEARCH_CHARACTERS_MAX], asked.get("kind", "")
    request = admin.ListAccountsRequest(
        parent_id=partner.account_id,
        limit=ROWS_A_PAGE + 1,
        after=asked.get("after", ""),
        search=search,
        kind=KINDS.get(kind, ledger.ACCOUNT_KIND_UNSPECIFIED),
    )
    found: admin.AccountList = ask(context, "ListAccounts", request)
    shown = list(found.accounts[:ROWS_A_PAGE])
    values = {
        "partner": partner,
        "accounts": shown,
        "spent": _spent(context, partner, shown),
        "search": search,
        "kind": kind if kind in KINDS else "",
        "kinds": KINDS,
        "more": shown[-1].account_id if len(found.accounts) > ROWS_A_PAGE else "",
        "may_open": may(context, partner, MOVES_MONEY),
    }
    return context.render("partner/accounts.html", values)


def open_account(context: Context) -> Response:
    """A new customer or project, and where an address is given an invitation to its owner."""
    partner = acting_partner(context)
    values = form_of(context)
    kind, name, email = KINDS.get(values.get("kind", "")), values.get("name", ""), values.get("email", "").lower()
    if kind is None or not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise Problem(context.translate("Please give the account a name."))
    if email:
        check_email(context, email)
    request = admin.OpenAccountRequest(kind=kind, name=name, parent_id=partner.account_id)
    if values.get("percent") and kind == ledger.PARTNER_CUSTOMER:
        request.markup_bps = markup_of(context, values)
    for field in ("requests_per_minute", "requests_per_day"):
        if values.get(field):
            setattr(request, field, _limit(context, values[field]))
    opened: admin.Account = ask(context, "OpenAccount", request)
    if email:
        send_invitation(context, opened, email, Role.OWNER)
    return context.go(path_of(opened))


def _limit(context: Context, text: str) -> int:
    if not text.isdecimal() or len(text) > LIMIT_DIGITS_MAX:
        raise Problem(context.translate("A limit is a whole number below one billion."))
    return int(text)


def _spent(context: Context, partner: admin.Account, shown: list[admin.Account]) -> dict[str, Used] | None:
    if not shown:
        return {}
    day = today()
    account_ids = [each.account_id for each in shown]
    try:
        rows = figures.spent(context.services.analytics, partner.account_id, day.replace(day=1), day, account_ids)
    except AnalyticsAway:
        return None
    return {each.name: each for each in rows}


ROWS = [
    Row("/partner/accounts", accounts, Guard.PERSON),
    Row("/partner/accounts", open_account, Guard.PERSON, ("POST",)),
]
