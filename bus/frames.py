"""The way back: answers travel from a core to an edge as numbered frames; credit and cancels travel the other way.

A core writes an `Answer`; the edge that asked reads it as a `Pending`. Frames go over core NATS, which may lose them
(a reconnect, a server that dies). Each attempt numbers its frames from 0, and heartbeats name the number that comes
next, so that a loss is a `FrameGap` and never a silent hole in a customer's answer.

A core may be at most WINDOW_BYTES ahead of the client's socket: a slow client stalls its own call and nothing else.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from google.protobuf.message import DecodeError

from bus.connection import Connection
from bus.errors import NoCore
from bus.transport import Message
from proto.onysoft.v1 import work_pb2
from runtime.ticks import ticks

WINDOW_BYTES = 256 * 1024  # of an answer that the client's socket has not taken yet
PIECE_BYTES = 128 * 1024  # largest data of one frame of a long answer
WHOLE_BYTES = 512 * 1024  # an answer that begins and ends within this size travels in one frame
QUEUED_BYTES_MAX = WINDOW_BYTES + 2 * WHOLE_BYTES  # waiting at an edge; beyond it a core has ignored the window
CREDIT_BYTES = WINDOW_BYTES // 4  # taken by the socket before the core is told
COALESCE_BYTES = 16 * 1024
COALESCE_S = 0.010
HEARTBEAT_S = 2.0
TICK_S = 1.0
CREDIT_TIMEOUT_S = 30.0
EARLY_CANCELS_MAX = 1_024  # cancels remembered because they came before their request
LINGER_S = 4.0  # how long a last frame that found no edge is sent again: the edge may be reconnecting
LINGER_PERIOD_S = 0.25
LINGERING_MAX = 16_384

ANY_CORE = "any"

RateLimit = tuple[int, int, int]  # limit, remaining, reset in unix seconds

_monotonic = time.monotonic


class CoreSilent(Exception):
    """The core that has the call has said nothing for too long: it is dead or cut off."""


class FrameGap(Exception):
    """A frame of the answer is lost, or the core has ignored the window. The answer cannot be completed."""


class ClientGone(Exception):
    """The client left, its edge cannot be reached, or it has taken nothing for CREDIT_TIMEOUT_S."""


def answer_subject(edge: str, request_id: bytes) -> str:
    """Where frames of a request go."""
    return f"rsp.{edge}.{request_id.hex()}"


def control_subject(core: str, request_id: bytes) -> str:
    """Where control messages of a request go; `core` is ANY_CORE while it is not known."""
    return f"ctl.{core}.{request_id.hex()}"


def is_no_responders(message: Message) -> bool:
    """Whether the server says that nobody listened to what was published with this subject as its reply."""
    return message.headers is not None and message.headers.get("Status") == "503"


def is_heartbeat(frame: work_pb2.Frame) -> bool:
    """Whether the frame carries nothing; its sequence is then the one that comes next."""
    return not (frame.data or frame.end or frame.HasField("head") or frame.HasField("failure"))


class Answer:
    """One attempt's answer, written by one coroutine of a core. `Answers.open` makes it.

    `cancelled` turns true, and `on_cancel` is called once, when the edge cancels or cannot be reached. The answer is
    forgotten after `finish`, `fail` or `close`.
    """

    def __init__(self, answers: "Answers", edge: str, request_id: bytes, attempt: int) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self.cancelled = False
        self.on_cancel: Callable[[], None] | None = None
        self.subject = answer_subject(edge, request_id)
        self.sent_at = _monotonic()
        self._answers = answers
        self._gone_subject = control_subject(answers.core, request_id)
        self._sequence = 0
        self._head: work_pb2.Head | None = None
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._flush_planned = False
        self._sent_bytes = 0
        self._taken_bytes = 0
        self._unheard = 0
        self._credit: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._closed = False

    def head(self, stream: bool, rate_limit: RateLimit, max_tokens_lowered_to: int = 0, status: int = 0) -> None:
        """Remember the head; it travels with the next frame. `status` is a whole answer's, 0: 200."""
        self._head = work_pb2.Head(
            stream=stream,
            rate_limit=_rate_limit(rate_limit),
            max_tokens_lowered_to=max_tokens_lowered_to,
            status=status,
        )

    def served_by(self, provider: str) -> None:
        """Name the provider in a head that has not left yet."""
        if self._head is not None:
            self._head.provider = provider

    async def write(self, data: bytes) -> None:
        """Send bytes of a streamed answer, at most COALESCE_S later, as far as the window allows.

        When it is interrupted while it waits for the window, what is unsent stays in the buffer.
        Raises ClientGone when the call is cancelled or the client has taken nothing for CREDIT_TIMEOUT_S.
        """
        if self.cancelled or self._closed:
            raise ClientGone
        self._buffer.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes >= COALESCE_BYTES:
            await self._drain(0)
        elif not self._flush_planned:
            wait_s = self.sent_at + COALESCE_S - _monotonic()
            if wait_s > 0 or not self._window_has(self._buffered_bytes):
                self._flush_planned = True
                asyncio.get_running_loop().call_later(wait_s if wait_s > 0 else COALESCE_S, self._flush)
            else:
                self._send(self._take_buffer())

    async def finish(self, data: bytes, position: int) -> bool:
        """Send the last bytes and the end; `position` is the ledger's, of the call's settlement.

        False when the client has gone before everything could be handed over.
        """
        if self._closed or self.cancelled:
            self.close()
            return False
        self._buffer.append(data)
        self._buffered_bytes += len(data)
        try:
            if self._sent_bytes or self._buffered_bytes > WHOLE_BYTES:
                await self._drain(PIECE_BYTES)
                await self._window(self._buffered_bytes)
            self._send_last(work_pb2.Frame(data=self._take_buffer(), end=True, position=position, head=self._head))
        except ClientGone:
            return False
        finally:
            self.close()
        return True

    async def fail(
        self,
        code: str,
        detail: str = "",
        retry_after_s: int = 0,
        do_not_retry: bool = False,
        rate_limit: RateLimit | None = None,
        position: int = 0,
    ) -> None:
        """End the answer with an error of the catalogue, after what is buffered.

        When nothing has been sent yet the error is the whole answer: the client can be given a proper status.
        """
        if self._closed or self.cancelled:
            self.close()
            return
        failure = work_pb2.Failure(
            code=code,
            detail=detail,
            retry_after_s=retry_after_s,
            do_not_retry=do_not_retry,
            rate_limit=None if rate_limit is None else _rate_limit(rate_limit),
        )
        data = self._take_buffer() if self._sequence else b""
        self._send_last(work_pb2.Frame(data=data, failure=failure, position=position))
        self.close()

    def withdraw(self) -> bool:
        """Take back what was written, as long as none of it was sent; whether none was.

        An error that follows is then the whole answer, and nothing was delivered that could be charged.
        """
        if self._sequence:
            return False
        self._buffer.clear()
        self._buffered_bytes = 0
        return True

    def close(self) -> None:
        """Forget the answer."""
        self._closed = True
        self.on_cancel = None  # it leads back here by way of its owner
        self._buffer.clear()
        self._buffered_bytes = 0
        self._answers.forget(self)

    def cancel(self) -> None:
        """The edge has cancelled, or cannot be reached."""
        if self.cancelled or self._closed:
            return
        self.cancelled = True
        self._wake()
        if self.on_cancel is not None:
            self.on_cancel()

    def control(self, message: work_pb2.Control) -> None:
        """Take a control message for this attempt."""
        self._unheard = 0
        if message.received_bytes > self._taken_bytes:
            self._taken_bytes = message.received_bytes
            self._wake()
        if message.cancel:
            self.cancel()

    def unheard(self) -> None:
        """The server says that no edge listens.

        A frame that is lost cannot be made good. A lost heartbeat may only mean that the edge is reconnecting.
        """
        self._unheard += 1
        if self._sequence > 0 or self._unheard >= 2:
            self.cancel()

    def tick(self, now: float) -> None:
        """Send a heartbeat when one is due; give up on a client that takes nothing."""
        if self._credit is not None and now - self._waiting_since > CREDIT_TIMEOUT_S:
            self.cancel()
        if now - self.sent_at >= HEARTBEAT_S and not self._closed and not self.cancelled:
            frame = work_pb2.Frame(sequence=self._sequence, attempt=self.attempt, core=self._answers.core)
            self._answers.connection.send(self.subject, frame.SerializeToString(), self._gone_subject)
            self.sent_at = now

    def _flush(self) -> None:
        """Send what is buffered, a little later if the window is full."""
        self._flush_planned = False
        if not self._buffer or self._closed or self.cancelled:
            return
        if self._window_has(self._buffered_bytes):
            try:
                self._send(self._take_buffer())
            except ClientGone:
                return
        else:
            self._flush_planned = True
            asyncio.get_running_loop().call_later(COALESCE_S, self._flush)

    def _window_has(self, size: int) -> bool:
        ahead_bytes = self._sent_bytes - self._taken_bytes
        return ahead_bytes == 0 or ahead_bytes + size <= WINDOW_BYTES

    def _take_buffer(self) -> bytes:
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        self._buffered_bytes = 0
        return data

    async def _drain(self, keep_bytes: int) -> None:
        """Send pieces, each when the window allows it, until at most `keep_bytes` are left in the buffer."""
        data = memoryview(self._take_buffer())
        try:
            while len(data) > keep_bytes:
                piece = data[:PIECE_BYTES]
                await self._window(len(piece))
                data = data[PIECE_BYTES:]
                self._send(bytes(piece))
        finally:
            if data:
                self._buffer.insert(0, bytes(data))
                self._buffered_bytes += len(data)

    async def _window(self, size: int) -> None:
        """Wait until `size` bytes more may be sent."""
        while not self._window_has(size):
            if self.cancelled or self._closed:
                raise ClientGone
            self._credit = asyncio.get_running_loop().create_future()
            self._waiting_since = _monotonic()
            try:
                await self._credit
            finally:
                self._credit = None

    def _wake(self) -> None:
        if self._credit is not None and not self._credit.done():
            self._credit.set_result(None)

    def _send(self, data: bytes) -> None:
        if self.cancelled or self._closed:
            raise ClientGone
        frame = work_pb2.Frame(data=data, head=self._head)
        self._head = None
        self._sent_bytes += len(data)
        if not self._answers.connection.send(self.subject, self._numbered(frame), self._gone_subject):
            self.cancel()
            raise ClientGone

    def _send_last(self, frame: work_pb2.Frame) -> None:
        payload = self._numbered(frame)
        sent = self._answers.connection.send(self.subject, payload, self._gone_subject)
        self._answers.linger(self, payload, sent)

    def _numbered(self, frame: work_pb2.Frame) -> bytes:
        frame.sequence = self._sequence
        frame.attempt = self.attempt
        if self._sequence == 0:
            frame.core = self._answers.core
        self._sequence += 1
        self.sent_at = _monotonic()
        return frame.SerializeToString()


