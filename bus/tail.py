"""Reading a stream from a position, in order, with proof that nothing is missing.

A tail is an ephemeral push consumer, made anew whenever there is doubt: a gap, silence, a reconnect. It delivers a
message only when it is the very next one, so whatever the server, the network or nats-py drop is read again, and what
the stream itself has lost ends the tail with HistoryLost instead of being skipped.
"""

import asyncio
from collections.abc import Callable

from bus import jetstream
from bus.connection import Connection, Direct, Hook
from bus.errors import ApiRefused, HistoryLost, NoCore, NoSuchPosition, RequestTimeout, TailStopped
from bus.jetstream import Entry, read
from bus.transport import Message
from runtime.log import log

__all__ = ["Entry", "Tail", "read"]

IDLE_HEARTBEAT_S = 0.3
SILENCE_S = 1.0  # then the consumer is taken for dead
CHECK_S = 0.25
SUBSCRIBE_TIMEOUT_S = 2.0
RETRY_S = 0.05  # doubled for each failure, up to RETRY_MAX_S
RETRY_MAX_S = 1.0
HISTORY_DOUBT_S = 2.0  # history must look lost for this long: a new leader may be behind for a moment
GAPS_MAX = 2  # at one position, before the message itself is asked for
CONSUMER_TTL_S = 5.0  # the server forgets a consumer that nobody listens to
_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


