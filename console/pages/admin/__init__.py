"""The administrator's pages: one module a subject, each with its rows; `ROWS` has them all."""

from console.web.guards import Row

ROWS: list[Row] = []
