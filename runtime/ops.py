"""The operator's port of a process: GET /healthz, /readyz and /metrics, on an address that is never public."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest

from runtime.settings import Settings

_REQUEST_BYTES_MAX = 65_536
_BODY_BYTES_MAX = 1_000_000
_REQUEST_TIMEOUT_S = 5.0
_CONNECTIONS_MAX = 32
_LAG_PERIOD_S = 0.5

_LOOP_LAG = Gauge("onysoft_loop_lag_seconds", "How late the event loop ran a timer, latest sample")
_PROCESS = Gauge("onysoft_process", "1, with the name of the process", ["process"])
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: int
    content_type: str
    body: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


More = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Page | None]]
"""Method, target, headers in lower case, body → the answer; None: no such page."""


class Ops:
    """Answers an operator's probes. One request a connection; more than 32 connections at once are closed.

    `ready` returns None when the process can take work, else the reason why it cannot.
    """

    def __init__(self, settings: Settings, process: str, ready: Callable[[], str | None]) -> None:
        self._host = settings.ops_host
        self._port = settings.ops_port
        self._process = settings.process_name or process
        self._ready = ready
        self._more: More | None = None
        self._more_timeout_s = 0.0
        self._open = 0
        self._server: asyncio.Server | None = None
        self._lag_timer: asyncio.TimerHandle | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_BYTES_MAX)
        _PROCESS.labels(self._process).set(1)
        self._measure_lag(asyncio.get_running_loop().time())
        return int(self._server.sockets[0].getsockname()[1])

    def serve_more(self, more: More, timeout_s: float) -> None:
        """Let `more` answer, within `timeout_s`, what this port has no page for; POST too."""
        self._more = more
        self._more_timeout_s = timeout_s

    async def close(self) -> None:
        """Stop listening."""
        if self._lag_timer is not None:
            self._lag_timer.cancel()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS_MAX:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                answer = self._answer(head)
                if answer is None:
                    async with asyncio.timeout(_REQUEST_TIMEOUT_S + self._more_timeout_s):
                        answer = await self._answer_more(head, reader)
                async with asyncio.timeout(_REQUEST_TIMEOUT_S + self._more_timeout_s):
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError, ValueError):
            pass
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes | None:
        """The answer of this port's own pages; None when others are to be asked."""
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return _response(Page(400, _JSON, b'{"error":"bad request"}'))
        method, target, _version = words
        page = self._page(target.split(b"?", 1)[0])
        if page is None and self._more is not None and method in (b"GET", b"POST"):
            return None
        if method not in (b"GET", b"HEAD"):
            return _response(Page(405, _JSON, b'{"error":"only GET"}'))
        response = _response(page or _NOT_FOUND)
        return response if method == b"GET" else response[: response.index(b"\r\n\r\n") + 4]

    async def _answer_more(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        """Raises ValueError for what is no HTTP, TimeoutError."""
        assert self._more is not None, "somebody else answers"
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if headers.get("expect", "").lower() == "100-continue":
            return _response(Page(417, _JSON, b'{"error":"send the body at once"}'))
        body = await _body(reader, headers)
        if body is None:
            return _response(Page(413, _JSON, b'{"error":"too large"}'))
        return _response(await self._more(method, target, headers, body) or _NOT_FOUND)

    def _page(self, path: bytes) -> Page | None:
        if path == b"/healthz":
            return Page(200, _JSON, orjson.dumps({"healthy": True, "process": self._process}))
        if path == b"/readyz":
            reason = self._ready()
            page = {"ready": reason is None, "process": self._process, "reason": reason}
            return Page(200 if reason is None else 503, _JSON, orjson.dumps(page))
        if path == b"/metrics":
            return Page(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
        return None

    def _measure_lag(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        _LOOP_LAG.set(max(0.0, now - due))
        self._lag_timer = loop.call_at(now + _LAG_PERIOD_S, self._measure_lag, now + _LAG_PERIOD_S)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes | None:
    """A request's body; None when it is too large. Raises ValueError, IncompleteReadError."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        size = int(headers.get("content-length", "0"))
        return await reader.readexactly(size) if 0 <= size <= _BODY_BYTES_MAX else None
    parts: list[bytes] = []
    total = 0
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        total += size
        if total > _BODY_BYTES_MAX:
            return None
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(parts)


def _response(page: Page) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in page.fields.items())
    head = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\ncontent-type: {page.content_type}\r\n"
        f"content-length: {len(page.body)}\r\n{more}connection: close\r\n\r\n"
    )
    return head.encode() + page.body


_NOT_FOUND = Page(404, _JSON, b'{"error":"not found"}')
