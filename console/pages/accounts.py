"""One account: what it has, what it may do, and what whoever looks after it decides about it."""

import secrets
from decimal import Decimal, InvalidOperation

from starlette.responses import Response

from console.gateway import CallFailed
from console.payments import money
from console.people.tables import Standing
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.reach import LOOKS_AFTER, MOVES_MONEY, SEES_MARKUP, account_of, ask, current_account, may
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

MARKUP_PERCENT_MAX = 1000
REFERENCE_CHARACTERS = 24
DIRECTIONS = ("to", "back")


def account(context: Context) -> Response:
    """The account of the path. Its markup is shown to those above it only: it is their margin."""
    return _page(context, current_account(context))


def suspend(context: Context) -> Response:
    """No call of the account, or of what is below it, is admitted."""
    return _do(context, "SuspendAccount")


def resume(context: Context) -> Response:
    """Calls are admitted again."""
    return _do(context, "ResumeAccount")


def set_markup(context: Context) -> Response:
    """What calls of the models of a pattern cost on top, from the next call on."""
    found = _priced_by(context)
    values = form_of(context)
    request = admin.SetMarkupRequest(
        account_id=found.account_id, pattern=values.get("pattern", ""), markup_bps=markup_of(context, values)
    )
    ask(context, "SetMarkup", request)
    return context.go(path_of(found))


def clear_markup(context: Context) -> Response:
    """The models of this pattern cost again what the next wider pattern says."""
    found = _priced_by(context)
    pattern = form_of(context).get("pattern", "")
    ask(context, "ClearMarkup", admin.ClearMarkupRequest(account_id=found.account_id, pattern=pattern))
    return context.go(path_of(found))


def block(context: Context) -> Response:
    """No call of these models is admitted."""
    return _set_block(context, "BlockModel")


def unblock(context: Context) -> Response:
    """Calls of these models are admitted again."""
    return _set_block(context, "UnblockModel")


def move(context: Context) -> Response:
    """Moves money between the account and the one it belongs to. A form that is sent again moves nothing again."""
    found = current_account(context, LOOKS_AFTER)
    root = _root(context, found)
    if root is None:
        raise NotFound
    values = form_of(context)
    direction, reference = values.get("direction", ""), values.get("reference", "")
    if direction not in DIRECTIONS or len(reference) != REFERENCE_CHARACTERS or not reference.isalnum():
        raise Problem(context.translate("This form is too old. Please try again."))
    giver, taker = (root, found) if direction == "to" else (found, root)
    request = admin.MoveCreditRequest(
        from_account_id=giver.account_id,
        to_account_id=taker.account_id,
        amount=_amount(context, values),
        reference=reference,
    )
    try:
        moved: admin.Movement = ask(context, "MoveCredit", request)
    except CallFailed as failure:
        if failure.code != "failed_precondition":
            raise
        raise Problem(context.translate("Nothing was moved: the balance does not cover it.")) from None
    context.notices.append(_told(context, moved))
    return _page(context, account_of(context, found.account_id, LOOKS_AFTER))


def path_of(found: admin.Account) -> str:
    """Where the account's page is."""
    return f"/accounts/{found.account_id}"


def markup_of(context: Context, values: dict[str, str]) -> int:
    """Basis points of the percentage that somebody typed. Raises Problem."""
    text = values.get("percent", "").removesuffix("%").strip().replace(",", ".")
    try:
        bps = Decimal(text) * 100
    except InvalidOperation:
        bps = Decimal(-1)
    if not (bps.is_finite() and 0 <= bps <= MARKUP_PERCENT_MAX * 100 and bps == int(bps)):
        raise Problem(context.translate("A markup is a percentage from 0 to 1000 with at most two decimals."))
    return int(bps)


def _page(context: Context, found: admin.Account) -> Response:
    root = _root(context, found)
    values = {
        "account": found,
        "root": root,
        "sees_markup": may(context, found, SEES_MARKUP),
        "sets_markup": may(context, found, LOOKS_AFTER) and _may_price(context, found),
        "looks_after": may(context, found, LOOKS_AFTER),
        "reference": secrets.token_hex(REFERENCE_CHARACTERS // 2),
        "rate": _rate(context) if root is not None and root.currency != found.currency else None,
        "kind_of": ledger.AccountKind,
    }
    return context.render("accounts/account.html", values)


def _root(context: Context, found: admin.Account) -> admin.Account | None:
    """The account whose money the person may move to this one and back; None: there is none."""
    if found.root_id == found.account_id or not may(context, found, LOOKS_AFTER):
        return None
    try:
        return account_of(context, found.root_id, MOVES_MONEY)
    except NotFound:
        return None


def _rate(context: Context) -> admin.FxRate | None:
    rates: admin.FxRateList = ask(context, "ListFxRates", admin.ListFxRatesRequest())
    return next((each for each in rates.rates if (each.base, each.quote) == ("USD", "TRY")), None)


def _priced_by(context: Context) -> admin.Account:
    found = current_account(context, LOOKS_AFTER)
    if not _may_price(context, found):
        raise NotFound
    return found


def _may_price(context: Context, found: admin.Account) -> bool:
    """A customer's markup is its partner's margin; every other is the house's, which administrators set."""
    return found.kind == ledger.PARTNER_CUSTOMER or context.me.person.standing == Standing.ADMINISTRATOR


def _do(context: Context, method: str) -> Response:
    found = current_account(context, LOOKS_AFTER)
    ask(context, method, admin.AccountRef(account_id=found.account_id))
    return context.go(path_of(found))


def _set_block(context: Context, method: str) -> Response:
    found = current_account(context, LOOKS_AFTER)
    pattern = form_of(context).get("pattern", "")
    ask(context, method, admin.PatternRef(owner_id=found.account_id, pattern=pattern))
    return context.go(path_of(found))


def _amount(context: Context, values: dict[str, str]) -> str:
    try:
        return money.to_text(money.from_person(values.get("amount", "").replace("$", "")))
    except ValueError:
        raise Problem(context.translate("Please give an amount such as 250 or 99.90.")) from None


def _told(context: Context, moved: admin.Movement) -> str:
    given = context.formats.money(moved.amount, moved.from_balance.currency)
    got = context.formats.money(moved.to_amount, moved.to_balance.currency)
    if not moved.counted:
        return context.translate("This form had been sent before: nothing was moved again.")
    if moved.from_balance.currency == moved.to_balance.currency:
        return context.translate("%(amount)s was moved.", amount=given)
    return context.translate("%(amount)s was moved and became %(got)s.", amount=given, got=got)


ROWS = [
    Row("/accounts/{account_id}", account, Guard.PERSON),
    Row("/accounts/{account_id}/suspend", suspend, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/resume", resume, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/markup", set_markup, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/markup/clear", clear_markup, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/block", block, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/unblock", unblock, Guard.PERSON, ("POST",)),
    Row("/accounts/{account_id}/move", move, Guard.PERSON, ("POST",)),
]
