"""API keys: issued, changed, rotated, suspended, revoked. A secret is shown once."""

import ipaddress
from datetime import UTC, date, datetime, time, timedelta

from starlette.responses import Response

from cli.client import CallFailed
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.language import ISTANBUL
from console.web.reach import CHANGES_KEYS, ask, current_account
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

GRACES_H = (0, 1, 24, 168)
NAME_CHARACTERS_MAX = 100


def keys(context: Context) -> Response:
    """All keys of the account."""
    return _list_page(context, current_account(context))


def issue(context: Context) -> Response:
    """A new key; it is shown this once. A limit that was asked for is in force before the key is shown."""
    account = current_account(context, CHANGES_KEYS)
    values = form_of(context)
    policy = ledger.KeyPolicy(
        expires_ms=_expiry(context, values),
        allowed_models=_words(values, "models"),
        allowed_ips=_ranges(context, values),
    )
    request = admin.IssueKeyRequest(account_id=account.account_id, name=_name(context, values), policy=policy)
    limit = _limit(context, values, "", 0)
    issued: admin.IssuedKey = ask(context, "IssueKey", request)
    if limit is not None:
        limit.owner_id = issued.key_id
        try:
            ask(context, "SetLimits", limit)
        except CallFailed:
            ask(context, "RevokeKey", admin.KeyRef(key_id=issued.key_id))
            raise
    return _list_page(context, account, fresh=issued.api_key)


def key(context: Context) -> Response:
    """One key: what it may do, its limits, when it was used last."""
    account, found = _key(context, change=False)
    return _key_page(context, account, found)


def change(context: Context) -> Response:
    """Name, expiry, allowed models and addresses, limits."""
    account, found = _key(context)
    values = form_of(context)
    request = admin.ChangeKeyRequest(
        key_id=found.key_id,
        name=_name(context, values),
        expires_ms=_expiry(context, values),
        allowed_models=admin.Patterns(patterns=_words(values, "models")),
        allowed_ips=admin.Ranges(ranges=_ranges(context, values)),
    )
    limit = _limit(context, values, found.key_id, None)
    ask(context, "ChangeKey", request)
    if limit is not None:
        ask(context, "SetLimits", limit)
    return context.go(_path(account, found))


def rotate(context: Context) -> Response:
    """A new secret of the same key; the old one goes on working for the grace that was chosen."""
    account, found = _key(context)
    hours = form_of(context).get("grace", "0")
    if hours not in {str(each) for each in GRACES_H}:
        raise Problem(context.translate("Choose one of the times in the list."))
    request = admin.RotateKeyRequest(key_id=found.key_id, grace_ms=int(hours) * 3_600_000)
    issued: admin.IssuedKey = ask(context, "RotateKey", request)
    return _key_page(context, account, _key(context)[1], fresh=issued.api_key)


def suspend(context: Context) -> Response:
    """Refused until it is resumed."""
    return _do(context, "SuspendKey")


def resume(context: Context) -> Response:
    """Good again."""
    return _do(context, "ResumeKey")


def revoke(context: Context) -> Response:
    """Refused for ever, from this position of the log on."""
    return _do(context, "RevokeKey")


def _do(context: Context, method: str) -> Response:
    account, found = _key(context)
    ask(context, method, admin.KeyRef(key_id=found.key_id))
    return context.go(_path(account, found))


def _path(account: admin.Account, found: admin.Key) -> str:
    return f"/keys/{found.key_id}?account={account.account_id}"


def _key(context: Context, change: bool = True) -> tuple[admin.Account, admin.Key]:
    """The key of the path, on an account that the person may touch. Raises NotFound."""
    account = current_account(context, CHANGES_KEYS) if change else current_account(context)
    for each in keys_of(context, account):
        if each.key_id == context.request.path_params["key_id"]:
            return account, each
    raise NotFound


def keys_of(context: Context, account: admin.Account) -> list[admin.Key]:
    """Those that can be used first."""
    found: admin.KeyList = ask(context, "ListKeys", admin.AccountRef(account_id=account.account_id))
    return sorted(found.keys, key=lambda each: (each.revoked, each.name.lower(), each.key_id))


def _name(context: Context, values: dict[str, str]) -> str:
    name = values.get("name", "")
    if not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise Problem(context.translate("Please give the key a name."))
    return name


def _words(values: dict[str, str], name: str) -> list[str]:
    return values.get(name, "").replace(",", " ").split()


def _ranges(context: Context, values: dict[str, str]) -> list[str]:
    words = _words(values, "ips")
    for word in words:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise Problem(context.translate("%(word)s is not an IP address or range.", word=word)) from None
    return words


def _expiry(context: Context, values: dict[str, str]) -> int:
    """The end of the day in Istanbul, in milliseconds; 0: never."""
    given = values.get("expires", "")
    if not given:
        return 0
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise Problem(context.translate("%(word)s is not a date.", word=given)) from None
    end = datetime.combine(day + timedelta(days=1), time(), ISTANBUL)
    if end <= datetime.now(UTC):
        raise Problem(context.translate("The expiry must lie in the future."))
    return int(end.timestamp() * 1000)


def _limit(
    context: Context, values: dict[str, str], key_id: str, otherwise: int | None
) -> admin.SetLimitsRequest | None:
    """Limits on all calls of the key. An empty field means `otherwise`: None leaves what there is, 0 removes it."""
    request = admin.SetLimitsRequest(owner_id=key_id, pattern="*")
    given = False
    for name in ("daily_requests", "daily_tokens", "monthly_tokens"):
        text = values.get(name, "")
        if name not in values or (not text and otherwise == 0):
            continue
        if text and not (text.isdecimal() and len(text) <= 9):
            raise Problem(context.translate("A limit is a whole number below one billion."))
        setattr(request, name, int(text or 0))
        given = True
    return request if given else None


def _list_page(context: Context, account: admin.Account, fresh: str = "") -> Response:
    values = {"account": account, "keys": keys_of(context, account), "fresh": fresh, "tomorrow": _tomorrow()}
    return context.render("keys/list.html", values)


def _key_page(context: Context, account: admin.Account, found: admin.Key, fresh: str = "") -> Response:
    limits: admin.LimitList = ask(context, "ListLimits", admin.OwnerRef(owner_id=found.key_id))
    most = {limit.kind: limit.most for limit in limits.limits if limit.pattern == "*"}
    values = {
        "account": account,
        "key": found,
        "limits": limits.limits,
        "most": most,
        "fresh": fresh,
        "graces": GRACES_H,
        "tomorrow": _tomorrow(),
    }
    return context.render("keys/key.html", values)


def _tomorrow() -> str:
    return (datetime.now(ISTANBUL).date() + timedelta(days=1)).isoformat()


ROWS = [
    Row("/keys", keys, Guard.PERSON),
    Row("/keys", issue, Guard.PERSON, ("POST",)),
    Row("/keys/{key_id}", key, Guard.PERSON),
    Row("/keys/{key_id}/change", change, Guard.PERSON, ("POST",)),
    Row("/keys/{key_id}/rotate", rotate, Guard.PERSON, ("POST",)),
    Row("/keys/{key_id}/suspend", suspend, Guard.PERSON, ("POST",)),
    Row("/keys/{key_id}/resume", resume, Guard.PERSON, ("POST",)),
    Row("/keys/{key_id}/revoke", revoke, Guard.PERSON, ("POST",)),
]
