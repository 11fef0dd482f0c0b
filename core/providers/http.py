"""A pooled HTTP/1.1 client of one origin, for calls that bytes go into and bytes come out of.

It does what the providers' protocols need and no more: no redirects, no cookies, no compression, no proxies, no
retries. Every failure is a ProviderFailure.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from core.providers.exchange import Connection, Reply
from core.providers.port import FailureKind, ProviderFailure
from runtime.settings import Settings

TICK_S = 0.1
"""How often time limits are looked at: one timer for all calls, since one for each costs more."""
READ_BYTES = 64 * 1024
IDLE_CONNECTION_S = 20.0
"""A connection unused for so long is closed, before the other side is likely to close it under a request."""
WAITING_MAX = 10_000
"""Calls that wait for a connection; further ones fail at once."""
ADDRESSES_MAX = 4
"""Addresses of an origin that are tried for one connection, in equal shares of the time to connect."""
ADDRESSES_KEPT_S = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one provider's client: seconds, and connections."""

    connections_max: int = 1_000
    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the operator set them."""
        return cls(
            connections_max=settings.provider_connections,
            first_byte_s=settings.first_byte_timeout_s,
            idle_s=settings.provider_idle_timeout_s,
        )


def default_tls() -> ssl.SSLContext:
    """Verifies against the system's authorities, or those of SSL_CERT_FILE."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class HttpClient:
    """Keeps connections to the origin of `base_url` alive and sends requests below its path.

    `headers` go with every request. Belongs to the event loop of its first request. Where the origin is not of our
    choice, `may_reach` says of each address that its name resolves to whether it may be connected to.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        may_reach: Callable[[str], bool] | None = None,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("a provider's base URL is http(s)://host[:port][/path]")
        secure = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if secure else 80)
        self._tls = (tls or default_tls()) if secure else None
        self._limits = limits
        self._path = url.path.rstrip("/")
        authority = url.netloc.rpartition("@")[2]
        self._fixed = f"host: {authority}\r\naccept-encoding: identity\r\n{_lines(headers)}"
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._idle: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._opened = 0
        """Connections open or being opened."""
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._may_reach = may_reach
        self._addresses: list[str] = []
        self._addresses_until = 0.0
        self._resolving = asyncio.Lock()
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def fetch(self, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Reply:
        """One exchange; returns when the answer is complete, with its `body()` at hand."""
        reply = await self._send(method, path, body, headers, deadline_s, whole=True)
        try:
            await reply.ended()
        finally:
            reply.close()
        return reply

    async def open(self, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Reply:
        """One exchange; returns when status and headers are there. Read `piece()`s, and always `close()`."""
        reply = await self._send(method, path, body, headers, deadline_s, whole=False)
        try:
            await reply.head()
        except BaseException:
            reply.close()
            raise
        return reply

    async def close(self) -> None:
        """Close every connection; calls still running fail."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.abort()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float, whole: bool
    ) -> Reply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        connection = self._reused() or await self._connection(loop, deadline_s)
        now = loop.time()
        due = min(now + self._limits.first_byte_s, deadline)
        reply = Reply(loop, whole, due, deadline, self._limits.idle_s)
        head = (
            f"{method} {self._path}{path} HTTP/1.1\r\n{self._fixed}content-length: {len(body)}\r\n{_lines(headers)}\r\n"
        )
        connection.send(head.encode("ascii"), body, reply)
        return reply

    def _reused(self) -> Connection | None:
        """The connection used last: the fewer are in turn, the sooner the others are idle long enough to close."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _connection(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> Connection:
        """A new connection, or the next free one where no more may be opened."""
        if self._closed:
            raise ProviderFailure(FailureKind.UNAVAILABLE, "closed")
        patience_s = min(patience_s, self._limits.connect_s)
        if self._opened < self._limits.connections_max:
            self._opened += 1
            return await self._connect(loop, patience_s)
        try:
            async with asyncio.timeout(patience_s):
                given = await self._free(loop)
        except TimeoutError:
            raise ProviderFailure(FailureKind.TIMEOUT, "no_connection_free") from None
        return given if given is not None else await self._connect(loop, patience_s)

    async def _free(self, loop: asyncio.AbstractEventLoop) -> Connection | None:
        """A connection that became free, or None with the right to open one."""
        while True:
            if len(self._waiting) >= WAITING_MAX:
                raise ProviderFailure(FailureKind.UNAVAILABLE, "no_connection_free")
            waiter: asyncio.Future[Connection | None] = loop.create_future()
            self._waiting.append(waiter)
            try:
                given = await waiter
            except asyncio.CancelledError:
                self._return(waiter)
                raise
            if self._closed:
                raise ProviderFailure(FailureKind.UNAVAILABLE, "closed")
            if given is None or given.reusable:
                return given

    def _return(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Pass on what a cancelled waiter was given."""
        if waiter.cancelled() or not waiter.done():
            return
        given = waiter.result()
        if given is None:
            self._grant_opening()
        elif given.reusable:
            self._freed(given)

    async def _connect(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> Connection:
        """Open a connection with the right already counted in `_opened`; gives it back on any failure."""
        try:
            connection = await self._reach(loop, patience_s)
        except BaseException:
            self._grant_opening()
            raise
        if self._closed or not connection.reusable:
            connection.abort()
            self._grant_opening()
            raise ProviderFailure(FailureKind.UNAVAILABLE, "connect")
        self._connections.add(connection)
        if self._ticking is None:
            self._ticking = loop.call_later(TICK_S, self._tick, loop)
        return connection

    async def _reach(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> Connection:
        """The first of the origin's addresses that answers."""
        addresses = await self._resolve(loop, patience_s)
        make = partial(Connection, loop, self._buffer, self._freed, self._lost)
        name = self._host if self._tls else None
        failure = ProviderFailure(FailureKind.UNAVAILABLE, "connect")
        for address in addresses:
            try:
                async with asyncio.timeout(patience_s / len(addresses)):
                    opening = loop.create_connection(make, address, self._port, ssl=self._tls, server_hostname=name)
                    return (await opening)[1]
            except TimeoutError:
                failure = ProviderFailure(FailureKind.TIMEOUT, "connect")
            except ssl.SSLError:
                failure = ProviderFailure(FailureKind.UNAVAILABLE, "tls")
            except OSError:
                failure = ProviderFailure(FailureKind.UNAVAILABLE, "connect")
        self._addresses_until = 0.0
        raise failure

    async def _resolve(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> list[str]:
        try:
            async with asyncio.timeout(patience_s), self._resolving:
                if loop.time() >= self._addresses_until:
                    found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
                    if self._may_reach is not None and not all(map(self._may_reach, addresses)):
                        raise ProviderFailure(FailureKind.UNAVAILABLE, "address_refused")
                    self._addresses = addresses[:ADDRESSES_MAX]
                    self._addresses_until = loop.time() + ADDRESSES_KEPT_S
        except TimeoutError:
            raise ProviderFailure(FailureKind.TIMEOUT, "name_resolution") from None
        except OSError:
            raise ProviderFailure(FailureKind.UNAVAILABLE, "name_resolution") from None
        return self._addresses

    def _freed(self, connection: Connection) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = connection.now()
        self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._grant_opening()

    def _grant_opening(self) -> None:
        """One connection fewer: let a waiting call open the next."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._opened -= 1

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire exchanges past their limits, and connections unused for long."""
        now = loop.time()
        for connection in tuple(self._connections):
            if connection.reply is not None and connection.reply.due <= now:
                connection.expire()
        while self._idle and (not self._idle[0].reusable or self._idle[0].idle_since < now - IDLE_CONNECTION_S):
            self._idle.popleft().abort()
        self._ticking = loop.call_later(TICK_S, self._tick, loop) if self._connections else None


def _lines(headers: Mapping[str, str]) -> str:
    """Header lines. A value that could end its line is left out: nothing that we send needs one."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value.isascii() and value.isprintable())
