"""A durable work queue: each message is some process's to handle until it is done, and comes again until then.

Over a JetStream pull consumer that all processes share. A delivery that is neither ended nor put off is given to
somebody else after ACK_WAIT_S, so a process that dies delays its messages and loses none. Handling must bear being
repeated: an ending that is lost on its way brings the message again.
"""

import asyncio
from collections.abc import Callable

import orjson

from bus import jetstream
from bus.connection import Connection, Direct, Hook
from bus.errors import ApiRefused, NoCore, RequestTimeout
from bus.transport import Message
from runtime.log import log

ACK_WAIT_S = 30.0
"""After so long without a word a delivery goes to another process."""
BATCH_MAX = 256
"""Messages asked for at a time."""
PENDING_MAX = 200_000
"""Messages put off or being handled at a time; the queue gives out no more beyond it."""
EXPIRES_S = 10.0
HEARTBEAT_S = 1.0
SILENCE_S = 3.0
"""Without message or heartbeat for so long, the request for messages is taken for lost and made again."""
CHECK_S = 0.25
RETRY_S = 0.2
RETRY_MAX_S = 2.0
_NS = 1_000_000_000

_ACK = b"+ACK"
_WORKING = b"+WPI"


class Delivery:
    """One message for this process. End it with `done` or `again`; `working` keeps it while it takes longer."""

    __slots__ = ("_open", "_queue", "_reply", "deliveries", "payload", "subject")

    def __init__(self, queue: "WorkQueue", message: Message) -> None:
        self.subject = message.subject
        self.payload = message.data
        words = message.reply.split(".")
        self.deliveries = int(words[4 if len(words) == 9 else 6])
        """How often it has been given out, this time included."""
        self._queue = queue
        self._reply = message.reply
        self._open = True

    def done(self) -> None:
        """The message is dealt with for good."""
        self._end(_ACK)

    def again(self, delay_s: float) -> None:
        """Give it out again, to any process, not sooner than `delay_s` from now."""
        self._end(b'-NAK {"delay": %d}' % int(delay_s * _NS))

    def working(self) -> None:
        """It is still being handled: ACK_WAIT_S begins anew."""
        if self._open:
            self._queue.connection.send(self._reply, _WORKING)

    def _end(self, word: bytes) -> None:
        if self._open:
            self._open = False
            self._queue.connection.send(self._reply, word)
            self._queue.freed()


class WorkQueue:
    """One process's part in the queue of `stream`: at most `capacity` deliveries at a time go to `on_delivery`.

    `on_delivery` is a plain function and runs in the read loop. `subjects` are those that this consumer takes; a
    stream's consumers must not share any.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        subjects: str,
        capacity: int,
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        self.connection = connection
        self.open = 0
        """Deliveries that have not been ended."""
        self._stream = stream
        self._consumer = consumer
        self._subjects = subjects
        self._capacity = capacity
        self._on_delivery = on_delivery
        self._asked = 0
        self._heard_at = 0.0
        self._direct: Direct | None = None
        self._inbox = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._undo: Hook | None = None
        self._loop = asyncio.get_running_loop()
        self._stopped = False

    async def start(self) -> None:
        """Begin to take messages, as soon as the stream is there."""
        self._undo = self.connection.on_reconnected(self._doubt)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take no more; what is being handled is given to others when it is not ended."""
        self._stopped = True
        if self._undo is not None:
            self._undo()
            self._undo = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._direct is not None:
            await self._direct.drop()
            self._direct = None

    def freed(self) -> None:
        """Called by a delivery that has ended."""
        self.open -= 1
        self._wake.set()

    def _doubt(self) -> None:
        """What was asked for may never come."""
        self._asked = 0
        self._wake.set()

    async def _run(self) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await self._make_consumer()
                await self._pull()
                wait_s = RETRY_S
            except (ApiRefused, NoCore, RequestTimeout) as error:
                log.warning("queue.retry", stream=self._stream, error=type(error).__name__)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _make_consumer(self) -> None:
        config = {
            "name": self._consumer,
            "durable_name": self._consumer,
            "filter_subject": self._subjects,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * _NS),
            "max_deliver": -1,
            "max_ack_pending": PENDING_MAX,
            "replay_policy": "instant",
        }
        body = {"stream_name": self._stream, "config": config}
        await jetstream.call(self.connection, f"CONSUMER.CREATE.{self._stream}.{self._consumer}", body)
        if self._direct is not None:
            await self._direct.drop()
        self._inbox = self.connection.new_inbox()
        self._direct = await self.connection.subscribe_direct(self._inbox, self._on_message)
        self._asked = 0

    async def _pull(self) -> None:
        """Ask for as much as there is room for, again and again; return when the consumer is gone."""
        self._heard_at = self._loop.time()
        while self._direct is not None:
            self._wake.clear()
            room = min(self._capacity - self.open, BATCH_MAX)
            if not self._asked and room > 0 and self.connection.connected:
                self._ask(room)
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._wake.wait()
            except TimeoutError:
                if self._asked and self._loop.time() - self._heard_at > SILENCE_S:
                    self._asked = 0
                    await jetstream.call(self.connection, f"CONSUMER.INFO.{self._stream}.{self._consumer}")

    def _ask(self, room: int) -> None:
        wanted = {"batch": room, "expires": int(EXPIRES_S * _NS), "idle_heartbeat": int(HEARTBEAT_S * _NS)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        if self.connection.send(subject, orjson.dumps(wanted), self._inbox):
            self._asked = room
            self._heard_at = self._loop.time()

    def _on_message(self, message: Message) -> None:
        self._heard_at = self._loop.time()
        status = message.headers.get("Status") if message.headers is not None else None
        if status is not None:
            if status != "100":  # the request has ended: nothing came in time, or the server would not serve it
                self._asked = 0
                self._wake.set()
            return
        if not message.reply:
            return
        if self._asked:
            self._asked -= 1
        self.open += 1
        delivery = Delivery(self, message)
        if self._stopped:
            delivery.again(0)
            return
        self._on_delivery(delivery)
        if not self._asked:
            self._wake.set()
