"""All invoices, rejected ones first; sent again where that is possible."""

from urllib.parse import urlencode

from sqlalchemy import case, select
from sqlalchemy.exc import NoResultFound
from starlette.responses import Response

from console.invoices.office import Office
from console.invoices.tables import Invoice, State
from console.pages.admin.accounts import named
from console.payments import money
from console.people import acts
from console.people.tables import Standing
from console.web.context import Context, NotFound, Problem
from console.web.guards import Guard, Row
from console.web.paging import ROWS_A_PAGE, page_of

FILTER_CHARACTERS_MAX = 32


def invoices(context: Context) -> Response:
    """A page of them: rejected ones, then the newest."""
    asked, page = context.request.query_params, page_of(context)
    filters = {name: asked.get(name, "").strip()[:FILTER_CHARACTERS_MAX] for name in ("state", "account", "number")}
    rejected = case((Invoice.state == State.REJECTED, 0), else_=1)
    query = select(Invoice).order_by(rejected, Invoice.issued_at.desc(), Invoice.id)
    if filters["state"] in tuple(State):
        query = query.where(Invoice.state == filters["state"])
    if filters["account"]:
        query = query.where(Invoice.account_id == filters["account"])
    if filters["number"]:
        query = query.where(Invoice.number == filters["number"].upper())
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.offset(page * ROWS_A_PAGE).limit(ROWS_A_PAGE + 1)).all()
    shown = found[:ROWS_A_PAGE]
    values = {
        "invoices": shown,
        "accounts": named(context, [each.account_id for each in shown]),
        "filters": filters,
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "states": tuple(State),
        "may_change": context.me.person.standing == Standing.ADMINISTRATOR,
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
        "lira": money.to_text,
    }
    return context.render("admin/invoices.html", values)


def send_again(context: Context) -> Response:
    """As it is: number and text of an invoice are final."""
    invoice_id = context.request.path_params["invoice_id"]
    services = context.services
    office = Office(services.settings, services.store)
    try:
        with services.store.transaction() as transaction:
            office.send_again(transaction, invoice_id)
            acts.record(transaction, context.me.person.id, "invoice.sent_again", invoice_id)
    except NoResultFound:
        raise NotFound from None
    except ValueError:
        raise Problem(context.translate("This invoice is on its way, or was accepted."), 409) from None
    return context.go("/admin/invoices")


ROWS = [
    Row("/admin/invoices", invoices, Guard.SUPPORT),
    Row("/admin/invoices/{invoice_id}/send", send_again, Guard.ADMINISTRATOR, ("POST",)),
]
