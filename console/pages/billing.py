"""Who is invoiced, and whom to tell when little is left."""

from sqlalchemy.orm import Session as Transaction
from starlette.responses import Response

from console.invoices.tables import BillingProfile, BuyerKind, LowBalance
from console.invoices.tax_ids import is_tckn, is_vkn
from console.payments import money
from console.people.tables import EMAIL_CHARACTERS_MAX, now
from console.web.context import Context
from console.web.guards import Guard, Row, form_of
from console.web.reach import PAYS, SEES_PAYMENTS, current_account, may
from proto.onysoft.v1 import admin_pb2 as admin

_LENGTHS = {
    "name": 200,
    "tax_office": 100,
    "email": EMAIL_CHARACTERS_MAX,
    "phone": 20,
    "address": 300,
    "district": 100,
    "city": 100,
}
_REQUIRED = ("name", "email", "phone", "address", "district", "city")


def billing(context: Context) -> Response:
    """The form, filled in with what is known."""
    return _page(context, current_account(context, SEES_PAYMENTS))


def save(context: Context) -> Response:
    """Keeps it; invoices that were issued keep their own."""
    account = current_account(context, PAYS)
    values = {name: form_of(context).get(name, "") for name in ("kind", "tax_id", *_LENGTHS)}
    values["tax_id"] = values["tax_id"].replace(" ", "")
    problem = _problem(context, values)
    if problem:
        return _page(context, account, values, problem)
    with context.services.store.transaction() as transaction:
        profile = transaction.get(BillingProfile, account.account_id, with_for_update=True)
        if profile is None:
            profile = BillingProfile(account_id=account.account_id)
            transaction.add(profile)
        for name, value in values.items():
            setattr(profile, name, value)
        profile.updated_at = now()
    return context.go(f"/top-up?account={account.account_id}")


def _problem(context: Context, values: dict[str, str]) -> str:
    _ = context.translate
    if values["kind"] not in tuple(BuyerKind) or any(not values[name] for name in _REQUIRED):
        return _("Please fill in every field.")
    if any(len(values[name]) > length for name, length in _LENGTHS.items()):
        return _("One of the fields is too long.")
    if "@" not in values["email"][1:-1]:
        return _("Please give a valid e-mail address.")
    if sum(char.isdecimal() for char in values["phone"]) < 10:
        return _("Please give a phone number with its area code.")
    if values["kind"] == BuyerKind.COMPANY:
        if not is_vkn(values["tax_id"]) and not is_tckn(values["tax_id"]):
            return _("That is not a tax number: please check its digits.")
        return "" if values["tax_office"] else _("Please name the tax office.")
    if values["tax_id"] and not is_tckn(values["tax_id"]):
        return _("That is not an identity number: please check its digits.")
    return ""


def set_low_balance(context: Context) -> Response:
    """From which balance on an e-mail is sent; an empty amount ends it."""
    account = current_account(context, PAYS)
    text = form_of(context).get("threshold", "")
    try:
        threshold = money.from_person(text) if text else 0
    except ValueError:
        return _page(context, account, problem=context.translate("That is not an amount."))
    with context.services.store.transaction() as transaction:
        _keep_low_balance(transaction, context, account, threshold)
    return context.go(f"/billing?account={account.account_id}")


def _keep_low_balance(transaction: Transaction, context: Context, account: admin.Account, threshold: int) -> None:
    row = transaction.get(LowBalance, account.account_id, with_for_update=True)
    if row is not None and threshold == 0:
        transaction.delete(row)
    elif threshold:
        if row is None:
            row = LowBalance(account_id=account.account_id)
            transaction.add(row)
        row.threshold_kurus, row.email, row.language = threshold, context.me.person.email, context.language
        row.is_below, row.next_at = False, now()


def _page(
    context: Context, account: admin.Account, values: dict[str, str] | None = None, problem: str = ""
) -> Response:
    with context.services.store.transaction() as transaction:
        profile = transaction.get(BillingProfile, account.account_id)
        low_balance = transaction.get(LowBalance, account.account_id)
    may_change = may(context, account, PAYS)
    if values is None:
        names = ("kind", "tax_id", *_LENGTHS)
        if profile is None:
            values = dict.fromkeys(names, "")
            if may_change:
                values |= {"name": context.me.person.name, "email": context.me.person.email}
        else:
            values = {name: str(getattr(profile, name)) for name in names}
    threshold = "" if low_balance is None else money.to_text(low_balance.threshold_kurus)
    shown = {
        "account": account,
        "values": values,
        "problem": problem,
        "threshold": threshold,
        "may_change": may_change,
    }
    return context.render("billing/profile.html", shown, 400 if problem else 200)


ROWS = [
    Row("/billing", billing, Guard.PERSON),
    Row("/billing", save, Guard.PERSON, ("POST",)),
    Row("/billing/low-balance", set_low_balance, Guard.PERSON, ("POST",)),
]
