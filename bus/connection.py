"""One process's connection to NATS: it outlives servers, notices when it is dead, and publishes cheaply.

Delivery is core NATS': at most once. `send` and `publish` say with False that a message had nowhere to go; True means
that it was handed to the socket, not that anyone has it. Messages of one process leave in the order of the calls.
"""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, Self

from bus.errors import NoCore, PayloadTooLarge, RequestTimeout
from bus.nats_client import Client, Msg, Server, Subscription
from bus.nats_client import errors as nats_errors
from bus.transport import WRITE_BUFFER_HIGH_BYTES, Callback, DirectTransport, Message, parse_headers
from runtime.log import log
from runtime.settings import Settings

HEARTBEAT_S = 2.0
HEARTBEAT_TIMEOUT_S = 3.0
STUCK_RECONNECT_S = 10.0
RECONNECT_WAIT_S = 0.05  # doubled for each failure of a server, up to RECONNECT_WAIT_MAX_S
RECONNECT_WAIT_MAX_S = 1.0
CONNECT_TIMEOUT_S = 2
JOIN_BYTES_MAX = 16 * 1024  # larger payloads are not copied into one buffer with their command
PENDING_MESSAGES_MAX = 65_536  # of a subscription without the direct transport; nats-py drops more
PENDING_BYTES_MAX = 64 * 1024 * 1024
WAITING_LOG_S = 5.0
SETTLE_TIMEOUT_S = 2.0
LOSS_POLL_S = 0.005
OUTBOX_MESSAGES_MAX = 16_384  # without the direct transport
REQUESTS_MAX = 16_384  # waiting for their answer

Hook = Callable[[], None]
Outbox = asyncio.Queue[tuple[str, bytes, str, bytes]]

_CRLF = b"\r\n"


class Direct:
    """A direct subscription. `await unsubscribe()` ends it."""

    def __init__(self, connection: "Connection", subscription: Subscription, sid: bytes) -> None:
        self._connection = connection
        self._subscription = subscription
        self._sid = sid

    async def unsubscribe(self) -> None:
        """Take no more. What the server has handed to this subscription already is still delivered, within
        SETTLE_TIMEOUT_S; no callback is called after this returns."""
        await self._leave()
        try:
            await self._connection.settle(SETTLE_TIMEOUT_S)
        except (NoCore, RequestTimeout):
            pass  # not connected: there is nothing on its way
        self._connection.forget_direct(self._sid)

    async def drop(self) -> None:
        """As `unsubscribe`, but what is on its way is thrown away."""
        self._connection.forget_direct(self._sid)
        await self._leave()

    async def _leave(self) -> None:
        await self._connection.loss_noticed()
        try:
            await self._subscription.unsubscribe()
        except (nats_errors.ConnectionClosedError, nats_errors.BadSubscriptionError):
            return
        self._connection.write_queued()


