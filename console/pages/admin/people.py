"""People: found, and what staff does to them. Nobody does anything to themselves here."""

from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import or_, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session as Transaction
from starlette.responses import Response

from console.identity import sessions
from console.pages.admin.accounts import named
from console.pages.admin.reasons import reason_of
from console.people import standing as people
from console.people.standing import ERASED, NotAllowed
from console.people.tables import Person, Standing
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE, page_of

SEARCH_CHARACTERS_MAX = 100


def everybody(context: Context) -> Response:
    """A page of people, the newest first."""
    asked, page = context.request.query_params, page_of(context)
    search, standing, state = (asked.get(name, "").strip() for name in ("search", "standing", "state"))
    search = search[:SEARCH_CHARACTERS_MAX]
    query = select(Person).order_by(Person.created_at.desc(), Person.id)
    if search:
        in_name = Person.name.icontains(search, autoescape=True)
        query = query.where(or_(Person.email.contains(search.lower(), autoescape=True), in_name, Person.id == search))
    if standing in tuple(Standing):
        query = query.where(Person.standing == standing)
    if state:
        query = query.where(Person.disabled_at.is_not(None) if state == "disabled" else Person.disabled_at.is_(None))
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.offset(page * ROWS_A_PAGE).limit(ROWS_A_PAGE + 1)).all()
    filters = {"search": search, "standing": standing, "state": state}
    values = {
        "people": found[:ROWS_A_PAGE],
        "filters": filters,
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
        "erased": ERASED,
    }
    return context.render("admin/people.html", values)


def person(context: Context) -> Response:
    """One of them: memberships, sign-ins, and what can be done."""
    with context.services.store.transaction() as transaction:
        found = transaction.get(Person, context.request.path_params["person_id"])
        if found is None:
            raise NotFound
        memberships = sorted(found.memberships, key=lambda each: (each.created_at, each.account_id))
        signed_in = sessions.list_of(transaction, found)
    values = {
        "person": found,
        "memberships": memberships,
        "accounts": named(context, [each.account_id for each in memberships]),
        "sessions": signed_in,
        "standings": tuple(Standing),
        "is_erased": found.email.endswith(ERASED),
        "may_change": context.me.person.standing == Standing.ADMINISTRATOR
        and found.id != context.me.person.id
        and not found.email.endswith(ERASED),
    }
    return context.render("admin/person.html", values)


def change_standing(context: Context) -> Response:
    """Customer, support or administrator."""
    wanted = form_of(context).get("standing", "")
    if wanted not in tuple(Standing):
        raise Problem(context.translate("Choose one of the standings."))
    return _act(context, partial(people.change_standing, standing=Standing(wanted)))


def disable(context: Context) -> Response:
    """Keeps somebody out."""
    return _act(context, people.disable)


def enable(context: Context) -> Response:
    """Lets somebody in again."""
    return _act(context, people.enable)


def sign_out(context: Context) -> Response:
    """Ends all of somebody's sign-ins."""
    return _act(context, people.sign_out)


def reset_second_factor(context: Context) -> Response:
    """For somebody who has lost it, and has shown who they are: the reason says how."""
    reason = reason_of(context)
    return _act(context, partial(people.reset_second_factor, reason=reason))


def _act(context: Context, what: Callable[[Transaction, str, str], None]) -> Response:
    person_id = context.request.path_params["person_id"]
    with context.services.store.transaction() as transaction:
        try:
            what(transaction, context.me.person.id, person_id)
        except NoResultFound:
            raise NotFound from None
        except NotAllowed:
            raise Problem(
                context.translate("This is done by an administrator, to somebody else who was not erased."), 403
            ) from None
    return context.go(f"/admin/people/{person_id}")


HERE = "/admin/people/{person_id}"
ROWS = [
    Row("/admin/people", everybody, Guard.SUPPORT),
    Row(HERE, person, Guard.SUPPORT),
    Row(f"{HERE}/standing", change_standing, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/disable", disable, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/enable", enable, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/sign-out", sign_out, Guard.ADMINISTRATOR, ("POST",)),
    Row(f"{HERE}/second-factor", reset_second_factor, Guard.ADMINISTRATOR, ("POST",)),
]