class Answers:
    """All open answers of one core: its control subscriptions, its heartbeats, its last frames that found no edge."""

    def __init__(self, connection: Connection, core: str) -> None:
        self.connection = connection
        self.core = core
        self._open: dict[str, dict[int, Answer]] = {}
        self._early: dict[tuple[str, int], None] = {}
        # Dropped oldest first, which takes a plain dict ever longer.
        self._lingering: OrderedDict[str, _LastFrame] = OrderedDict()
        self.ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen to control messages, before any request is taken."""
        await self.connection.subscribe_direct(f"ctl.{self.core}.*", self._on_control)
        await self.connection.subscribe_direct(f"ctl.{ANY_CORE}.*", self._on_control)
        self.ticker = asyncio.create_task(self._tick())

    def open(self, edge: str, request_id: bytes, attempt: int) -> Answer:
        """Begin an answer, best in the very callback that receives the request. It may be cancelled already."""
        answer = Answer(self, edge, request_id, attempt)
        token = request_id.hex()
        self._open.setdefault(token, {})[attempt] = answer
        if self._early and (token, attempt) in self._early:
            del self._early[(token, attempt)]
            answer.cancelled = True
        return answer

    def __len__(self) -> int:
        """Requests whose answers are open."""
        return len(self._open)

    def forget(self, answer: Answer) -> None:
        """Called by an answer that is closed."""
        token = answer.request_id.hex()
        attempts = self._open.get(token)
        if attempts is not None and attempts.get(answer.attempt) is answer:
            del attempts[answer.attempt]
            if not attempts:
                del self._open[token]

    def linger(self, answer: Answer, payload: bytes, sent: bool) -> None:
        """Keep an answer's last frame a while, in case that its edge is not there to take it."""
        if len(self._lingering) >= LINGERING_MAX:
            self._lingering.popitem(last=False)
        token = answer.request_id.hex()
        last = self._lingering[token] = _LastFrame(answer.subject, payload, answer.sent_at)
        if not sent:
            self._send_again_later(token, last)

    async def close(self) -> None:
        """Stop the heartbeats. Open answers are forgotten."""
        if self.ticker is not None:
            self.ticker.cancel()
            await asyncio.gather(self.ticker, return_exceptions=True)
            self.ticker = None
        self._open.clear()
        self._lingering.clear()

    def _on_control(self, message: Message) -> None:
        token = message.subject.rpartition(".")[2]
        attempts = self._open.get(token)
        if is_no_responders(message):
            self._on_unheard(token, attempts)
            return
        control = work_pb2.Control.FromString(message.data)
        known = attempts.get(control.attempt) if attempts else None
        if known is not None:
            known.control(control)
        elif control.cancel and token not in self._lingering:
            self._remember_cancel(token, control.attempt)

    def _on_unheard(self, token: str, attempts: dict[int, Answer] | None) -> None:
        for answer in list(attempts.values()) if attempts else ():
            answer.unheard()
        last = self._lingering.get(token)
        if last is not None:
            self._send_again_later(token, last)

    def _send_again_later(self, token: str, last: "_LastFrame") -> None:
        if _monotonic() - last.first_sent_at < LINGER_S:
            last.waiting = True
            asyncio.get_running_loop().call_later(LINGER_PERIOD_S, self._send_again, token, last)

    def _send_again(self, token: str, last: "_LastFrame") -> None:
        last.waiting = False
        if self._lingering.get(token) is last:
            reply = f"ctl.{self.core}.{token}"
            if not self.connection.send(last.subject, last.payload, reply):
                self._send_again_later(token, last)

    def _remember_cancel(self, token: str, attempt: int) -> None:
        if len(self._early) >= EARLY_CANCELS_MAX:
            del self._early[next(iter(self._early))]
        self._early[(token, attempt)] = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = _monotonic()
            for answer in [answer for attempts in self._open.values() for answer in attempts.values()]:
                answer.tick(now)
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """Forget last frames that have been taken, as far as the server's silence tells. They are kept in order."""
        while self._lingering:
            token, last = next(iter(self._lingering.items()))
            if now - last.first_sent_at < (LINGER_S if last.waiting else TICK_S):
                return
            del self._lingering[token]


