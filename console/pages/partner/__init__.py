"""The partner's pages: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages.partner import accounts, margins, overview, statements, usage
from console.web.guards import Row

ROWS: list[Row] = [*overview.ROWS, *accounts.ROWS, *usage.ROWS, *margins.ROWS, *statements.ROWS]
