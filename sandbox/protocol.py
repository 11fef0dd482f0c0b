"""HTTP/1.1 on a raw asyncio protocol: parsing, limits, framing. It knows nothing of chat.

One request at a time is served for each connection; further ones that were pipelined wait, up to a limit.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools

HEADERS_BYTES_MAX = 32_768
BODY_BYTES_MAX = 32 * 1024 * 1024
CONNECTIONS_MAX = 10_000
PIPELINED_MAX = 64
WRITE_BUFFER_BYTES = 256 * 1024
LINGER_S = 1.0

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_LENGTH_DIGITS_MAX = 12
_JSON = b"application/json"


class Request:
    """One request, whole."""

    __slots__ = ("authorization", "body", "content_type", "keep_alive", "method", "path", "query", "traceparent")

    def __init__(self, method: bytes, url: bytes, keep_alive: bool) -> None:
        path, _, query = url.partition(b"?")
        self.method = method
        self.path = path
        self.query = query
        self.keep_alive = keep_alive
        self.authorization = b""
        self.traceparent = b""
        self.content_type = b""
        self.body = b""


Serve = Callable[[Request, "Connection"], None]


def head(status: int, content_type: bytes, length: int, extra: bytes, keep_alive: bool) -> bytes:
    """Status line and headers of an answer of known length; `extra` is whole header lines."""
    return b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        status,
        _REASONS.get(status, b"Unknown"),
        content_type,
        length,
        extra,
        b"" if keep_alive else b"connection: close\r\n",
    )


class Connection(asyncio.Protocol):
    """A client's connection, and the means to answer the request being served.

    `on_gone` is called once if the client leaves before the answer's end; `on_writable` when a full socket has room.
    """

    def __init__(self, serve: Serve, connections: "set[Connection]") -> None:
        self._serve = serve
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._ready: deque[Request] = deque()
        self._request: Request | None = None
        self._chunked = True
        self._fresh()
        self._refused = False
        self.paused = False
        self.on_gone: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    def _fresh(self) -> None:
        self._url = b""
        self._authorization = b""
        self._traceparent = b""
        self._content_type = b""
        self._expects_continue = False
        self._in_head = True
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._too_large = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._ready.clear()
        gone, self.on_gone, self.on_writable = self.on_gone, None, None
        if gone is not None:
            gone()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.on_writable is not None:
            self.on_writable()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(413 if self._too_large else 400)
            return
        if self._in_head and self._head_bytes > HEADERS_BYTES_MAX:
            self._refuse(431)
        elif self._too_large:
            self._refuse(413)
        elif len(self._ready) > PIPELINED_MAX:
            self._transport.abort()
        elif self._request is None and self._ready:
            self._next()

    def _refuse(self, status: int) -> None:
        """Answer, and read on for a moment: a socket closed on unread bytes would take the answer with it."""
        self._refused = True
        self._body.clear()
        if self._request is None:
            self._transport.write(head(status, _JSON, 0, b"", False))
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()

    # the parser's side

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size == 13 and name.lower() == b"authorization":
            self._authorization = value
        elif size == 11 and name.lower() == b"traceparent":
            self._traceparent = value
        elif size == 14 and name.lower() == b"content-length":
            self._too_large = len(value) > _LENGTH_DIGITS_MAX or int(value) > BODY_BYTES_MAX
        elif size == 12 and name.lower() == b"content-type":
            self._content_type = value
        elif size == 6 and name.lower() == b"expect":
            self._expects_continue = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._expects_continue and self._request is None and not self._too_large:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._too_large = True
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._too_large:
            return
        request = Request(self._parser.get_method(), self._url, self._parser.should_keep_alive())
        request.authorization = self._authorization
        request.traceparent = self._traceparent
        request.content_type = self._content_type
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._ready.append(request)
        self._fresh()

    # the server's side

    def _next(self) -> None:
        if not self._ready or self._request is not None:
            return
        self._request = self._ready.popleft()
        self._serve(self._request, self)

    def _finished(self) -> None:
        request, self._request = self._request, None
        self.on_gone = self.on_writable = None
        if request is None or not request.keep_alive:
            self._transport.close()
        elif self._ready:
            asyncio.get_running_loop().call_soon(self._next)

    def answer(self, status: int, body: bytes, content_type: bytes = _JSON, extra: bytes = b"") -> None:
        """Send a whole answer."""
        keep_alive = self._request is not None and self._request.keep_alive
        self._transport.write(head(status, content_type, len(body), extra, keep_alive) + body)
        self._finished()

    def answer_part(self, body: bytes, sent: int, extra: bytes = b"") -> None:
        """Promise all of `body`, send `sent` bytes of it and close the socket."""
        self._transport.write(head(200, _JSON, len(body), extra, False) + body[:sent])
        self._finished_by_close()

    def begin(self, data: bytes, extra: bytes = b"") -> None:
        """Begin an event stream, with its first bytes."""
        self._chunked = self._parser.get_http_version() != "1.0"
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b"connection: close\r\n"
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n%b%b\r\n%b"
            % (framing, extra, self._frame(data))
        )

    def send(self, data: bytes) -> None:
        """Send more of an event stream."""
        self._transport.write(self._frame(data))

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes of an event stream."""
        if self._chunked:
            self._transport.write(self._frame(data) + b"0\r\n\r\n")
            self._finished()
        else:
            self._transport.write(data)
            self._finished_by_close()

    def drop(self) -> None:
        """Close the socket in the middle of an answer, once what was written has left."""
        self._finished_by_close()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the client to read."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the socket at once; a call that was being served is told that its client is gone."""
        self.connection_lost(None)
        self._transport.abort()

    def _finished_by_close(self) -> None:
        self._request = None
        self._ready.clear()
        self.on_gone = self.on_writable = None
        self._transport.close()

    def _frame(self, data: bytes) -> bytes:
        if not self._chunked or not data:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)
