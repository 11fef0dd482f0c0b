"""The bytes between this process and a NATS server: messages go to their callbacks straight from the socket.

nats-py reads through a stream, a regular-expression parser, a queue and a task for each subscription; on the hot path
that costs more than the work itself, and its queues drop what they cannot hold. `DirectTransport` takes the place of
nats-py's own transport: it hands messages of direct subscriptions to plain functions inside `data_received`, and gives
everything else (handshake, PING, INFO, messages of ordinary subscriptions) to nats-py unchanged.

`Splitter` is the protocol without I/O; `DirectTransport` is the I/O.
"""

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import ParseResult

from bus.nats_client import Transport

WRITE_BUFFER_HIGH_BYTES = 1024 * 1024  # above it `publish` waits
WRITE_BUFFER_MAX_BYTES = 8 * 1024 * 1024  # above it `send` refuses
TURN_BYTES_MAX = 8 * 1024  # collected in one turn of the loop before they are written: whoever reads them can begin
CLOSE_TIMEOUT_S = 0.5  # for what is still buffered to leave

_M, _H = b"MH"
_CRLF = b"\r\n"
_STATUS_LINE = len(b"NATS/1.0")


class Message:
    """One message of a direct subscription. `headers` is None unless the message has some; a status that the server
    sends (503: nobody listens) is under `Status`, its text under `Description`, as in nats-py."""

    __slots__ = ("data", "headers", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self.headers = headers


Callback = Callable[[Message], None]


def parse_headers(block: bytes) -> dict[str, str]:
    """The headers of a NATS header block, status line included."""
    first, _, rest = block.partition(_CRLF)
    headers: dict[str, str] = {}
    status, _, description = first[_STATUS_LINE:].strip().partition(b" ")
    if status:
        headers["Status"] = status.decode("ascii", "replace")
        headers["Description"] = description.decode("utf-8", "replace")
    for line in rest.split(_CRLF):
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
    return headers


class Splitter:
    """Cuts the server's byte stream into protocol operations.

    Messages of the subscriptions in `direct` (by their id on the wire) go to their callbacks, in order. All other bytes
    go to `other`, whole operations at a time.
    """

    def __init__(self, direct: dict[bytes, Callback], other: Callable[[bytes], None]) -> None:
        self._direct = direct
        self._other = other
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. What is incomplete is kept; it is joined once, when all of it is here."""
        if self._parts:
            self._parts.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed_bytes:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._held_bytes = 0
        done = self._split(data)
        if done < len(data):
            rest = data[done:] if done else data
            self._parts.append(rest)
            self._held_bytes = len(rest)

    def _split(self, data: bytes) -> int:
        """Handle all whole operations; the number of bytes they took."""
        position = 0
        end = len(data)
        direct = self._direct
        while position < end:
            line_end = data.find(_CRLF, position)
            if line_end < 0:
                self._needed_bytes = 0
                return position
            kind = data[position]
            if kind != _M and kind != _H:
                self._other(data[position : line_end + 2])
                position = line_end + 2
                continue
            words = data[position:line_end].split()
            start = line_end + 2
            stop = start + int(words[-1])
            if stop + 2 > end:
                self._needed_bytes = stop + 2 - position
                return position
            callback = direct.get(words[2])
            if callback is None:
                self._other(data[position : stop + 2])
            elif kind == _M:
                reply = words[3].decode() if len(words) == 5 else ""
                callback(Message(words[1].decode(), reply, data[start:stop]))
            else:
                _deliver_with_headers(callback, words, data, start, stop)
            position = stop + 2
        return position


def _deliver_with_headers(callback: Callback, words: list[bytes], data: bytes, start: int, stop: int) -> None:
    reply = words[3].decode() if len(words) == 6 else ""
    body = start + int(words[-2])
    callback(Message(words[1].decode(), reply, data[body:stop], parse_headers(data[start:body])))


class _Socket(asyncio.Protocol):
    """One TCP connection of a transport; bytes of one that was replaced are ignored."""

    def __init__(self, splitter: Splitter, ended: Callable[["_Socket"], None]) -> None:
        self._splitter = splitter
        self._ended = ended
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.get_running_loop().create_future()
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self._splitter.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if not self.closed.done():
            self.closed.set_result(None)
        self._ended(self)

    def pause_writing(self) -> None:
        self.paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.paused = False
        self._writable.set()

    async def writable(self) -> None:
        await self._writable.wait()


class DirectTransport(Transport):
    """nats-py's transport, with direct subscriptions (see the module's text).

    `direct` maps subscription ids, as they are on the wire, to callbacks; it outlives connections, as nats-py keeps the
    ids when it subscribes again. `on_error` hears of errors that the server sends and that nats-py would answer by
    closing for ever; the server closes the connection itself where it must, and then nats-py connects again.
    """

    def __init__(self, on_error: Callable[[str], None]) -> None:
        self.direct: dict[bytes, Callback] = {}
        self.open = False  # whether bytes that are put now have a socket to go to
        self._loop = asyncio.get_running_loop()
        self._on_error = on_error
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flush_due = False
        self._tcp: asyncio.Transport | None = None
        self._socket: _Socket | None = None
        self._lines: list[bytes] = []
        self._later: list[bytes] = []
        self._reader: asyncio.Future[None] | None = None
        self._eof = False
        self._introduced = False
        self._greeted = False

    # What `Connection` uses

    def put(self, command: bytes) -> None:
        """Send with whatever else is put in this turn of the loop: one write for all is several times cheaper."""
        self._out.append(command)
        self._out_bytes += len(command)
        if self._out_bytes > TURN_BYTES_MAX:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def flush(self) -> None:
        """Write what was put, now."""
        if self._out:
            self._flush()

    def put_large(self, parts: list[bytes]) -> None:
        """Send after what was put before, without joining the parts into one buffer."""
        self._flush()
        if self._tcp is not None and not self._tcp.is_closing():
            self._tcp.writelines(parts)

    @property
    def alive(self) -> bool:
        """As `open`, and the socket has not failed either: an error ends it a turn of the loop before that is told."""
        return self.open and self._tcp is not None and not self._tcp.is_closing()

    @property
    def paused(self) -> bool:
        """Whether the write buffer is above WRITE_BUFFER_HIGH_BYTES."""
        return self._socket is not None and self._socket.paused

    @property
    def full(self) -> bool:
        """Whether the write buffer is above WRITE_BUFFER_MAX_BYTES."""
        return self.paused and self._tcp is not None and self._tcp.get_write_buffer_size() > WRITE_BUFFER_MAX_BYTES

    # nats-py's side

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        self._forget_socket()
        loop = asyncio.get_running_loop()
        host, port = uri.hostname or "127.0.0.1", uri.port or 4222
        async with asyncio.timeout(connect_timeout):
            self._tcp, self._socket = await loop.create_connection(self._new_socket, host, port)
        self._tcp.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES)
        self.open = True

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        assert self._tcp is not None, "connect comes first"
        assert self._socket is not None, "connect comes first"
        host = uri if isinstance(uri, str) else uri.hostname
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connect_timeout):
            secured = await loop.start_tls(self._tcp, self._socket, ssl_context, server_hostname=host)
        assert secured is not None
        self._tcp = secured
        self._tcp.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES)

    def write(self, payload: bytes) -> None:
        """Send bytes. Raises ConnectionResetError when the socket has closed: nats-py then connects again."""
        if self._tcp is None or self._tcp.is_closing():
            raise ConnectionResetError("the socket has closed")
        self.put(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """As `write`, for several."""
        for each in payload:
            self.write(each)

    async def read(self, buffer_size: int) -> bytes:
        """All that is there for nats-py; empty at the connection's end."""
        if not self._greeted:
            self._greeted = True
            self._lines[:0] = self._later
            self._later.clear()
        while not self._lines and not self._eof:
            await self._wait()
        data = b"".join(self._lines)
        self._lines.clear()
        return data

    async def readline(self) -> bytes:
        """One line of the handshake; empty at the connection's end.

        nats-py expects one INFO and then the PONG to its PING; a cluster's further INFO is kept for `read`.
        """
        while True:
            while not self._lines and not self._eof:
                await self._wait()
            line = self._lines.pop(0) if self._lines else b""
            if not (self._introduced and line.startswith(b"INFO")):
                break
            self._later.append(line)
        self._introduced = True
        return line

    async def drain(self) -> None:
        self._flush()
        if self._socket is not None:
            await self._socket.writable()

    async def wait_closed(self) -> None:
        """Until what was written has left; CLOSE_TIMEOUT_S at most, as a dead peer would never take it."""
        if self._socket is None or self._tcp is None:
            return
        await asyncio.wait({self._socket.closed}, timeout=CLOSE_TIMEOUT_S)
        self._tcp.abort()

    def close(self) -> None:
        self._flush()
        self.open = False
        if self._tcp is not None:
            self._tcp.close()

    def at_eof(self) -> bool:
        return self._eof and not self._lines

    def __bool__(self) -> bool:
        return True

    # Inside

    def _new_socket(self) -> _Socket:
        return _Socket(Splitter(self.direct, self._take_other), self._socket_ended)

    def _forget_socket(self) -> None:
        if self._tcp is not None:
            self._tcp.abort()
        self._tcp = self._socket = None
        self.open = False
        self._out.clear()
        self._out_bytes = 0
        self._lines.clear()
        self._later.clear()
        self._eof = self._introduced = self._greeted = False

    def _flush(self) -> None:
        self._flush_due = False
        out, self._out = self._out, []
        self._out_bytes = 0
        if out and self._tcp is not None and not self._tcp.is_closing():
            self._tcp.write(out[0] if len(out) == 1 else b"".join(out))

    def _take_other(self, operation: bytes) -> None:
        if self._greeted and operation.startswith(b"-ERR") and b"ermissions" not in operation:
            self._on_error(operation[5:].decode("utf-8", "replace").strip())
            return
        self._lines.append(operation)
        self._wake()

    def _socket_ended(self, socket: _Socket) -> None:
        if socket is self._socket:
            self.open = False
            self._eof = True
            self._wake()

    async def _wait(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
