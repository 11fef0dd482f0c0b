"""Invoices to look at and to keep: PDF for people, XML for programs."""

from sqlalchemy import select
from starlette.responses import Response

from console.invoices.document import from_json
from console.invoices.pdf import to_pdf
from console.invoices.tables import Invoice
from console.payments import money
from console.web.context import Context, NotFound
from console.web.guards import Guard, Row
from console.web.paging import ROWS_A_PAGE, page_of
from console.web.reach import SEES_PAYMENTS, account_of, current_account


def invoices(context: Context) -> Response:
    """Those of the account, the latest first, a page at a time."""
    account, page = current_account(context, SEES_PAYMENTS), page_of(context)
    query = select(Invoice).where(Invoice.account_id == account.account_id)
    query = query.order_by(Invoice.issued_at.desc(), Invoice.id.desc()).offset(page * ROWS_A_PAGE)
    with context.services.store.transaction() as transaction:
        found = transaction.scalars(query.limit(ROWS_A_PAGE + 1)).all()
    values = {
        "account": account,
        "invoices": found[:ROWS_A_PAGE],
        "page": page,
        "more": len(found) > ROWS_A_PAGE,
        "lira": money.to_text,
    }
    return context.render("billing/invoices.html", values)


def as_pdf(context: Context) -> Response:
    """As people read it."""
    invoice = invoice_of(context)
    return _file(to_pdf(from_json(invoice.document)), "application/pdf", f"{invoice.number}.pdf")


def as_xml(context: Context) -> Response:
    """UBL-TR, as it went to the tax administration."""
    invoice = invoice_of(context)
    return _file(invoice.xml, "application/xml", f"{invoice.number}.xml")


def invoice_of(context: Context) -> Invoice:
    """An invoice of an account whose payments the person may see. Raises NotFound."""
    with context.services.store.transaction() as transaction:
        found = transaction.get(Invoice, context.request.path_params["invoice_id"])
    if found is None:
        raise NotFound
    account_of(context, found.account_id, SEES_PAYMENTS)
    return found


def _file(body: bytes, media_type: str, name: str) -> Response:
    return Response(body, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})


ROWS = [
    Row("/invoices", invoices, Guard.PERSON),
    Row("/invoices/{invoice_id}/pdf", as_pdf, Guard.PERSON),
    Row("/invoices/{invoice_id}/xml", as_xml, Guard.PERSON),
]
