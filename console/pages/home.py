"""The first page: what the account has, and what to do next."""

from starlette.responses import Response

from cli.client import CallFailed
from console.people.tables import Membership, Person, Role, Standing
from console.web.context import Context
from console.web.guards import Guard, Row
from console.web.reach import ask, own_accounts
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger


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
    return context.render("home.html", {"accounts": accounts})


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