class Connection:
    """Wraps a nats-py client. Open it with `Connection.open`.

    `client` is nats-py's own, for what is not hot. A message that cannot be sent because the connection is down or the
    socket's buffer is full counts in `refused`; errors that the server or nats-py report count in `errors`.
    """

    def __init__(self, settings: Settings, name: str, direct: bool = True) -> None:
        self.name = name
        self.client = Client()
        self.refused = 0
        self.errors = 0
        self.reconnects = 0
        self._settings = settings
        self._wire = DirectTransport(self._on_server_error)
        self._reconnected: list[Hook] = []
        self._disconnected: list[Hook] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inbox = f"_INBOX.{os.urandom(11).hex()}"
        self._requests: dict[str, asyncio.Future[Message]] = {}
        self._request_number = 0
        self._closing = False
        # The seam to nats-py: it uses a transport that is already there, and makes none of its own.
        self._outbox: Outbox | None = None
        if direct and hasattr(self.client, "_transport"):
            self.client._transport = self._wire
        else:
            self._outbox = asyncio.Queue(OUTBOX_MESSAGES_MAX)

    @classmethod
    async def open(cls, settings: Settings, name: str, direct: bool = True) -> Self:
        """Connect, and wait until a server is there. `name` is shown in the server's monitoring.

        Wrong credentials are logged and tried again, as servers are restarted with new ones. Without `direct`, or
        when nats-py no longer has the seam that it needs, everything goes through nats-py itself: the same, slower,
        and what a subscription's queue cannot hold is dropped.
        """
        connection = cls(settings, name, direct)
        await connection._open()
        return connection

    async def _open(self) -> None:
        connecting = asyncio.create_task(self._connect())
        try:
            while not (await asyncio.wait({connecting}, timeout=WAITING_LOG_S))[0]:
                log.warning("nats.waiting", connection=self.name, error=str(self.client.last_error)[:200])
            connecting.result()
        finally:
            connecting.cancel()
        if self._outbox is None and getattr(self.client, "_transport", None) is not self._wire:
            log.warning("nats.not_direct", connection=self.name)
            self._outbox = asyncio.Queue(OUTBOX_MESSAGES_MAX)
        if self._outbox is not None:
            self._spawn(self._post(self._outbox))
        await self.subscribe_direct(self._inbox + ".*", self._on_answer)
        self._spawn(self._heartbeat())

    async def _connect(self) -> None:
        user, password = self._settings.nats_user, self._settings.nats_password.get_secret_value()
        await self.client.connect(
            servers=[url.strip() for url in self._settings.nats_url.split(",") if url.strip()],
            name=self.name,
            user=user or None,
            password=password or None,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # used as seconds, fractions included
            connect_timeout=CONNECT_TIMEOUT_S,
            pending_size=WRITE_BUFFER_HIGH_BYTES,
            error_cb=self._on_client_error,
            disconnected_cb=self._on_client_disconnected,
            reconnected_cb=self._on_client_reconnected,
            closed_cb=self._on_client_closed,
            reconnect_to_server_handler=_next_server,
        )

    @property
    def connected(self) -> bool:
        """Whether a server is believed to be there; false at the latest HEARTBEAT_S + HEARTBEAT_TIMEOUT_S after it
        has gone."""
        return self.client.is_connected and (self._wire.alive or self._outbox is not None)

    async def close(self) -> None:
        """Let what was written leave, then close. Requests that wait raise RequestTimeout."""
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_requests()
        await self.client.close()

    # Publishing

    def send(self, subject: str, payload: bytes = b"", reply: str = "", header: bytes = b"") -> bool:
        """Hand a message to the socket now. False when there is no connection or too much is buffered.

        `header` is a whole NATS header block (`NATS/1.0\\r\\n…\\r\\n\\r\\n`). Raises PayloadTooLarge over the
        server's limit, ValueError for a subject that is not one printable word.
        """
        wire = self._wire
        if not self.client.is_connected:
            self.refused += 1
            return False
        words = f"{subject} {reply}"
        if not words.isprintable() or words.count(" ") != 1 or not subject:
            raise ValueError("not a subject")
        size = len(header) + len(payload)
        if size > self.client.max_payload:
            raise PayloadTooLarge(f"{size} bytes on {subject.partition('.')[0]}")
        if self._outbox is not None:
            return self._queue(self._outbox, subject, payload, reply, header)
        if not wire.open or wire.full:
            self.refused += 1
            return False
        if header:
            command = f"HPUB {words} {len(header)} {size}\r\n".encode() + header
        else:
            command = f"PUB {words} {size}\r\n".encode()
        if size > JOIN_BYTES_MAX:
            wire.put_large([command, payload, _CRLF])
        else:
            wire.put(b"".join((command, payload, _CRLF)))
        return True

    def flush(self) -> None:
        """Hand what was sent in this turn of the loop to the socket now, not at the turn's end."""
        self._wire.flush()

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "") -> bool:
        """`send`, then wait while more than WRITE_BUFFER_HIGH_BYTES are buffered."""
        sent = self.send(subject, payload, reply)
        if self._wire.paused:
            await self._wire.drain()
        return sent

    def _queue(
        self,
        outbox: Outbox,
        subject: str,
        payload: bytes,
        reply: str,
        header: bytes,
    ) -> bool:
        if outbox.full():
            self.refused += 1
            return False
        outbox.put_nowait((subject, payload, reply, header))
        return True

    async def _post(self, outbox: Outbox) -> None:
        while True:
            subject, payload, reply, header = await outbox.get()
            try:
                await self.client.publish(subject, payload, reply, parse_headers(header) if header else None)
            except nats_errors.Error:
                self.refused += 1

    # Requests

    async def request(self, subject: str, payload: bytes = b"", timeout_s: float = 2.0) -> bytes:
        """The answer's payload.

        Raises NoCore when nobody listens or there is no connection, RequestTimeout when no answer comes in time or the
        connection breaks. At most REQUESTS_MAX wait; one more is NoCore.
        """
        return (await self.request_message(subject, payload, timeout_s)).data

    async def request_message(
        self, subject: str, payload: bytes = b"", timeout_s: float = 2.0, header: bytes = b""
    ) -> Message:
        """As `request`, with the answer's headers."""
        message = await self._wait_for_answer(subject, payload, timeout_s, header)
        if message.headers is not None and message.headers.get("Status") == "503":
            raise NoCore(f"nobody listens on {subject}")
        return message

    async def _wait_for_answer(self, subject: str | None, payload: bytes, timeout_s: float, header: bytes) -> Message:
        """Send with a reply subject of our own; without a subject, send to the reply subject itself."""
        if len(self._requests) >= REQUESTS_MAX:
            raise NoCore(f"{REQUESTS_MAX} requests wait already")
        loop = asyncio.get_running_loop()
        self._request_number += 1
        token = str(self._request_number)
        inbox = f"{self._inbox}.{token}"
        future: asyncio.Future[Message] = loop.create_future()
        self._requests[token] = future
        timer = loop.call_later(timeout_s, _time_out, future, subject or inbox)
        try:
            if not (self.send(subject, payload, inbox, header) if subject else self.send(inbox)):
                raise NoCore("not connected")
            return await future
        finally:
            timer.cancel()
            self._requests.pop(token, None)

    async def settle(self, timeout_s: float) -> None:
        """Wait until the server has handled all that was sent, and all that it had for this process is delivered.

        Raises NoCore when there is no connection, RequestTimeout.
        """
        await self._wait_for_answer(None, b"", timeout_s, b"")

    def _on_answer(self, message: Message) -> None:
        future = self._requests.get(message.subject[len(self._inbox) + 1 :])
        if future is not None and not future.done():
            future.set_result(message)

    def _fail_requests(self) -> None:
        for future in self._requests.values():
            if not future.done():
                future.set_exception(RequestTimeout("the connection broke"))

    # Subscribing

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        return f"_INBOX.{os.urandom(11).hex()}"

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> Direct:
        """Call `callback` for each message, in order, from the read loop: no queue, no task, nothing dropped.

        `callback` is a plain function that must not block: while it runs nothing else does. What it hands on it must
        bound itself. An exception out of it is logged and ends nothing. The server knows the subscription before
        anything that this process sends afterwards; it is made anew after each reconnect.
        """
        guarded = _guarded(subject, callback)
        await self.loss_noticed()
        subscription = await self.client.subscribe(
            subject,
            queue=queue,
            cb=_as_coroutine(guarded),
            pending_msgs_limit=PENDING_MESSAGES_MAX,
            pending_bytes_limit=PENDING_BYTES_MAX,
        )
        sid = str(subscription._id).encode()
        self._wire.direct[sid] = guarded
        self.write_queued()
        return Direct(self, subscription, sid)

    async def loss_noticed(self) -> None:
        """Wait until nats-py knows as well that its socket has closed.

        In between, whatever has it write a command raises OSError; once it knows, it keeps the command for the next
        connection. Heartbeats bound the wait.
        """
        while self._outbox is None and self.client.is_connected and not self._wire.alive:  # noqa: ASYNC110
            await asyncio.sleep(LOSS_POLL_S)

    def forget_direct(self, sid: bytes) -> None:
        """Called by a direct subscription that ends."""
        self._wire.direct.pop(sid, None)

    def write_queued(self) -> None:
        """Write the commands that nats-py has queued now, so that what follows cannot overtake them."""
        client = self.client
        if self._outbox is None and client.is_connected and self._wire.alive and client._pending:
            pending, client._pending = client._pending, []
            client._pending_data_size = 0
            self._wire.writelines(pending)

    # Hooks

    def on_reconnected(self, callback: Hook) -> Hook:
        """Call `callback` after each reconnect, when all subscriptions are made anew. The result undoes this."""
        self._reconnected.append(callback)
        return lambda: self._reconnected.remove(callback)

    def on_disconnected(self, callback: Hook) -> Hook:
        """Call `callback` when the connection is lost. The result undoes this."""
        self._disconnected.append(callback)
        return lambda: self._disconnected.remove(callback)

    async def _on_client_disconnected(self) -> None:
        self._fail_requests()
        if not self._closing:
            log.warning("nats.disconnected", connection=self.name)
        for callback in list(self._disconnected):
            callback()

    async def _on_client_reconnected(self) -> None:
        self.reconnects += 1
        log.info("nats.reconnected", connection=self.name)
        for callback in list(self._reconnected):
            callback()

    async def _on_client_closed(self) -> None:
        if not self._closing:
            log.error("nats.closed", connection=self.name)

    async def _on_client_error(self, error: Exception) -> None:
        self.errors += 1
        log.debug("nats.error", connection=self.name, error=type(error).__name__)

    def _on_server_error(self, text: str) -> None:
        self.errors += 1
        log.error("nats.server_error", connection=self.name, error=text[:200])

    # Heartbeat

    async def _heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        down_since = 0.0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self.client.is_connected:
                down_since = 0.0
                if not await self._is_alive():
                    log.warning("nats.dead", connection=self.name)
                    await self.client.force_reconnect()
            else:
                down_since = down_since or loop.time()
                if loop.time() - down_since > STUCK_RECONNECT_S:
                    down_since = 0.0
                    self._restart_reconnect()

    async def _is_alive(self) -> bool:
        """Whether a PING comes back through nats-py's read loop.

        A process that was too busy to read gets a second look: the answer may be in the socket. The PING's own future
        is never cancelled, as nats-py's read loop dies when a PONG finds a cancelled one.
        """
        ping = asyncio.create_task(self._ping())
        self._tasks.add(ping)
        ping.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait({ping}, timeout=HEARTBEAT_TIMEOUT_S)
        if not done:
            done, _ = await asyncio.wait({ping}, timeout=0.5)
        return bool(done) and ping.result()

    async def _ping(self) -> bool:
        try:
            await self.client.rtt(timeout=30)
        except (nats_errors.Error, OSError):
            return False
        return True

    def _restart_reconnect(self) -> None:
        """nats-py's reconnect task has ended with an error that it does not expect: begin another."""
        task = self.client._reconnection_task
        if self.client.is_reconnecting and (task is None or task.done()):
            log.error("nats.reconnect_restarted", connection=self.name)
            self.client._reconnection_task = asyncio.create_task(self.client._attempt_reconnect())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _time_out(future: asyncio.Future[Message], subject: str) -> None:
    if not future.done():
        future.set_exception(RequestTimeout(f"no answer on {subject}"))


def _guarded(subject: str, callback: Callback) -> Callback:
    """An error in one callback must not cost the connection that all of them share."""

    def call(message: Message) -> None:
        try:
            callback(message)
        except Exception as error:  # noqa: BLE001
            log.error("nats.callback_failed", subject=subject, error=type(error).__name__, exc_info=True)

    return call


def _as_coroutine(callback: Callback) -> Callable[[Msg], Coroutine[Any, Any, None]]:
    """For messages that come before their subscription is known to be direct."""

    async def call(message: Msg) -> None:
        callback(Message(message.subject, message.reply, message.data, message.headers))

    return call


def _next_server(servers: list[Server], _server_info: dict[str, Any]) -> tuple[Server | None, float]:
    """The server with the fewest failures, and seconds to wait before it is tried."""
    server = min(servers, key=lambda each: (each.reconnects, random.random()))
    if not server.reconnects:
        return server, 0.0
    wait_s = min(RECONNECT_WAIT_S * 2 ** min(server.reconnects, 10), RECONNECT_WAIT_MAX_S)
    return server, float(wait_s * random.uniform(0.5, 1.0))
