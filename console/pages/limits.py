"""The limits in force on an account and its keys; and the dialog that sets them, which is a page as well."""

from urllib.parse import urlencode

from starlette.responses import Response

from console.pages.keys import keys_of
from console.web.context import Context, NotFound, Problem, own_path
from console.web.guards import Guard, Row, form_of
from console.web.reach import LOOKS_AFTER, ask, current_account, may
from proto.onysoft.v1 import admin_pb2 as admin

OWNERS_SHOWN_MAX = 50
KEYS_OFFERED_MAX = 200
LIMIT_DIGITS_MAX = 9
FIELDS = ("daily_tokens", "monthly_tokens", "daily_requests", "requests_per_minute")
"""What the dialog sets, as SetLimits calls it."""


def limits(context: Context) -> Response:
    """The limits in force on the account and on each of its keys, and what is left of them."""
    account = current_account(context)
    owners = [(account.account_id, context.translate("The whole account"))]
    owners += [(key.key_id, key.name or key.key_id) for key in keys_of(context, account) if not key.revoked]
    found = [
        (owner_id, name, ask(context, "ListLimits", admin.OwnerRef(owner_id=owner_id)))
        for owner_id, name in owners[:OWNERS_SHOWN_MAX]
    ]
    values = {"account": account, "owners": found, "may_change": may(context, account, LOOKS_AFTER)}
    return context.render("limits.html", values)


def dialog(context: Context) -> Response:
    """What is set and left of one owner's limits, and a form that changes those of a pattern."""
    account = current_account(context, LOOKS_AFTER)
    asked = context.request.query_params
    keys = [key for key in keys_of(context, account) if not key.revoked][:KEYS_OFFERED_MAX]
    owner_id = _owner(account, keys, asked.get("owner", ""))
    found: admin.LimitList = ask(context, "ListLimits", admin.OwnerRef(owner_id=owner_id))
    pattern = asked.get("pattern", "").strip() or "*"
    values = {
        "account": account,
        "keys": keys,
        "owner_id": owner_id,
        "limits": found.limits,
        "blocked": list(found.blocked_models),
        "patterns": sorted({*(each.pattern for each in found.limits if each.kind in FIELDS), *found.blocked_models}),
        "pattern": pattern,
        "most": {each.kind: each.most for each in found.limits if each.pattern == pattern},
        "fields": FIELDS,
        "back": own_path(asked.get("back", ""), ""),
    }
    return context.render("accounts/limits_dialog.html" if context.is_partial else "accounts/limits.html", values)


def change(context: Context) -> Response:
    """Limits of one owner for the models of a pattern. What the form showed and comes back empty is removed; what it
    could not show, because the pattern is another one now, stays."""
    account = current_account(context, LOOKS_AFTER)
    values = form_of(context)
    owner_id = _owner(account, keys_of(context, account), values.get("owner_id", ""))
    pattern = values.get("pattern", "") or "*"
    shown = (values.get("shown_owner"), values.get("shown_pattern")) == (owner_id, pattern)
    chosen = {each: _most(context, values[each]) for each in FIELDS if values.get(each) or (each in values and shown)}
    if chosen:
        ask(context, "SetLimits", admin.SetLimitsRequest(owner_id=owner_id, pattern=pattern, **chosen))
    reference = admin.PatternRef(owner_id=owner_id, pattern=pattern)
    if values.get("blocked"):
        ask(context, "BlockModel", reference)
    elif shown and values.get("shown_blocked"):
        ask(context, "UnblockModel", reference)
    return _go_back(context, account, owner_id, pattern)


def clear(context: Context) -> Response:
    """Takes away what the dialog sets for a pattern: limits, and the block."""
    account = current_account(context, LOOKS_AFTER)
    values = form_of(context)
    owner_id = _owner(account, keys_of(context, account), values.get("owner_id", ""))
    pattern = values.get("pattern", "")
    none = dict.fromkeys(FIELDS, 0)
    ask(context, "SetLimits", admin.SetLimitsRequest(owner_id=owner_id, pattern=pattern, **none))
    if values.get("shown_blocked"):
        ask(context, "UnblockModel", admin.PatternRef(owner_id=owner_id, pattern=pattern))
    return _go_back(context, account, owner_id, "")


def _owner(account: admin.Account, keys: list[admin.Key], named: str) -> str:
    """The account itself, or one of its keys. Raises NotFound."""
    if named in ("", account.account_id):
        return account.account_id
    if named in {key.key_id for key in keys}:
        return named
    raise NotFound


def _most(context: Context, text: str) -> int:
    """0: no limit."""
    if text and not (text.isdecimal() and text.isascii() and len(text) <= LIMIT_DIGITS_MAX):
        raise Problem(context.translate("A limit is a whole number below one billion."))
    return int(text or 0)


def _go_back(context: Context, account: admin.Account, owner_id: str, pattern: str) -> Response:
    here = {"owner": owner_id} | ({"pattern": pattern} if pattern else {})
    path = f"/accounts/{account.account_id}/limits?{urlencode(here)}"
    return context.go(own_path(form_of(context).get("back", ""), path))


ROWS = [
    Row("/limits", limits, Guard.PERSON),
    Row("/accounts/{account_id}/limits", dialog, Guard.PERSON),
    Row("/accounts/{account_id}/limits", change, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/limits/clear", clear, Guard.PERSON, ("POST",)),
]
