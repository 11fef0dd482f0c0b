"""Statements: an account's month as PDF and CSV, with the proof that anybody can check offline."""

from collections.abc import Iterator
from datetime import date
from itertools import chain

from starlette.responses import Response, StreamingResponse

from console.gateway import CallFailed
from console.web.context import Context, NotFound, Problem
from console.web.days import month_after, month_of, today
from console.web.guards import Guard, Row
from console.web.reach import current_account, watch
from proto.onysoft.v1 import admin_pb2 as admin

MONTHS_SHOWN = 12
FORMATS = {"pdf": "application/pdf", "csv": "text/csv; charset=utf-8"}


def statements(context: Context) -> Response:
    """The last twelve months of an account."""
    return context.render("statements.html", {"account": current_account(context), "months": months()})


def statement(context: Context) -> Response:
    """One of them. It is made now, and sent as soon as there is something of it."""
    account, month = current_account(context), month_of(context)
    wanted = context.request.path_params["format"]
    if wanted not in FORMATS:
        raise NotFound
    name = f"{month:%Y-%m}"
    request = admin.GetStatementRequest(account_id=account.account_id, month=name, pdf=wanted == "pdf")
    try:
        size, parts = _parts(watch(context, "GetStatement", request))
    except CallFailed as failure:
        if failure.code != "failed_precondition":
            raise
        raise Problem(context.translate("There is no statement of this month.")) from None
    headers = {
        "content-disposition": f'attachment; filename="{account.account_id}-{name}.{wanted}"',
        "content-length": str(size),
    }
    return StreamingResponse(parts, media_type=FORMATS[wanted], headers=headers)


def months() -> list[date]:
    """First days of the last months, this one first."""
    this = today().replace(day=1)
    return [month_after(this, -each) for each in range(MONTHS_SHOWN)]


def _parts(chunks: Iterator[admin.StatementChunk]) -> tuple[int, Iterator[bytes]]:
    """The file's size, once it is made, and the file. Raises CallFailed."""
    first = next(chunk for chunk in chunks if chunk.size)
    return first.size, chain((first.content,), (chunk.content for chunk in chunks))


ROWS = [
    Row("/statements", statements, Guard.PERSON),
    Row("/accounts/{account_id}/statement.{format}", statement, Guard.PERSON),
]
