"""Which partner a page of the portal is about, and the accounts below it."""

from console.people.tables import Role
from console.web.context import Context, NotFound
from console.web.reach import MOVES_MONEY, SEES_PARTNER, Reach, account_of, ask
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger


def current_partner(context: Context, reach: Reach = SEES_PARTNER) -> admin.Account:
    """The partner that the query names, else the first of the person's own. Raises NotFound."""
    named = context.request.query_params.get("account", "")
    own = sorted(
        (each for each in context.me.person.memberships if each.role == Role.PARTNER),
        key=lambda each: (each.created_at, each.account_id),
    )
    if not named and not own:
        raise NotFound
    found = account_of(context, named or own[0].account_id, reach)
    if found.kind != ledger.PARTNER:
        raise NotFound
    return found


def acting_partner(context: Context) -> admin.Account:
    """The same, for whoever changes something there."""
    return current_partner(context, MOVES_MONEY)


def accounts_below(context: Context, partner: admin.Account, account_ids: list[str]) -> dict[str, admin.Account]:
    """Those of the named accounts that are below the partner, by id."""
    if not account_ids:
        return {}
    request = admin.ListAccountsRequest(parent_id=partner.account_id, account_ids=account_ids, limit=len(account_ids))
    found: admin.AccountList = ask(context, "ListAccounts", request)
    return {each.account_id: each for each in found.accounts}
