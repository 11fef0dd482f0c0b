"""Every page: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages import account, billing, entry, home, invoices, keys, payments, requests, usage
from console.web.guards import Row

ROWS: list[Row] = [
    *entry.ROWS,
    *account.ROWS,
    *home.ROWS,
    *keys.ROWS,
    *usage.ROWS,
    *requests.ROWS,
    *billing.ROWS,
    *payments.ROWS,
    *invoices.ROWS,
]
