"""A person's data: taken along, and erased."""

import io
import zipfile

import orjson
from starlette.responses import Response

from console.identity import passwords, throttle
from console.people import acts, export
from console.people.tables import Person, Standing, now
from console.web.context import Context, Problem
from console.web.guards import SESSION_COOKIE, Guard, Row, form_of
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin

README = """What Onysoft keeps of you, as of {moment}.

people.json    name, address, sign-ins, memberships, invitations, payments, invoices
accounts.json  the accounts that you look after: balance, keys (without their secrets), limits
Calls and charges: Usage and Requests, as CSV and page by page. Prompts and answers of chats are not kept.
"""


def privacy(context: Context) -> Response:
    """What is kept, and what can be done about it."""
    return _page(context, "")


def _page(context: Context, problem: str) -> Response:
    with context.services.store.transaction() as transaction:
        alone = export.only_owner_of(transaction, transaction.get_one(Person, context.me.person.id))
    accounts = [ask(context, "GetAccount", admin.AccountRef(account_id=each)) for each in alone]
    values = {"accounts": accounts, "problem": problem, "staff": context.me.person.standing != Standing.CUSTOMER}
    return context.render("privacy.html", values, 400 if problem else 200)


def download(context: Context) -> Response:
    """Everything kept of the person, as a ZIP of JSON."""
    with context.services.store.transaction() as transaction:
        person = transaction.get_one(Person, context.me.person.id)
        people = export.gather(transaction, person)
        account_ids = [each.account_id for each in person.memberships]
    accounts = [_account(context, account_id) for account_id in account_ids]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README.format(moment=now().isoformat(timespec="seconds")))
        archive.writestr("people.json", orjson.dumps(people, option=orjson.OPT_INDENT_2))
        archive.writestr("accounts.json", orjson.dumps(accounts, option=orjson.OPT_INDENT_2))
    headers = {"content-disposition": 'attachment; filename="onysoft-data.zip"'}
    return Response(content.getvalue(), media_type="application/zip", headers=headers)


def _account(context: Context, account_id: str) -> dict[str, object]:
    reference = admin.AccountRef(account_id=account_id)
    account: admin.Account = ask(context, "GetAccount", reference)
    keys: admin.KeyList = ask(context, "ListKeys", reference)
    limits: admin.LimitList = ask(context, "ListLimits", admin.OwnerRef(owner_id=account_id))
    return {
        "account_id": account_id,
        "name": account.name,
        "currency": account.balance.currency,
        "balance": account.balance.balance,
        "keys": [{"key_id": key.key_id, "name": key.name, "state": key.state} for key in keys.keys],
        "limits": [{"models": each.pattern, "kind": each.kind, "most": each.most} for each in limits.limits],
    }


def erase(context: Context) -> Response:
    """Erases the person, and closes the accounts that nobody else looks after. Not to be undone."""
    person, values = context.me.person, form_of(context)
    if person.standing != Standing.CUSTOMER:
        raise Problem(context.translate("Staff is erased by an administrator."))
    with context.services.store.transaction() as transaction:
        throttle.check(transaction, "email", person.email)
        right = passwords.is_correct(person.password_hash, values.get("password", ""))
        if not right:
            throttle.count_failure(transaction, "email", person.email)
        alone = export.only_owner_of(transaction, transaction.get_one(Person, person.id))
    if not right:
        return _page(context, context.translate("The password is wrong."))
    if alone and values.get("sure") != "1":
        return _page(context, context.translate("Please confirm that your accounts are closed."))
    for account_id in alone:
        _close(context, account_id)
    with context.services.store.transaction() as transaction:
        export.erase(transaction, person.id)
        acts.record(transaction, person.id, "person.erased", person.id)
    answer = context.go("/erased")
    answer.delete_cookie(SESSION_COOKIE)
    return answer


def erased(context: Context) -> Response:
    """What is left to say."""
    return context.render("erased.html")


def _close(context: Context, account_id: str) -> None:
    """Keys first: nothing is charged to an account whose people are gone. Their names may be personal, so they go."""
    reference = admin.AccountRef(account_id=account_id)
    keys: admin.KeyList = ask(context, "ListKeys", reference)
    for key in keys.keys:
        if not key.revoked:
            ask(context, "ChangeKey", admin.ChangeKeyRequest(key_id=key.key_id, name="erased"))
            ask(context, "RevokeKey", admin.KeyRef(key_id=key.key_id))
    ask(context, "SuspendAccount", reference)


ROWS = [
    Row("/privacy", privacy, Guard.PERSON),
    Row("/privacy/data.zip", download, Guard.PERSON),
    Row("/privacy/erase", erase, Guard.PERSON, ("POST",)),
    Row("/erased", erased, Guard.ANYONE),
]
