"""Every account: listed, searched, opened, and looked at with its people and its money."""

from urllib.parse import urlencode

from sqlalchemy import select
from starlette.responses import Response

from console.pages.members import check_email, people_of, role_of, send_invitation
from console.pages.payments import newest
from console.payments import money
from console.people import acts
from console.people.tables import Membership, Person, Role
from console.web.context import Context, Problem
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE
from console.web.reach import ask, current_account
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

SEARCH_CHARACTERS_MAX = 100
NAME_CHARACTERS_MAX = 100
NEWEST_SHOWN = 10
KINDS = {
    "user": ledger.USER,
    "organisation": ledger.ORGANISATION,
    "project": ledger.PROJECT,
    "partner": ledger.PARTNER,
    "partner-project": ledger.PARTNER_PROJECT,
    "partner-customer": ledger.PARTNER_CUSTOMER,
}
STATES = ("active", "suspended")


def accounts(context: Context) -> Response:
    """A page of them, by id."""
    asked = context.request.query_params
    search, kind, state = (asked.get(name, "").strip() for name in ("search", "kind", "state"))
    request = admin.ListAccountsRequest(
        limit=ROWS_A_PAGE + 1,
        after=asked.get("after", ""),
        search=search[:SEARCH_CHARACTERS_MAX],
        kind=KINDS.get(kind, ledger.ACCOUNT_KIND_UNSPECIFIED),
        parent_id=asked.get("parent", "").strip(),
    )
    if state in STATES:
        request.suspended = state == "suspended"
    found: admin.AccountList = ask(context, "ListAccounts", request)
    shown = list(found.accounts[:ROWS_A_PAGE])
    filters = {"search": request.search, "kind": kind, "state": state, "parent": request.parent_id}
    values = {
        "accounts": shown,
        "parents": named(context, [each.parent_id for each in shown]),
        "filters": filters,
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "kinds": KINDS,
        "more": shown[-1].account_id if len(found.accounts) > ROWS_A_PAGE else "",
    }
    return context.render("admin/accounts.html", values)


def named(context: Context, account_ids: list[str]) -> dict[str, admin.Account]:
    """The accounts of these ids that exist, by id."""
    wanted = sorted({*account_ids} - {""})
    if not wanted:
        return {}
    request = admin.ListAccountsRequest(account_ids=wanted, limit=len(wanted))
    return {each.account_id: each for each in ask(context, "ListAccounts", request).accounts}


def open_account(context: Context) -> Response:
    """A new account of any kind, and where an address is given an invitation to whoever looks after it."""
    values = form_of(context)
    kind, name, email = KINDS.get(values.get("kind", "")), values.get("name", ""), values.get("email", "").lower()
    if kind is None or not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise Problem(context.translate("Please give the account a kind and a name."))
    if email:
        check_email(context, email)
    request = admin.OpenAccountRequest(kind=kind, name=name, parent_id=values.get("parent_id", ""))
    opened: admin.Account = ask(context, "OpenAccount", request)
    if email:
        try:
            send_invitation(context, opened, email, Role.PARTNER if kind == ledger.PARTNER else Role.OWNER)
        except Problem as problem:  # the account is there all the same: opened again, it would be there twice
            context.notices.append(context.translate("The account was opened, but nobody was invited."))
            context.notices.append(problem.message)
            return _page(context, opened)
    return context.go(path_of(opened.account_id))


def account(context: Context) -> Response:
    """What the house sees of one account."""
    return _page(context, current_account(context))


def add_member(context: Context) -> Response:
    """Makes somebody who has signed up a member at once, without an invitation."""
    found = current_account(context)
    values = form_of(context)
    email, role = values.get("email", "").lower(), role_of(context, found, values)
    with context.services.store.transaction() as transaction:
        person = transaction.scalars(select(Person).where(Person.email == email).with_for_update()).one_or_none()
        if person is None or person.disabled_at is not None:
            raise Problem(context.translate("Nobody with this e-mail address has signed up: invite them instead."))
        if transaction.get(Membership, (person.id, found.account_id)) is not None:
            raise Problem(context.translate("This person is a member already."))
        transaction.add(Membership(person_id=person.id, account_id=found.account_id, role=role))
        acts.record(transaction, context.me.person.id, "member.added", found.account_id, f"{person.id} {role}")
    return context.go(path_of(found.account_id))


def path_of(account_id: str) -> str:
    """Where an account's page is."""
    return f"/admin/accounts/{account_id}"


def _page(context: Context, found: admin.Account) -> Response:
    payments, invoices = newest(context, found, NEWEST_SHOWN)
    values = {
        **people_of(context, found, path_of(found.account_id)),
        "above": named(context, [found.parent_id, found.root_id]),
        "kinds": ledger.AccountKind,
        "below": _has_below(context, found),
        "payments": payments,
        "invoices": invoices,
        "lira": money.to_text,
    }
    return context.render("admin/account.html", values)


def _has_below(context: Context, found: admin.Account) -> bool:
    request = admin.ListAccountsRequest(parent_id=found.account_id, limit=1)
    return bool(ask(context, "ListAccounts", request).accounts)


ROWS = [
    Row("/admin/accounts", accounts, Guard.SUPPORT),
    Row("/admin/accounts", open_account, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/accounts/{account_id}", account, Guard.SUPPORT),
    Row("/admin/accounts/{account_id}/members", add_member, Guard.ADMINISTRATOR, ("POST",)),
]
