"""The administrator's pages: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages.admin import (
    accounts,
    acts,
    catalogue,
    credits,
    health,
    incidents,
    invoices,
    ledger,
    payments,
    people,
    rates,
    reconcile,
    sync,
)
from console.web.guards import Row

ROWS: list[Row] = [
    *health.ROWS,
    *accounts.ROWS,
    *people.ROWS,
    *credits.ROWS,
    *payments.ROWS,
    *invoices.ROWS,
    *incidents.ROWS,
    *sync.ROWS,
    *catalogue.ROWS,
    *rates.ROWS,
    *ledger.ROWS,
    *reconcile.ROWS,
    *acts.ROWS,
]
