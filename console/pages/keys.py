"""API keys: issued, shown once, rotated, revoked."""

from starlette.responses import Response

from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.reach import CHANGES_KEYS, ask, current_account
from proto.onysoft.v1 import admin_pb2 as admin


def keys(context: Context) -> Response:
    """All keys of the account."""
    return _page(context)


def issue(context: Context) -> Response:
    """A new key; it is shown this once."""
    account = current_account(context, CHANGES_KEYS)
    name = form_of(context).get("name", "")
    if not name:
        raise Problem(context.translate("Please give the key a name."))
    issued: admin.IssuedKey = ask(context, "IssueKey", admin.IssueKeyRequest(account_id=account.account_id, name=name))
    return _page(context, fresh=issued.api_key)


def revoke(context: Context) -> Response:
    """The key is refused from this position of the log on."""
    account = current_account(context, CHANGES_KEYS)
    key_id = form_of(context).get("key_id", "")
    if key_id not in {key.key_id for key in _keys_of(context, account)}:
        raise NotFound
    ask(context, "RevokeKey", admin.KeyRef(key_id=key_id))
    return context.go(f"/keys?account={account.account_id}")


def _keys_of(context: Context, account: admin.Account) -> list[admin.Key]:
    found: admin.KeyList = ask(context, "ListKeys", admin.AccountRef(account_id=account.account_id))
    return list(found.keys)


def _page(context: Context, fresh: str = "") -> Response:
    account = current_account(context)
    values = {"account": account, "keys": _keys_of(context, account), "fresh": fresh}
    return context.render("keys.html", values)


ROWS = [
    Row("/keys", keys, Guard.PERSON),
    Row("/keys", issue, Guard.PERSON, ("POST",)),
    Row("/keys/revoke", revoke, Guard.PERSON, ("POST",)),
]
