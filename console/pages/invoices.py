"""Invoices to look at and to keep: PDF for people, XML for programs."""

from starlette.responses import Response

from console.invoices.document import from_json
from console.invoices.pdf import to_pdf
from console.invoices.tables import Invoice
from console.web.context import Context, NotFound
from console.web.guards import Guard, Row
from console.web.reach import PAYS, account_of


def as_pdf(context: Context) -> Response:
    """As people read it."""
    invoice = invoice_of(context)
    return _file(to_pdf(from_json(invoice.document)), "application/pdf", f"{invoice.number}.pdf")


def as_xml(context: Context) -> Response:
    """UBL-TR, as it went to the tax administration."""
    invoice = invoice_of(context)
    return _file(invoice.xml, "application/xml", f"{invoice.number}.xml")


def invoice_of(context: Context) -> Invoice:
    """An invoice of an account that the person may pay for. Raises NotFound."""
    with context.services.store.transaction() as transaction:
        found = transaction.get(Invoice, context.request.path_params["invoice_id"])
    if found is None:
        raise NotFound
    account_of(context, found.account_id, PAYS)
    return found


def _file(body: bytes, media_type: str, name: str) -> Response:
    return Response(body, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})


ROWS = [
    Row("/invoices/{invoice_id}/pdf", as_pdf, Guard.PERSON),
    Row("/invoices/{invoice_id}/xml", as_xml, Guard.PERSON),
]
