"""Top-up by card, and what became of each payment."""

from collections.abc import Sequence

from sqlalchemy import select
from starlette.responses import Response

from console.invoices.tables import BillingProfile, Invoice
from console.invoices.tax_ids import UNKNOWN_PERSON
from console.payments import money
from console.payments.cashier import Cashier, NoProvider, TooManyOpen
from console.payments.port import Buyer, ProviderFailed
from console.payments.tables import Payment
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row, form_of
from console.web.reach import PAYS, SEES_PAYMENTS, account_of, current_account, may
from proto.onysoft.v1 import admin_pb2 as admin

ROWS_SHOWN_MAX = 200
PRESETS_LIRA = (250, 500, 1_000, 2_500)


def top_up(context: Context) -> Response:
    """Asks for the amount; somebody without billing details gives them first."""
    account = _payer(context)
    if _profile(context, account) is None:
        return context.go(f"/billing?account={account.account_id}")
    return _form(context, account, "")


def price(context: Context) -> Response:
    """The tax and the total of the amount that is being typed."""
    _payer(context)
    return context.render("billing/price.html", _priced(context, context.request.query_params.get("amount", "")))


def begin(context: Context) -> Response:
    """Begins a payment; its page leads to the provider's."""
    account = _payer(context)
    profile = _profile(context, account)
    text = form_of(context).get("amount", "")
    values = _priced(context, text)
    if profile is None:
        return context.go(f"/billing?account={account.account_id}")
    if values["problem"]:
        return _form(context, account, text, str(values["problem"]))
    cashier = Cashier(context.services.settings, context.services.store, context.services.gateway)
    priced = values["price"]
    assert isinstance(priced, money.Price)
    description = context.translate("API credit")
    try:
        payment_id = cashier.open(account.account_id, priced, _buyer(context, profile), context.language, description)
    except NoProvider:
        raise Problem(context.translate("Payments by card are not available here."), 503) from None
    except TooManyOpen:
        message = context.translate(
            "Several payments are waiting already. Please finish one of them, or try again later."
        )
        return _form(context, account, text, message, 429)
    except ProviderFailed:
        message = context.translate("The payment provider cannot be reached right now. Please try again.")
        return _form(context, account, text, message, 503)
    return context.go(f"/payments/{payment_id}")


def payments(context: Context) -> Response:
    """The newest payments of the account, and their invoices."""
    account = current_account(context, SEES_PAYMENTS)
    rows, invoices = newest(context, account, ROWS_SHOWN_MAX)
    values = {
        "account": account,
        "payments": rows,
        "invoices": invoices,
        "lira": money.to_text,
        "may_pay": may(context, account, PAYS),
    }
    return context.render("billing/payments.html", values)


def newest(context: Context, account: admin.Account, limit: int) -> tuple[Sequence[Payment], Sequence[Invoice]]:
    """The latest payments and invoices of an account, the latest first."""
    with context.services.store.transaction() as transaction:
        query = select(Payment).where(Payment.account_id == account.account_id)
        invoices = select(Invoice).where(Invoice.account_id == account.account_id)
        return (
            transaction.scalars(query.order_by(Payment.created_at.desc()).limit(limit)).all(),
            transaction.scalars(invoices.order_by(Invoice.issued_at.desc()).limit(limit)).all(),
        )


def payment(context: Context) -> Response:
    """One payment; while it is open, the page asks again by itself."""
    found, account = payment_of(context, context.request.path_params["payment_id"])
    with context.services.store.transaction() as transaction:
        query = select(Invoice).where(Invoice.payment_id == found.id).order_by(Invoice.issued_at)
        invoices = transaction.scalars(query).all()
    values = {
        "payment": found,
        "invoices": invoices,
        "lira": money.to_text,
        "may_pay": may(context, account, PAYS),
    }
    return context.render("billing/payment.html", values)


def payment_of(context: Context, payment_id: str) -> tuple[Payment, admin.Account]:
    """A payment, with its account, whose payments the person may see. Raises NotFound."""
    with context.services.store.transaction() as transaction:
        found = transaction.get(Payment, payment_id)
    if found is None:
        raise NotFound
    return found, account_of(context, found.account_id, SEES_PAYMENTS)


def _payer(context: Context) -> admin.Account:
    """Cards pay in lira, into accounts that stand for themselves: a partner's customers get theirs from the partner."""
    account = current_account(context, PAYS)
    if account.balance.currency != "TRY" or account.parent_id:
        raise Problem(context.translate("This account cannot be topped up by card."))
    return account


def _profile(context: Context, account: admin.Account) -> BillingProfile | None:
    with context.services.store.transaction() as transaction:
        return transaction.get(BillingProfile, account.account_id)


def _priced(context: Context, text: str) -> dict[str, object]:
    settings, _ = context.services.settings, context.translate
    try:
        net = money.from_person(text)
    except ValueError:
        return {"price": None, "problem": _("That is not an amount."), "lira": money.to_text}
    if not settings.topup_min_kurus <= net <= settings.topup_max_kurus:
        least, most = (money.to_text(each) for each in (settings.topup_min_kurus, settings.topup_max_kurus))
        values = {"least": context.formats.money(least, "TRY"), "most": context.formats.money(most, "TRY")}
        return {"price": None, "problem": _("From %(least)s to %(most)s.", **values), "lira": money.to_text}
    return {"price": money.price_of(net, settings.vat_bps), "problem": "", "lira": money.to_text}


def _form(context: Context, account: admin.Account, amount: str, problem: str = "", status: int = 400) -> Response:
    values = {"account": account, "amount": amount, "problem": problem, "presets": PRESETS_LIRA}
    return context.render("billing/top_up.html", values, status if problem else 200)


def _buyer(context: Context, profile: BillingProfile) -> Buyer:
    person = context.me.person
    first, _, last = person.name.rpartition(" ")
    return Buyer(
        id=person.id,
        name=first or last,
        surname=last,
        email=profile.email,
        phone=profile.phone,
        identity_number=profile.tax_id or UNKNOWN_PERSON,
        address=f"{profile.address}, {profile.district}",
        city=profile.city,
        country="Türkiye",
        network_address=context.address,
    )


ROWS = [
    Row("/top-up", top_up, Guard.PERSON),
    Row("/top-up", begin, Guard.PERSON, ("POST",)),
    Row("/top-up/price", price, Guard.PERSON),
    Row("/payments", payments, Guard.PERSON),
    Row("/payments/{payment_id}", payment, Guard.PERSON),
]