class _LastFrame:
    __slots__ = ("first_sent_at", "payload", "subject", "waiting")

    def __init__(self, subject: str, payload: bytes, first_sent_at: float) -> None:
        self.subject = subject
        self.payload = payload
        self.first_sent_at = first_sent_at
        self.waiting = False


class Pending:
    """A request that an edge has sent, and the frames that come back for it. `Inbox.open` makes it.

    Several attempts may answer; the first whose head or data arrives wins, as does a failure of the latest attempt.
    The others are told to stop.
    """

    def __init__(self, inbox: "Inbox", request_id: bytes) -> None:
        self.request_id = request_id
        self.attempt = 0
        self.reply = answer_subject(inbox.edge, request_id)
        self._heard_at = 0.0
        self._inbox = inbox
        self._winner = 0
        self._next_sequence: dict[int, int] = {}
        self._cores: dict[int, str] = {}
        self._frames: deque[work_pb2.Frame] = deque()
        self._queued_bytes = 0
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wake_at = 0.0
        self._taken_bytes = 0
        self._credited_bytes = 0

    def begin(self, attempt: int) -> None:
        """An attempt is about to be sent (1, 2 …, again where nobody got it); silence counts from now."""
        self.attempt = attempt
        if not isinstance(self._failure, ClientGone):
            self._failure = None
        self._heard_at = _monotonic()
        self._next_sequence[attempt] = 0

    async def next(self, wake_at: float = 0.0) -> work_pb2.Frame | None:
        """The answer's next frame, without heartbeats; None about a second after the monotonic clock has passed
        `wake_at` (0: never).

        Raises NoCore, CoreSilent, FrameGap, and ClientGone after `abandon`.
        """
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            if wake_at and _monotonic() >= wake_at:
                return None
            self._wake_at = wake_at
            self._waiter = self._inbox.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frame = self._frames.popleft()
        if self._frames and not frame.end:
            self._merge(frame)
        self._queued_bytes -= len(frame.data)
        return frame

    def _merge(self, frame: work_pb2.Frame) -> None:
        """Add what has queued up meanwhile: the busier an edge is, the fewer and larger are its writes."""
        parts = [frame.data]
        while self._frames and not frame.end and not self._frames[0].HasField("failure"):
            following = self._frames.popleft()
            parts.append(following.data)
            frame.end = following.end
            frame.position = following.position or frame.position
        frame.data = b"".join(parts)

    def credit(self, taken_bytes: int) -> None:
        """The client's socket has taken so many bytes more."""
        self._taken_bytes += taken_bytes
        if self._taken_bytes - self._credited_bytes >= CREDIT_BYTES:
            self._credited_bytes = self._taken_bytes
            self._control(self._winner, received_bytes=self._taken_bytes)

    def cancel(self) -> None:
        """Tell the core, or all cores while none is known, that nobody waits for the answer any more."""
        self._control(self._winner or self.attempt, cancel=True)

    def abandon(self) -> None:
        """The client has left: `next` raises ClientGone from now on."""
        self._drop_frames()
        self._fail(ClientGone())

    def close(self) -> None:
        """Forget the request; later frames are ignored."""
        self._inbox.forget(self)

    def take(self, frame: work_pb2.Frame) -> None:
        """Take a frame from the wire."""
        attempt = frame.attempt
        expected = self._next_sequence.get(attempt)
        if expected is None or isinstance(self._failure, FrameGap | ClientGone):
            return
        if frame.core:
            self._cores[attempt] = frame.core
        if attempt == self.attempt or attempt == self._winner:
            self._heard_at = _monotonic()
        if frame.sequence != expected:
            if frame.sequence > expected:
                self._gap(attempt)
        elif not is_heartbeat(frame) and self._wins(frame):
            self._next_sequence[attempt] = expected + 1
            self._queue(frame)

    def no_responders(self) -> None:
        """The server says that no core listens to what was sent last."""
        if not self._winner:
            self._fail(NoCore())

    def garbled(self) -> None:
        """What came is no frame."""
        self._fail(FrameGap())

    def tick(self, now: float, silence_s: float) -> None:
        """Notice silence, and wake a reader that wants to be woken."""
        if now - self._heard_at > silence_s and not self._frames and self._failure is None:
            self._fail(CoreSilent())
        elif self._wake_at and now >= self._wake_at:
            self._wake()

    def _wins(self, frame: work_pb2.Frame) -> bool:
        """Whether the frame's attempt is the one that answers. An older attempt's failure says nothing."""
        attempt = frame.attempt
        if self._winner == 0:
            if attempt != self.attempt and frame.HasField("failure"):
                return False
            self._winner = attempt
            for other in self._next_sequence:
                if other != attempt:
                    self._control(other, cancel=True)
        elif attempt != self._winner and not frame.end and not frame.HasField("failure"):
            self._control(attempt, cancel=True)
        return attempt == self._winner

    def _queue(self, frame: work_pb2.Frame) -> None:
        if isinstance(self._failure, CoreSilent | NoCore):
            self._failure = None
        self._frames.append(frame)
        self._queued_bytes += len(frame.data)
        if self._queued_bytes > QUEUED_BYTES_MAX:
            self._drop_frames()
            self._fail(FrameGap())
        self._wake()

    def _drop_frames(self) -> None:
        self._frames.clear()
        self._queued_bytes = 0

    def _gap(self, attempt: int) -> None:
        """A gap in an attempt that was given up says nothing."""
        if attempt == (self._winner or self.attempt):
            self._fail(FrameGap())

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _control(self, attempt: int, cancel: bool = False, received_bytes: int = 0) -> None:
        """When it is lost the core notices by itself: no credit, no edge, or the end of its lease."""
        message = work_pb2.Control(attempt=attempt, cancel=cancel, received_bytes=received_bytes)
        subject = control_subject(self._cores.get(attempt, ANY_CORE), self.request_id)
        self._inbox.connection.send(subject, message.SerializeToString())


