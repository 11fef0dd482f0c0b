"""Statements: an account's month as PDF and CSV, with the proof that anybody can check offline.

A page waits while its statement is made, so only some may wait at a time: the others would have no thread left.
"""

import tempfile
from collections.abc import Iterator
from datetime import date
from threading import BoundedSemaphore
from typing import IO

from starlette.responses import Response, StreamingResponse

from console.gateway import CallFailed
from console.web.context import Context, NotFound, Problem
from console.web.days import month_after, month_of, today
from console.web.guards import Guard, Row
from console.web.reach import current_account, watch
from proto.onysoft.v1 import admin_pb2 as admin

MONTHS_SHOWN = 12
WAITING_MAX = 8
MEMORY_BYTES_MAX = 1_000_000
PART_BYTES = 256 * 1024
FORMATS = {"pdf": "application/pdf", "csv": "text/csv; charset=utf-8"}

_waiting = BoundedSemaphore(WAITING_MAX)


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
    if not _waiting.acquire(blocking=False):
        message = context.translate("Many statements are being made just now. Please try again in a minute.")
        raise Problem(message, 503)
    try:
        size, file = _made(watch(context, "GetStatement", request))
    except CallFailed as failure:
        if failure.code != "failed_precondition":
            raise
        raise Problem(context.translate("There is no statement of this month.")) from None
    finally:
        _waiting.release()
    headers = {
        "content-disposition": f'attachment; filename="{account.account_id}-{name}.{wanted}"',
        "content-length": str(size),
    }
    return StreamingResponse(_parts(file), media_type=FORMATS[wanted], headers=headers)


def months() -> list[date]:
    """First days of the last months, this one first."""
    this = today().replace(day=1)
    return [month_after(this, -each) for each in range(MONTHS_SHOWN)]


def _made(chunks: Iterator[admin.StatementChunk]) -> tuple[int, IO[bytes]]:
    """The whole file and its size; it goes when it is closed or forgotten. Raises CallFailed."""
    file = tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX)  # noqa: SIM115 - the response closes it
    for chunk in chunks:
        file.write(chunk.content)
    size = file.tell()
    file.seek(0)
    return size, file


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(PART_BYTES):
            yield part


ROWS = [
    Row("/statements", statements, Guard.PERSON),
    Row("/accounts/{account_id}/statement.{format}", statement, Guard.PERSON),
]
