"""The administrator's pages: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages.admin import accounts, acts
from console.web.guards import Row

ROWS: list[Row] = [
    *accounts.ROWS,
    *acts.ROWS,
]
