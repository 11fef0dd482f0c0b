"""All payments by card: listed, looked at with their history, refunded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction
from starlette.responses import Response

from console.invoices.tables import Invoice, Kind
from console.pages.admin.accounts import named
from console.pages.admin.reasons import reason_of
from console.payments import money
from console.payments.cashier import Cashier, NoProvider, RefundRunning
from console.payments.port import ProviderFailed
from console.payments.tables import Incident, Payment, Reversal, State
from console.people import acts
from console.people.tables import Act, Person, Standing
from console.web.context import Context, NotFound, Problem
from console.web.days import day_of, midnight
from console.web.guards import Guard, Row, form_of
from console.web.paging import ROWS_A_PAGE, page_of
from console.web.words import INCIDENTS

PROVIDERS = ("iyzico", "paytr")
FILTERS = ("state", "provider", "account", "day")
FILTER_CHARACTERS_MAX = 32
REFUND_ASKED = "payment.refund_asked"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that became of a payment; `detail` says more."""

    at: datetime
    text: str
    detail: str = ""


def payments(context: Context) -> Response:
    """A page of them, the newest first."""
    asked, page = context.request.query_params, page_of(context)
    filters = {name: asked.get(name, "").strip()[:FILTER_CHARACTERS_MAX] for name in FILTERS}
    query = select(Payment).order_by(Payment.created_at.desc(), Payment.id)
    if filters["state"] in tuple(State):
        query = query.where(Payment.state == filters["state"])
    if filters["provider"]:
        query = query.where(Payment.provider == filters["provider"])
    if filters["account"]:
        query = query.where(Payment.account_id == filters["account"])
    day = day_of(filters["day"])
    if day is not None:
        query = query.where(Payment.created_at >= midnight(day), Payment.created_at < midnight(day + timedelta(days=1)))
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.offset(page * ROWS_A_PAGE).limit(ROWS_A_PAGE + 1)).all()
    shown = found[:ROWS_A_PAGE]
    values = {
        "payments": shown,
        "accounts": named(context, [each.account_id for each in shown]),
        "filters": filters,
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "states": tuple(State),
        "providers": PROVIDERS,
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
        "lira": money.to_text,
    }
    return context.render("admin/payments.html", values)


def payment(context: Context) -> Response:
    """One of them, with all that became of it."""
    with context.services.store.transaction() as transaction:
        found = _found(context, transaction)
        invoices = transaction.scalars(
            select(Invoice).where(Invoice.payment_id == found.id).order_by(Invoice.issued_at)
        ).all()
        history = sorted(_history(context, transaction, found, list(invoices)), key=lambda each: each.at)
        person = transaction.get(Person, found.person_id)
    values = {
        "payment": found,
        "person": person,
        "account": named(context, [found.account_id]).get(found.account_id),
        "invoices": invoices,
        "history": history,
        "left": money.to_text(found.gross_kurus - found.returned_kurus),
        "may_refund": context.me.person.standing == Standing.ADMINISTRATOR and found.state == State.CREDITED,
        "lira": money.to_text,
    }
    return context.render("admin/payment.html", values)


def refund(context: Context) -> Response:
    """Sends money back to the card it came from. A form that is sent twice refunds once."""
    with context.services.store.transaction() as transaction:
        found = _found(context, transaction)
    values = form_of(context)
    try:
        gross, seen = money.from_person(values.get("amount", "")), int(values.get("returned", ""))
    except ValueError:
        raise Problem(context.translate("Please give an amount such as 250 or 99.90.")) from None
    detail = f"{money.to_text(gross)} {found.currency} {reason_of(context)}"
    note = partial(acts.record, person_id=context.me.person.id, what=REFUND_ASKED, subject=found.id, detail=detail)
    services = context.services
    cashier = Cashier(services.settings, services.store, services.gateway)
    try:
        cashier.refund(found.id, gross, seen, note)
    except ValueError:
        message = context.translate("This cannot be refunded, or something went back meanwhile. Please look again.")
        raise Problem(message, 409) from None
    except RefundRunning:
        message = context.translate("A refund of this payment is under way. Please look again in two minutes.")
        raise Problem(message, 409) from None
    except NoProvider:
        raise Problem(context.translate("Payments by card are not available here."), 503) from None
    except ProviderFailed:
        message = context.translate("The payment provider did not confirm it. Please look again in two minutes.")
        raise Problem(message, 503) from None
    return context.go(f"/admin/payments/{found.id}")


def _found(context: Context, transaction: Transaction) -> Payment:
    found = transaction.get(Payment, context.request.path_params["payment_id"])
    if found is None:
        raise NotFound
    return found


def _history(context: Context, transaction: Transaction, found: Payment, invoices: list[Invoice]) -> list[Happening]:
    _ = context.translate
    history = [Happening(found.created_at, _("begun"))]
    if found.paid_at:
        history.append(Happening(found.paid_at, _("paid")))
    if found.credited_at:
        credited = context.formats.money(money.to_text(found.net_kurus), found.currency)
        history.append(Happening(found.credited_at, _("credited"), credited))
    for each in transaction.scalars(select(Reversal).where(Reversal.payment_id == found.id)):
        gone = context.formats.money(money.to_text(each.gross_kurus), found.currency)
        history.append(Happening(each.created_at, _("went back to the card"), gone))
        if each.reversed_at:
            taken = context.formats.money(money.to_text(each.net_kurus), found.currency)
            history.append(Happening(each.reversed_at, _("taken out of the balance"), taken))
    for invoice in invoices:
        text = _("return invoice issued") if invoice.kind == Kind.RETURN else _("invoice issued")
        history.append(Happening(invoice.issued_at, text, invoice.number))
    for incident in transaction.scalars(select(Incident).where(Incident.subject == found.id)):
        kind = _("incident: %(kind)s", kind=_(INCIDENTS.get(incident.kind, incident.kind)))
        history.append(Happening(incident.last_at, kind, incident.detail))
    for act in transaction.scalars(select(Act).where(Act.subject == found.id, Act.what == REFUND_ASKED)):
        person = transaction.get(Person, act.person_id)
        name = (person.name if person else "") or _("an erased person")
        history.append(Happening(act.at, _("refund asked for by %(name)s", name=name), act.detail))
    return history


ROWS = [
    Row("/admin/payments", payments, Guard.SUPPORT),
    Row("/admin/payments/{payment_id}", payment, Guard.SUPPORT),
    Row("/admin/payments/{payment_id}/refund", refund, Guard.ADMINISTRATOR, ("POST",)),
]