class Inbox:
    """All requests that one edge has under way: one subscription and one ticker for all of them."""

    def __init__(self, connection: Connection, edge: str, silence_s: float) -> None:
        self.connection = connection
        self.edge = edge
        self.loop = asyncio.get_running_loop()
        self._silence_s = silence_s
        self._pending: dict[str, Pending] = {}
        self.ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen to frames, before any request is sent."""
        await self.connection.subscribe_direct(f"rsp.{self.edge}.*", self._on_frame)
        self.ticker = asyncio.create_task(self._tick())

    def open(self, request_id: bytes) -> Pending:
        """Expect frames for a request. Close the result, whatever happens."""
        pending = self._pending[request_id.hex()] = Pending(self, request_id)
        return pending

    def __len__(self) -> int:
        """Requests under way."""
        return len(self._pending)

    def forget(self, pending: Pending) -> None:
        """Called by a request that is closed."""
        self._pending.pop(pending.request_id.hex(), None)

    async def close(self) -> None:
        """Stop the ticker."""
        if self.ticker is not None:
            self.ticker.cancel()
            await asyncio.gather(self.ticker, return_exceptions=True)
            self.ticker = None

    def _on_frame(self, message: Message) -> None:
        pending = self._pending.get(message.subject.rpartition(".")[2])
        if pending is None:
            return
        if is_no_responders(message):
            pending.no_responders()
            return
        try:
            frame = work_pb2.Frame.FromString(message.data)
        except DecodeError:
            pending.garbled()
            return
        pending.take(frame)

    async def _tick(self) -> None:
        async for now in ticks(min(TICK_S, self._silence_s / 5)):
            for pending in list(self._pending.values()):
                pending.tick(now, self._silence_s)


def _rate_limit(value: RateLimit) -> work_pb2.RateLimit:
    return work_pb2.RateLimit(limit=value[0], remaining=value[1], reset_s=value[2])
