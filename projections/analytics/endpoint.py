"""Enough of ClickHouse's HTTP interface to be asked by curl, clickhouse-connect and Grafana's plugin, read-only.

    curl 'http://127.0.0.1:9090/?query=SELECT+count()+FROM+charges'
    curl 'http://127.0.0.1:9090/?default_format=JSONEachRow' --data-binary 'SELECT * FROM balances'

The query is the parameter `query` followed by the body, as ClickHouse has it; `param_x` fills `{x:Type}`. Settings in
the address are not applied: limits are the operator's.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

from projections.analytics.guard import has_format
from projections.analytics.native import with_revision
from projections.analytics.readers import Busy, QueryRefused, Readers
from projections.analytics.store import StoreFailed
from runtime.ops import Page

BODY_BYTES_MAX = 1_000_000

_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z0-9]{1,40}")
_STATUS = {"60": 404, "81": 404, "62": 400, "47": 400, "46": 404, "159": 408, "164": 403, "241": 503, "396": 413}
_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}
_READONLY_CODE = "164"


class Endpoint:
    """Answers what the operator's port does not know itself."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Page | None:
        """The answer to one request; None when the path is nobody's."""
        path, _, search = target.partition("?")
        if path == "/ping":
            return Page(200, "text/plain", b"Ok.\n")
        if path not in ("/", "/query"):
            return None
        parameters = dict(parse_qsl(search, keep_blank_values=True, encoding="utf-8", errors="replace"))
        if "multipart/form-data" in headers.get("content-type", "") or headers.get("content-encoding"):
            return _failure(415, "0", "send the query as it is: neither as a form nor compressed")
        query = "\n".join(part for part in (parameters.get("query", ""), body.decode(errors="replace")) if part)
        if not query:
            return Page(200, "text/plain", b"Ok.\n")
        form = headers.get("x-clickhouse-format") or parameters.get("default_format") or "TabSeparated"
        if not _NAME.fullmatch(form):
            return _failure(400, "73", "unknown format")
        filled = {name[6:]: _unescaped(value) for name, value in parameters.items() if name.startswith("param_")}
        revision = parameters.get("client_protocol_version", "")
        return await self._ask(query, form, filled, int(revision) if revision.isdecimal() else 0)

    async def _ask(self, query: str, form: str, filled: Mapping[str, str], revision: int) -> Page:
        began = time.monotonic()
        try:
            content = await self._readers.raw(query, form, filled)
            if revision and form == "Native" and not has_format(query):
                content = await asyncio.to_thread(with_revision, content, revision)
        except ValueError as error:
            return _failure(400, "50", str(error))
        except QueryRefused as error:
            return _failure(403, _READONLY_CODE, str(error))
        except Busy as error:
            return _failure(503, "202", str(error))
        except StoreFailed as error:
            found = _CODE.search(str(error))
            code = found.group(1) if found else "0"
            return _failure(_STATUS.get(code, 500), code, str(error))
        elapsed_ns = int((time.monotonic() - began) * 1_000_000_000)
        summary = f'{{"result_bytes":"{len(content)}","elapsed_ns":"{elapsed_ns}"}}'
        fields = {"X-ClickHouse-Format": form, "X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": summary}
        return Page(200, _TYPES.get(form, "application/octet-stream"), content, fields)


def _unescaped(value: str) -> str:
    """A parameter's value: in the address it is escaped as in TabSeparated."""
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found.group(1), found.group(1)), value)


def _failure(status: int, code: str, message: str) -> Page:
    text = message if message.startswith("Code: ") else f"Code: {code}. DB::Exception: {message}"
    return Page(status, "text/plain; charset=UTF-8", f"{text}\n".encode(), {"X-ClickHouse-Exception-Code": code})
