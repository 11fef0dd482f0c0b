"""One HTTP/1.1 connection to a provider, and the answer being read from it.

Built on httptools rather than on a client library for its cost: docs/decisions/001-http-client.md has the figures.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from core.providers.port import FailureKind, ProviderFailure

HEAD_BYTES_MAX = 256 * 1024
"""Bytes in which an answer's headers must be whole."""
WHOLE_BYTES_MAX = 32 * 1024 * 1024
"""Largest answer that is read whole."""
STREAM_BYTES_MAX = 512 * 1024 * 1024
"""Largest streamed answer; the sum of all its events, which are not kept."""
JOINED_BYTES_MAX = 16 * 1024
"""A body up to this size is copied behind its headers: one write, and one TLS record, cost less than two."""
UNREAD_BYTES_MAX = 256 * 1024
"""Bytes of a streamed answer that wait for their reader; beyond it the socket is not read."""


class Reply:
    """One answer: status, headers, and a body that is read whole or piece by piece.

    Always `close()` it: a connection whose answer was read to its end goes back to the pool, any other is aborted.
    """

    __slots__ = (
        "_connection",
        "_failure",
        "_loop",
        "_paused",
        "_pieces",
        "_size",
        "_waiter",
        "_whole",
        "complete",
        "deadline",
        "due",
        "headers",
        "idle_s",
        "status",
        "unread",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, whole: bool, due: float, deadline: float, idle_s: float
    ) -> None:
        self.status = 0
        """HTTP status; 0 until the headers are whole."""
        self.headers: dict[bytes, bytes] = {}
        """By lower-case name; of a repeated header, the last."""
        self.complete = False
        self.due = due
        """Loop time at which the answer is given up, unless bytes arrive; never after `deadline`."""
        self.deadline = deadline
        self.idle_s = idle_s
        self.unread = 0
        self._connection: Connection | None = None
        self._loop = loop
        self._whole = whole
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._failure: ProviderFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    def bind(self, connection: "Connection") -> None:
        """The connection that will answer."""
        self._connection = connection

    async def head(self) -> None:
        """Wait for status and headers. Raises ProviderFailure."""
        while not self.status:
            await self._changed()

    async def ended(self) -> None:
        """Wait for the end of an answer that is read whole. Raises ProviderFailure."""
        while not self.complete:
            await self._changed()

    def body(self) -> bytes:
        """The body of an answer that has ended; once."""
        return self._taken()

    async def piece(self) -> bytes:
        """What has arrived since the last call, waiting for some; empty at the end. Raises ProviderFailure."""
        while not self._pieces and not self.complete:
            await self._changed()
        return self._taken()

    def close(self) -> None:
        """Done with this answer. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None and not self.complete:
            connection.abort()

    def finish_alone(self, within_s: float) -> None:
        """Give the rest of an answer, which nobody needs, some time to end, so that its connection can be reused."""
        self.due = self.deadline = self._loop.time() + within_s
        self._pieces.clear()
        self._whole, self._size = True, WHOLE_BYTES_MAX - UNREAD_BYTES_MAX
        self._resume()
        self._connection = None

    def begin_body(self, status: int) -> None:
        """Headers are whole."""
        self.status = status
        if not self._whole:
            self._wake()

    def take(self, piece: bytes) -> None:
        """Part of the body. Raises ProviderFailure when the body is too large."""
        self._pieces.append(piece)
        size = len(piece)
        self._size += size
        self.unread += size
        if self._size > (WHOLE_BYTES_MAX if self._whole else STREAM_BYTES_MAX):
            raise ProviderFailure(FailureKind.PROTOCOL, "too_large", began=True, status=self.status)

    def advance(self, now: float) -> None:
        """Bytes arrived and were parsed: put off the time limit, wake the reader."""
        self.due = min(now + self.idle_s, self.deadline)
        if self._whole:
            if not self.complete:
                return
        elif self.unread > UNREAD_BYTES_MAX and not self._paused and self._connection is not None:
            self._paused = True
            self.due = self.deadline
            self._connection.transport.pause_reading()
        self._wake()

    def fail(self, failure: ProviderFailure) -> None:
        """The answer will not be completed. What arrived can still be read, then the reader gets `failure`."""
        if self._failure is None and not self.complete:
            self._failure = failure
            self._wake()

    def _taken(self) -> bytes:
        pieces = self._pieces
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        if self._paused:
            self._resume()
        return taken

    def _resume(self) -> None:
        if self._paused and self._connection is not None and not self.complete:
            self._connection.transport.resume_reading()
            self.due = min(self._loop.time() + self.idle_s, self.deadline)
        self._paused = False

    async def _changed(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.BufferedProtocol):
    """A connection that carries one exchange at a time.

    `on_free` is called when its answer is complete and another may be sent; `on_lost` once, when the socket is closed.
    """

    __slots__ = (
        "_buffer",
        "_head_bytes",
        "_informational",
        "_loop",
        "_on_free",
        "_on_lost",
        "_parser",
        "_until_eof",
        "idle_since",
        "reply",
        "reusable",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self._loop = loop
        self._buffer = buffer
        self._on_free = on_free
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._informational = False
        self._until_eof = False
        self.reply: Reply | None = None
        self.idle_since = 0.0
        self.reusable = True
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def send(self, head: bytes, body: bytes, reply: Reply) -> None:
        """Write a request; its answer goes to `reply`."""
        self.reply = reply
        self._head_bytes = 0
        reply.bind(self)
        if len(body) <= JOINED_BYTES_MAX:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    def abort(self) -> None:
        """Close the socket at once."""
        self.reusable = False
        self.transport.abort()

    def expire(self) -> None:
        """The time limit of the exchange has passed."""
        reply = self.reply
        if reply is not None:
            reason = "first_byte" if not reply.status else "idle"
            if reply.due >= reply.deadline:
                reason = "deadline"
            reply.fail(ProviderFailure(FailureKind.TIMEOUT, reason, began=True, status=reply.status))
        self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio.BufferedProtocol."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio.BufferedProtocol."""
        reply = self.reply
        if reply is None:
            self.abort()
            return
        if not reply.status:
            self._head_bytes += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not reply.complete:
                cause = error.__context__
                self._reject(reply, cause if isinstance(cause, ProviderFailure) else None)
                return
            self.reusable = False
        if not reply.status and self._head_bytes > HEAD_BYTES_MAX:
            self._reject(reply, None)
            return
        if reply.complete:
            self._end()
        reply.advance(self._loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.Protocol."""
        reply, self.reply = self.reply, None
        self.reusable = False
        if reply is not None:
            if self._until_eof and exc is None and reply.status:
                reply.complete = True
                reply.advance(self._loop.time())
            else:
                kind = FailureKind.BROKEN if reply.status else FailureKind.UNAVAILABLE
                reply.fail(ProviderFailure(kind, "connection_lost", began=True, status=reply.status))
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """httptools."""
        if self.reply is not None and self.reply.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools."""
        reply = self.reply
        if reply is not None and not reply.status:
            reply.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """httptools."""
        reply = self.reply
        if reply is None or reply.status:
            return
        status = self._parser.get_status_code()
        self._informational = status < 200
        if self._informational:
            reply.headers.clear()
            return
        headers = reply.headers
        self._until_eof = b"content-length" not in headers and b"transfer-encoding" not in headers
        reply.begin_body(status)

    def on_body(self, body: bytes) -> None:
        """httptools."""
        reply = self.reply
        if reply is not None and not reply.complete:
            reply.take(body)

    def on_message_complete(self) -> None:
        """httptools."""
        reply = self.reply
        if reply is None or self._informational:
            return
        reply.complete = True
        if not self._parser.should_keep_alive():
            self.reusable = False

    def _end(self) -> None:
        """The exchange is over. An answer that came before its whole request was taken spoils the connection."""
        self.reply = None
        if self.reusable and not self.transport.get_write_buffer_size():
            self._on_free(self)
        else:
            self.abort()

    def _reject(self, reply: Reply, failure: ProviderFailure | None) -> None:
        """Stop reading an answer that breaks the protocol."""
        reply.fail(failure or ProviderFailure(FailureKind.PROTOCOL, "not_http", began=True, status=reply.status))
        self.abort()