class Tail:
    """Calls `on_message` for each message of `stream` after position `after`, strictly in order.

    `on_message` is a plain function and runs in the read loop. `position` is the last one it was called for.
    `failure` is a future that only ever ends with an exception: what `on_message` raised, or HistoryLost; the tail
    has stopped then.

    In a compacted stream positions may be missing, as only the newest message of a subject is kept; there the
    consumer's own numbering proves that nothing was dropped on the way.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        after: int,
        on_message: Callable[[Entry], None],
        compacted: bool = False,
    ) -> None:
        self.position = after
        self.restarts = 0
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._stream = stream
        self._on_message = on_message
        self._compacted = compacted
        self._delivered = 0
        self._gaps = 0
        self._consumer = ""
        self._direct: Direct | None = None
        self._heard_at = 0.0
        self._doubt = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._undo: Hook | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Begin to read. Returns when the consumer is made; raises the tail's failure when there is one already:
        HistoryLost when the stream no longer has what comes after `after`."""
        self._undo = self._connection.on_reconnected(self._doubt.set)
        self._doubt.set()
        ready = self._loop.create_future()
        self._task = asyncio.create_task(self._run(ready))
        await asyncio.wait({ready, self.failure}, return_when=asyncio.FIRST_COMPLETED)
        if self.failure.done():
            self.failure.result()

    async def stop(self) -> None:
        """No message is delivered after this returns."""
        if self._undo is not None:
            self._undo()
            self._undo = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._drop_consumer()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(TailStopped(f"at position {self.position}"))
        self._waiting.clear()

    async def caught_up(self) -> None:
        """Wait until everything that was in the stream when this was called is delivered.

        Raises the tail's failure, or TailStopped.
        """
        while not self.failure.done():
            try:
                state = await jetstream.stream_state(self._connection, self._stream)
            except (ApiRefused, NoCore, RequestTimeout):
                await asyncio.sleep(RETRY_MAX_S / 4)
                continue
            await self.reached(int(state["last_seq"]) if state["messages"] else 0)
            return
        self.failure.result()

    async def reached(self, position: int) -> None:
        """Wait until `position` is delivered. Raises the tail's failure, or TailStopped."""
        if self.position >= position:
            return
        if self.failure.done():
            self.failure.result()
        if self._task is None:
            raise TailStopped(f"at position {self.position}")
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((position, future))
        await future

    # Messages

    def _on_raw(self, message: Message) -> None:
        if self.failure.done():
            return
        self._heard_at = self._loop.time()
        if message.headers is not None and "Status" in message.headers:
            self._on_status(message.headers, message.reply)
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or the same with
        # domain and account after $JS.ACK.
        words = message.reply.split(".")
        base = 5 if len(words) == 9 else 7
        position = int(words[base])
        if self._compacted:
            if int(words[base + 1]) != self._delivered + 1:
                self._doubt.set()
                return
            self._delivered += 1
            if position <= self.position:
                return
        elif position != self.position + 1:
            if position > self.position and not self._doubt.is_set():
                self._gaps += 1
                self._doubt.set()
            return
        self._deliver(Entry(position, int(words[base + 2]) // _NS_PER_MS, message.subject, message.data))

    def _deliver(self, entry: Entry) -> None:
        try:
            self._on_message(entry)
        except Exception as error:  # noqa: BLE001  whatever it is, reading on would skip a fact
            self._fail(error)
            return
        self.position = entry.position
        self._gaps = 0
        if self._waiting:
            self._wake()

    def _on_status(self, headers: dict[str, str], reply: str) -> None:
        """A heartbeat, or the server asking whether more may be sent. All before it is handled already."""
        if headers["Status"] != "100":
            self._doubt.set()
            return
        stalled = headers.get("Nats-Consumer-Stalled", "")
        if reply or stalled:
            self._connection.send(reply or stalled)
        if self._is_behind(headers):
            self._doubt.set()

    def _is_behind(self, headers: dict[str, str]) -> bool:
        """Whether the server believes to have delivered what never came."""
        if self._compacted:
            return int(headers.get("Nats-Last-Consumer", "0")) > self._delivered
        return int(headers.get("Nats-Last-Stream", "0")) > self.position

    def _wake(self) -> None:
        still = []
        for position, future in self._waiting:
            if position > self.position:
                still.append((position, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still

    def _fail(self, error: Exception) -> None:
        if self.failure.done():
            return
        log.error("tail.failed", stream=self._stream, position=self.position, error=type(error).__name__)
        self.failure.set_exception(error)
        self.failure.exception()  # seen, even when nobody awaits it
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    # The consumer

    async def _run(self, ready: asyncio.Future[None]) -> None:
        try:
            while not self.failure.done():
                await self._subscribe()
                if not ready.done():
                    ready.set_result(None)
                await self._watch()
                self.restarts += 1
        except Exception as error:  # noqa: BLE001  a tail that ends in silence would be a fold that stands still
            self._fail(error)

    async def _watch(self) -> None:
        """Return when there is doubt whether all arrives: a gap, a reconnect, silence."""
        while not self.failure.done():
            try:
                # Not wait_for: Python 3.11's loses a cancellation that comes together with the event.
                async with asyncio.timeout(CHECK_S):
                    await self._doubt.wait()
                return
            except TimeoutError:
                silence_s = self._loop.time() - self._heard_at
                if silence_s > SILENCE_S and self._connection.connected:
                    return

    async def _subscribe(self) -> None:
        """Make a consumer from `position` + 1, trying until it works. Raises HistoryLost."""
        wait_s = RETRY_S
        lost_since = 0.0
        while True:
            try:
                self._doubt.clear()
                await self._check_history()
                await self._make_consumer()
                return
            except HistoryLost:
                lost_since = lost_since or self._loop.time()
                if self._loop.time() - lost_since > HISTORY_DOUBT_S:
                    raise
            except (ApiRefused, NoCore, RequestTimeout) as error:
                lost_since = 0.0
                log.warning("tail.retry", stream=self._stream, position=self.position, error=type(error).__name__)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _check_history(self) -> None:
        state = await jetstream.stream_state(self._connection, self._stream)
        first, last = int(state["first_seq"]), int(state["last_seq"])
        if last < self.position:
            raise HistoryLost(f"{self._stream} ends at {last}, {self.position} was read before")
        if self._compacted:
            return
        if first > self.position + 1 and last > self.position:
            raise HistoryLost(f"{self._stream} begins at {first}, {self.position + 1} is next")
        if self._gaps >= GAPS_MAX:
            try:
                await read(self._connection, self._stream, self.position + 1)
            except NoSuchPosition as error:
                raise HistoryLost(f"{self._stream} lacks {self.position + 1}") from error

    async def _make_consumer(self) -> None:
        await self._drop_consumer()
        inbox = self._connection.new_inbox()
        name = "tail_" + inbox.rpartition(".")[2]
        self._delivered = 0
        self._heard_at = self._loop.time()
        self._direct = await self._connection.subscribe_direct(inbox, self._on_raw)
        self._consumer = name
        config = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.position + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(IDLE_HEARTBEAT_S * _NS),
            "inactive_threshold": int(CONSUMER_TTL_S * _NS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        subject = f"CONSUMER.CREATE.{self._stream}.{name}"
        await jetstream.call(self._connection, subject, body, SUBSCRIBE_TIMEOUT_S)

    async def _drop_consumer(self) -> None:
        if self._direct is not None:
            await self._direct.drop()
            self._direct = None
        if self._consumer:
            self._connection.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}")
            self._consumer = ""
