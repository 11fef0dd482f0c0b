"""What a person may touch: the accounts of their memberships, and for partners everything below."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from console.gateway import Caller, CallFailed
from console.people.tables import Person, Role, Standing
from console.web.context import Context, NotFound
from proto.onysoft.v1 import admin_pb2 as admin


@dataclass(frozen=True, slots=True)
class Reach:
    """What is to be done with an account: in which roles one may, whether it only looks, and whether only somebody
    above the account may do it, not the account itself."""

    roles: frozenset[Role]
    looks: bool = False
    from_above: bool = False


READS = Reach(frozenset(Role), looks=True)
CHANGES_KEYS = Reach(frozenset(Role))
CHANGES_PEOPLE = Reach(frozenset({Role.OWNER, Role.PARTNER}))
PAYS = Reach(frozenset({Role.OWNER, Role.PARTNER}))
SEES_PAYMENTS = Reach(frozenset({Role.OWNER, Role.PARTNER}), looks=True)  # payments, invoices, who is invoiced

MARKS = {Role.OWNER: "", Role.MEMBER: "/keys", Role.PARTNER: "/*"}
"""How the admin service is told of a membership."""

LOOKS_AFTER = Reach(frozenset({Role.PARTNER}), from_above=True)  # suspends it, limits it, prices it
SEES_MARKUP = Reach(frozenset({Role.PARTNER}), looks=True, from_above=True)
SEES_PARTNER = Reach(frozenset({Role.PARTNER}), looks=True)
MOVES_MONEY = Reach(frozenset({Role.PARTNER}))


def own_accounts(context: Context) -> list[str]:
    """The ledger's accounts that the person is a member of, oldest membership first."""
    memberships = sorted(context.me.person.memberships, key=lambda each: (each.created_at, each.account_id))
    return [each.account_id for each in memberships]


def account_of(context: Context, account_id: str, reach: Reach = READS) -> admin.Account:
    """An account that the person may touch in this way. Raises NotFound for every other, existing or not."""
    try:
        account: admin.Account = ask(context, "GetAccount", admin.AccountRef(account_id=account_id))
    except CallFailed as failure:
        if failure.code in ("not_found", "invalid_argument"):
            raise NotFound from None
        raise
    if not may(context, account, reach):
        raise NotFound
    return account


def may(context: Context, account: admin.Account, reach: Reach) -> bool:
    """May the person touch the account in this way?"""
    person = context.me.person
    if person.standing == Standing.ADMINISTRATOR:
        return True
    if person.standing == Standing.SUPPORT:
        return reach.looks  # changes nothing, whatever they are besides
    held = {each.account_id: each.role for each in person.memberships}
    if not reach.from_above and held.get(account.account_id) in reach.roles:
        return True
    above = {held.get(each) for each in (account.parent_id, account.root_id) if each != account.account_id}
    return Role.PARTNER in above and Role.PARTNER in reach.roles


def current_account(context: Context, reach: Reach = READS) -> admin.Account:
    """The account that the page is about: named in the query, else the first of the person's own."""
    named = context.request.path_params.get("account_id") or context.request.query_params.get("account")
    if named:
        return account_of(context, named, reach)
    own = own_accounts(context)
    if not own:
        raise NotFound
    return account_of(context, own[0], reach)


def caller_of(person: Person) -> Caller:
    """Who the person is for the admin service, which holds every call against it once more."""
    if person.standing == Standing.ADMINISTRATOR:
        return Caller(person.id, "administer", "*")
    if person.standing == Standing.SUPPORT:
        return Caller(person.id, "read", "*")
    within = sorted(each.account_id + MARKS[each.role] for each in person.memberships)
    return Caller(person.id, "write", ",".join(within))


def ask(context: Context, method: str, request: object) -> Any:
    """Call the admin service in the person's name."""
    return context.services.gateway.call(method, request, caller_of(context.me.person))


def watch(context: Context, method: str, request: object) -> Iterator[Any]:
    """Make a streaming call of the admin service in the person's name; its answers as they come."""
    return context.services.gateway.stream(method, request, caller_of(context.me.person))
