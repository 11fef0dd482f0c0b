"""Credits by hand, and what is taken back: proposed, approved by a second administrator, listed."""

import re
from collections.abc import Callable
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from starlette.responses import Response

from console.credits.proposals import Decided, FormUsed, NotAllowed, Proposals, Wanted
from console.credits.tables import Kind, Proposal, State
from console.pages.admin.accounts import named
from console.pages.admin.reasons import reason_of
from console.payments import money
from console.people.tables import Person, Standing, new_id
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE, page_of
from console.web.reach import account_of
from proto.onysoft.v1 import admin_pb2 as admin

_ID = re.compile(r"[0-9a-f]{32}")
ACCOUNT_CHARACTERS_MAX = 28


def credits(context: Context) -> Response:
    """A page of them, the newest first, and a form for a new one."""
    asked, page = context.request.query_params, page_of(context)
    state, account_id = asked.get("state", ""), asked.get("account", "").strip()[:ACCOUNT_CHARACTERS_MAX]
    query = select(Proposal).order_by(Proposal.proposed_at.desc(), Proposal.id)
    if state in tuple(State):
        query = query.where(Proposal.state == state)
    if account_id:
        query = query.where(Proposal.account_id == account_id)
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.offset(page * ROWS_A_PAGE).limit(ROWS_A_PAGE + 1)).all()
        shown = found[:ROWS_A_PAGE]
        ids = {each for row in shown for each in (row.proposed_by, row.decided_by) if each}
        people = transaction.execute(select(Person.id, Person.name).where(Person.id.in_(ids))).all()
    accounts = named(context, [account_id, *(row.account_id for row in shown)])
    values = {
        "proposals": shown,
        "names": {person_id: name for person_id, name in people},
        "accounts": accounts,
        "account": accounts.get(account_id),
        "account_id": account_id,
        "state": state,
        "query": urlencode({name: text for name, text in (("account", account_id), ("state", state)) if text}),
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
        "may_change": context.me.person.standing == Standing.ADMINISTRATOR,
        "form_id": new_id(),
        "lira": money.to_text,
    }
    return context.render("admin/credits.html", values)


def propose(context: Context) -> Response:
    """Carried out at once where it is small; else it waits for a second administrator."""
    values = form_of(context)
    form_id, kind = values.get("form_id", ""), values.get("kind", "")
    if not _ID.fullmatch(form_id) or kind not in tuple(Kind):
        raise Problem(context.translate("This form is too old. Please try again."))
    account = _account(context, values.get("account_id", ""))
    wanted = Wanted(
        form_id=form_id,
        account_id=account.account_id,
        kind=Kind(kind),
        currency=account.balance.currency,
        amount_kurus=_amount(context, values.get("amount", "")),
        reason=reason_of(context),
    )
    try:
        proposals_of(context).propose(context.me.person.id, wanted)
    except FormUsed:
        message = context.translate("This form was sent before with something else in it. Please look at the list.")
        raise Problem(message) from None
    return context.go(f"/admin/credits?account={account.account_id}")


def approve(context: Context) -> Response:
    """Agrees with what somebody else proposed; pressed again, it finishes what was begun."""
    return _decide(context, proposals_of(context).approve)


def decline(context: Context) -> Response:
    """It is not done; one's own proposal is taken back so."""
    return _decide(context, proposals_of(context).decline)


def proposals_of(context: Context) -> Proposals:
    """For one use."""
    return Proposals(context.services.settings, context.services.store, context.services.gateway)


def _account(context: Context, account_id: str) -> admin.Account:
    try:
        return account_of(context, account_id)
    except NotFound:
        raise Problem(context.translate("There is no account with this id.")) from None


def _amount(context: Context, text: str) -> int:
    try:
        amount = money.from_person(text.replace("$", ""))
    except ValueError:
        amount = 0
    if amount <= 0:
        raise Problem(context.translate("Please give an amount such as 250 or 99.90."))
    return amount


def _decide(context: Context, what: Callable[[str, str], None]) -> Response:
    try:
        what(context.request.path_params["proposal_id"], context.me.person.id)
    except NoResultFound:
        raise NotFound from None
    except NotAllowed:
        message = context.translate("Somebody else than whoever proposed it approves it, both being administrators.")
        raise Problem(message, 403) from None
    except Decided:
        raise Problem(context.translate("This was decided before. Please look at the list."), 409) from None
    return context.go("/admin/credits")


HERE = "/admin/credits/{proposal_id}"
ROWS = [
    Row("/admin/credits", credits, Guard.SUPPORT),
    Row("/admin/credits", propose, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/approve", approve, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/decline", decline, Guard.ADMINISTRATOR, ("POST",)),
]
