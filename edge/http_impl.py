"""HTTP/1.1 on uvicorn's httptools protocol, with the limits that a public address needs while it still reads.

Every limit is enforced before the application runs or while it waits: size and time of headers, size and pauses of a
body, connections, writes that nobody takes. Errors are the catalogue's. One sweep serves all connections, so a call
needs no timer.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from edge.errors import body_of, language_of
from edge.responses import JSON, common_fields, refusal_fields
from runtime import ids
from runtime.errors import CATALOGUE, Refusal

IDLE_S = 75.0  # between two requests of a connection
BODY_TOTAL_S = 600.0
WRITE_STALL_S = 60.0  # a client that takes nothing for so long is cut off
LINGER_S = 3.0  # a refused client may still be sending; closing at once would destroy the response
LINGER_UPLOAD_S = 30.0
LINGER_BYTES_MAX = 64 * 1024 * 1024
SWEEP_S = 0.25
BACKLOG = 2_048

_monotonic = time.monotonic


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may do, and how many there may be."""

    header_bytes: int
    header_timeout_s: float
    body_bytes: int
    body_timeout_s: float
    connections: int


class Phase(Enum):
    """What a connection is waiting for."""

    IDLE = 0
    HEADERS = 1
    BODY = 2
    ENDED = 3


_IDLE, _HEADERS, _BODY, _ENDED = Phase  # an enum's attribute costs more than a name on the way of each call
_FIELD_OVERHEAD_BYTES = 4  # colon, space, line end
_LENGTH_DIGITS_MAX = 18  # of a content length; the parser has checked that they are digits


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener.config, listener.state, {}, listener.loop)
        self.listener = listener
        self.phase = _HEADERS
        self.deadline = _monotonic() + listener.limits.header_timeout_s
        self.stalled_at = 0.0
        self.on_lost: Callable[[], None] | None = None
        self.cycle: Cycle = None  # type: ignore[assignment]
        self._has_begun = False
        self._received_bytes = 0
        self._field_bytes = 0
        self._body_bytes = 0
        self._body_began_at = 0.0
        self._lingered_bytes = 0
        self._refusal = ""
        self._unparsed_bytes = 0
        self._counts_fields = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.listener.limits.connections:
            self.listener.connections_refused += 1
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline = 0.0
        self.connections.discard(self)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.wake()
        if self.flow is not None:
            self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None

    def data_received(self, data: bytes) -> None:
        if self.phase is _ENDED:
            self._discard(len(data))
            return
        if self.phase is _IDLE:
            self._begin_headers()
        self._received_bytes += len(data)
        # Headers that come in less than the limit need no counting one by one.
        self._counts_fields = len(data) > self.listener.limits.header_bytes
        if self._unparsed_bytes:
            self._take_unparsed(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_unparsed(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or "invalid_request")
            return
        if self._received_bytes > self.listener.limits.header_bytes and self.phase in (_HEADERS, _BODY):
            self._refuse("headers_too_large")

    def _take_unparsed(self, data: bytes) -> None:
        """The body of a request that asks for an upgrade (to HTTP/2, say): the parser leaves it to us. The offer is
        ignored, and the connection ends with the response."""
        body = data[: self._unparsed_bytes]
        if body:
            self._unparsed_bytes -= len(body)
            self.on_body(body)
            if not self._unparsed_bytes:
                self.on_message_complete()

    def _begin_headers(self) -> None:
        self.phase = _HEADERS
        self.deadline = _monotonic() + self.listener.limits.header_timeout_s
        self._received_bytes = 0

    # Parser callbacks

    def on_message_begin(self) -> None:
        if self.phase is _IDLE:
            self._begin_headers()
        self._has_begun = True
        self._refusal = ""
        self.url = b""
        self.headers = []
        self._field_bytes = 0
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if self._counts_fields:
            self._count_field(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._counts_fields:
            self._count_field(len(name) + len(value) + _FIELD_OVERHEAD_BYTES)
        if self.phase is not _BODY:  # else a trailer, which means nothing here
            self.headers.append((name.lower(), value))

    def _count_field(self, size: int) -> None:
        """The parser stops at an exception, and `data_received` answers."""
        self._field_bytes += size
        if self._field_bytes > self.listener.limits.header_bytes:
            self._refusal = "headers_too_large"
            raise ValueError(self._refusal)

    def on_headers_complete(self) -> None:
        existing, self.cycle = self.cycle, self._new_cycle()
        self.phase = _BODY
        self._body_began_at = _monotonic()
        self.deadline = self._body_began_at + self.listener.limits.body_timeout_s
        if existing is None or existing.response_complete:
            self._start_asgi_task(self.cycle, self.app)  # type: ignore[arg-type]
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))  # type: ignore[arg-type]

    def _new_cycle(self) -> "Cycle":
        parser = self.parser
        version = parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "connection": self,
        }
        upgrade = parser.should_upgrade()
        cycle = Cycle(self, scope, version != "1.0" and parser.should_keep_alive() and not upgrade)
        fields = scope["fields"] = dict(self.headers)
        length = int(fields.get(b"content-length", b"0")[:_LENGTH_DIGITS_MAX])
        if length > self.listener.limits.body_bytes:
            cycle.refuse("payload_too_large")
        elif upgrade:
            self._unparsed_bytes = length
        cycle.waiting_for_100_continue = fields.get(b"expect", b"").strip().lower() == b"100-continue"
        return cycle

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._received_bytes = 0  # what is counted there are headers, trailers and chunks' lines
        self.deadline = min(_monotonic() + self.listener.limits.body_timeout_s, self._body_began_at + BODY_TOTAL_S)
        if self._body_bytes > self.listener.limits.body_bytes:
            self.cycle.refuse("payload_too_large")
        cycle = self.cycle
        if cycle.response_complete or cycle.refusal:
            return
        cycle.chunks.append(body)
        cycle.waiting_bytes += len(body)
        if cycle.waiting_bytes > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.wake()

    def on_message_complete(self) -> None:
        if self._unparsed_bytes:
            return
        self.phase = _IDLE
        self._has_begun = False
        self.deadline = 0.0
        cycle = self.cycle
        cycle.body_complete = True
        if cycle.response_complete:
            self._await_next()
            return
        cycle.more_body = False
        cycle.wake()

    # The application's side

    def on_response_complete(self) -> None:
        self.on_lost = None
        self.listener.state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.phase is _IDLE:
            self._await_next()

    def _await_next(self) -> None:
        self.deadline = _monotonic() + IDLE_S

    @property
    def lost(self) -> bool:
        """Whether the client has left, or is being left."""
        return self.transport.is_closing()

    def shutdown(self) -> None:
        """No request after the one under way."""
        if self.cycle is None or (self.cycle.response_complete and not self.pipeline):
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        self.stalled_at = _monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stalled_at = 0.0
        super().resume_writing()

    # Ending

    def end(self) -> None:
        """Close after a response; a client that is still sending gets time to read it."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.body_complete:
            self._linger(LINGER_UPLOAD_S)
        else:
            self.transport.close()

    def expire(self, now: float) -> None:
        """Called by the sweep: end what has waited for too long."""
        if self.stalled_at and now - self.stalled_at > WRITE_STALL_S:
            self.listener.stalled += 1
            self.transport.abort()
        elif not self.deadline or now < self.deadline:
            return
        elif self.phase is _HEADERS and self._has_begun:
            self._refuse("request_timeout")
        elif self.phase is _BODY and not self.cycle.response_complete and not self.cycle.refusal:
            self.cycle.refuse("request_timeout")
            self.deadline = now + LINGER_UPLOAD_S
        else:
            self.transport.abort()

    def _refuse(self, code: str) -> None:
        """End a connection whose request never reached the application."""
        if self.phase is _BODY and not self.cycle.response_complete:
            self.cycle.refuse(code)
            self.phase = _ENDED
            self.deadline = _monotonic() + LINGER_UPLOAD_S
        elif self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # An earlier request is being answered: say nothing in between.
            self.phase = _ENDED
            self.deadline = 0.0
        else:
            self.transport.write(self.listener.refusal(code, self.headers or []))
            self._linger(LINGER_S)

    def _linger(self, timeout_s: float) -> None:
        self.phase = _ENDED
        self.deadline = _monotonic() + timeout_s
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._lingered_bytes += size
        if self._lingered_bytes > LINGER_BYTES_MAX:
            self.transport.abort()


class Cycle:
    """One request and its response, as ASGI. Headers leave together with the first bytes of the body.

    `receive` raises Refusal when the body breaks a limit; `scope["fields"]` are the headers as a dict, the last of each
    name; `scope["connection"]` is the connection, whose `on_lost` may be set to hear of a client that leaves.
    """

    def __init__(self, connection: EdgeProtocol, scope: dict[str, Any], keep_alive: bool) -> None:
        self.connection = connection
        self.scope = scope
        self.transport = connection.transport
        self.flow = connection.flow
        self.keep_alive = keep_alive
        self.chunks: list[bytes] = []
        self.waiting_bytes = 0
        self.more_body = True
        self.body_complete = False
        self.disconnected = False
        self.refusal = ""
        self.response_started = False
        self.response_complete = False
        self.waiting_for_100_continue = False
        self._chunked = False
        self._head = b""
        self._has_body = scope["method"] != "HEAD"
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Something has come that `receive` may be waiting for."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def refuse(self, code: str) -> None:
        """The request's body has broken a limit: `receive` raises, and the connection ends with the response."""
        if not self.refusal:
            self.refusal = code
            self.keep_alive = False
            self.chunks.clear()
            self.wake()

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            if not self.response_complete and not self.disconnected:
                self.transport.abort()

    async def receive(self) -> dict[str, Any]:
        if self.waiting_for_100_continue and not self.refusal and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.waiting_for_100_continue = False
        if not self.chunks and self.more_body and not self.refusal and not self.disconnected:
            self.flow.resume_reading()
            self._waiter = self.connection.loop.create_future()
            await self._waiter
        if self.refusal:
            raise Refusal(self.refusal, _detail_of(self.refusal))
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.waiting_bytes = 0
        self.flow.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            return
        if not self.response_started:
            self.response_started = True
            self._begin(message["status"], message["headers"])
            return
        data = self._framed(message.get("body", b""), message.get("more_body", False))
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.transport.write(data)
        if not message.get("more_body", False):
            self._complete()

    def _begin(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        parts = [STATUS_LINE[status], self.connection.listener.date_line]
        chunked = self._has_body and status != 204
        for name, value in fields:
            parts += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                chunked = False
        if chunked and self.scope["http_version"] == "1.0":
            chunked = self.keep_alive = False  # The connection's end is the body's end.
        self._chunked = chunked
        if chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        self._head = b"".join(parts)

    def _framed(self, body: bytes, more_body: bool) -> bytes:
        if not self._has_body:
            return b""
        if not self._chunked:
            return body
        framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return framed if more_body else framed + b"0\r\n\r\n"

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self.connection.end()
        self.connection.on_response_complete()


class Listener:
    """The socket that clients connect to, and all their connections."""

    def __init__(self, app: Any, limits: Limits, on_refusal: Callable[[bytes, str], None] | None = None) -> None:
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.config = uvicorn.Config(
            app, interface="asgi3", http=EdgeProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False
        )
        self.config.load()
        self.state = ServerState()
        self.date_line = b""
        self.connections_refused = 0
        self.stalled = 0
        self._on_refusal = on_refusal
        self._server: asyncio.Server | None = None
        self.sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        self._server = await self.loop.create_server(
            lambda: EdgeProtocol(self), host, port, backlog=BACKLOG, reuse_address=True
        )
        self.sweeper = asyncio.create_task(self._sweep())
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let running calls end for at most `timeout_s`, then cut what is left."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.state.connections):
            connection.shutdown()
        if self.state.tasks:
            await asyncio.wait(set(self.state.tasks), timeout=timeout_s)
        for connection in list(self.state.connections):
            connection.transport.abort()
        if self.state.tasks:
            await asyncio.wait(set(self.state.tasks), timeout=1.0)
        if self.sweeper is not None:
            self.sweeper.cancel()

    def refusal(self, code: str, headers: list[tuple[bytes, bytes]]) -> bytes:
        """A whole response for a request that the application never saw."""
        request_id = ids.mint()
        if self._on_refusal is not None:
            self._on_refusal(request_id, code)
        status = CATALOGUE[code].status
        language = language_of(dict(headers).get(b"accept-language", b""))
        body = body_of(code, _detail_of(code), language)
        fields = [
            (b"content-type", JSON),
            (b"content-length", b"%d" % len(body)),
            *common_fields(ids.text(ids.REQUEST, request_id).encode(), None),
            *refusal_fields(status, 0, False),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        return STATUS_LINE[status] + self.date_line + lines + b"\r\n" + body

    async def _sweep(self) -> None:
        while True:
            self.date_line = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
            now = _monotonic()
            for connection in list(self.state.connections):
                assert isinstance(connection, EdgeProtocol)
                connection.expire(now)
            await asyncio.sleep(SWEEP_S)


def _detail_of(code: str) -> str:
    """What is wrong when the protocol itself is."""
    return "HTTP" if code == "invalid_request" else ""
