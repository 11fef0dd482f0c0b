"""The administrator's pages: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages.admin import accounts, acts, catalogue, people, rates, sync
from console.web.guards import Row

ROWS: list[Row] = [
    *accounts.ROWS,
    *people.ROWS,
    *sync.ROWS,
    *catalogue.ROWS,
    *rates.ROWS,
    *acts.ROWS,
]
