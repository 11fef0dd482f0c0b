"""Statements of the partner and of everything below it, for a month."""

from starlette.responses import Response

from console.pages.partner.place import current_partner
from console.web.context import Context
from console.web.days import month_of
from console.web.guards import Guard, Row
from console.web.paging import ROWS_A_PAGE
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin

SEARCH_CHARACTERS_MAX = 100


def statements(context: Context) -> Response:
    """A page of accounts with their files of the month; the partner's own above them."""
    partner, asked = current_partner(context), context.request.query_params
    search = asked.get("search", "").strip()[:SEARCH_CHARACTERS_MAX]
    request = admin.ListAccountsRequest(
        parent_id=partner.account_id, limit=ROWS_A_PAGE + 1, after=asked.get("after", ""), search=search
    )
    found: admin.AccountList = ask(context, "ListAccounts", request)
    shown = list(found.accounts[:ROWS_A_PAGE])
    values = {
        "partner": partner,
        "accounts": shown,
        "month": month_of(context),
        "search": search,
        "more": shown[-1].account_id if len(found.accounts) > ROWS_A_PAGE else "",
    }
    return context.render("partner/statements.html", values)


ROWS = [Row("/partner/statements", statements, Guard.PERSON)]
