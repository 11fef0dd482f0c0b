"""A chat call's way to a core and back: attempts until one core answers, then its bytes to the client as they are."""

import asyncio
import time
from typing import NamedTuple

from bus.bodies import INLINE_BYTES, BodyShelf, ShelfFull
from bus.connection import Connection
from bus.errors import NoCore
from bus.frames import ClientGone, CoreSilent, FrameGap, Inbox, Pending
from edge.auth import Identity
from edge.call import Call
from edge.errors import event_of
from edge.responses import Limit, limit_of
from edge.trace import trace_context
from proto.onysoft.v1 import work_pb2
from runtime.errors import CATALOGUE, Refusal
from runtime.settings import Settings

ATTEMPTS_MAX = 3
NO_CORE_WAIT_S = 0.1
ENDING_S = 30.0  # what a core may need beyond the call's limit to settle and answer
HELD_RETRY_AFTER_S = 5
HELD_CODES = ("insufficient_balance_held", "insufficient_balance_partner_held")
KEEP_ALIVE = b": keep-alive\n\n"

_monotonic = time.monotonic


class Refused(Refusal):
    """A core has refused the call; `limit` is the rate limit it named."""

    def __init__(self, failure: work_pb2.Failure) -> None:
        code = failure.code if failure.code in CATALOGUE else "internal_error"
        retry_after_s = failure.retry_after_s
        if code in HELD_CODES:
            retry_after_s = retry_after_s or HELD_RETRY_AFTER_S
        super().__init__(code, failure.detail, retry_after_s, failure.do_not_retry)
        self.limit = limit_of(failure)


class Chat(NamedTuple):
    """A request that has passed the edge's checks; `kind` of work: `chat`, or `media`."""

    identity: Identity
    model: str
    stream: bool
    body: bytes
    kind: str = "chat"


class Relay:
    """Sends chat calls to cores. `position` is the latest ledger position that a frame has named."""

    def __init__(self, connection: Connection, inbox: Inbox, shelf: BodyShelf, settings: Settings) -> None:
        self.position = 0
        self._connection = connection
        self._inbox = inbox
        self._shelf = shelf
        self._patience_s = settings.core_patience_s
        self._keep_alive_s = settings.keep_alive_s
        self._ceiling_s = settings.call_timeout_s + ENDING_S

    async def run(self, call: Call, chat: Chat) -> None:
        """Relay one call to its end.

        Raises Refusal while nothing has been sent, ClientGone when the client has left.
        """
        pending = self._inbox.open(call.request_id)
        connection = call.scope["connection"]
        connection.on_lost = pending.abandon
        try:
            if connection.lost:
                raise ClientGone
            work = await self._work(call, chat)
            deadline = _monotonic() + self._ceiling_s
            subject = f"work.{work.partition:02d}.{chat.kind}"
            frame = await self._first_frame(call, pending, work, subject, deadline)
            await self._answer(call, pending, frame, deadline)
        except (ClientGone, asyncio.CancelledError):
            pending.cancel()
            raise
        finally:
            pending.close()
            self._shelf.drop(call.request_id)

    async def _work(self, call: Call, chat: Chat) -> work_pb2.WorkRequest:
        headers = call.headers
        traceparent, tracestate = trace_context(
            headers.get(b"traceparent", b"").strip(), headers.get(b"tracestate", b"").strip()
        )
        work = work_pb2.WorkRequest(
            request_id=call.request_id,
            account_id=chat.identity.account_id,
            key_id=chat.identity.key_id,
            partition=chat.identity.partition,
            edge=self._inbox.edge,
            model=chat.model,
            stream=chat.stream,
            traceparent=traceparent,
            tracestate=tracestate,
            key_secret=chat.identity.secret,
            language=call.language,
            body=chat.body if len(chat.body) <= INLINE_BYTES else b"",
        )
        if len(chat.body) > INLINE_BYTES:
            try:
                work.body_ref.CopyFrom(await self._shelf.put(call.request_id, chat.body))
            except ShelfFull:
                raise Refusal("service_unavailable", retry_after_s=2) from None
        return work

    async def _first_frame(
        self, call: Call, pending: Pending, work: work_pb2.WorkRequest, subject: str, deadline: float
    ) -> work_pb2.Frame:
        """Send the work until a core answers: again where none listens, as a new attempt where one has died."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            call.attempts = work.attempt = attempt
            give_up_at = _monotonic() + self._patience_s
            while True:
                work.patience_ms = max(int((deadline - _monotonic()) * 1000), 0)
                pending.begin(attempt)
                try:
                    if not self._connection.send(subject, work.SerializeToString(), pending.reply):
                        raise NoCore
                    frame = await pending.next(deadline)
                except NoCore:
                    if _monotonic() >= give_up_at:
                        raise Refusal("service_unavailable", retry_after_s=2) from None
                    await asyncio.sleep(NO_CORE_WAIT_S)
                except (CoreSilent, FrameGap):
                    pending.cancel()
                    break
                else:
                    if frame is None:
                        pending.cancel()
                        raise Refusal("provider_timeout")
                    return frame
        raise Refusal("service_unavailable", retry_after_s=2)

    async def _answer(self, call: Call, pending: Pending, frame: work_pb2.Frame, deadline: float) -> None:
        self._saw(frame)
        if frame.HasField("failure"):
            raise Refused(frame.failure)
        call.provider = frame.head.provider
        limit = limit_of(frame.head)
        fields = call.fields(limit)
        if frame.head.max_tokens_lowered_to:
            fields.append((b"x-onysoft-max-tokens", b"%d" % frame.head.max_tokens_lowered_to))
        if frame.end and not frame.head.stream:
            await call.respond(frame.head.status or 200, frame.data, fields)
            return
        await call.begin(frame.head.stream, fields)
        if frame.head.stream:
            await self._stream(call, pending, frame, deadline)
        else:
            await self._long_body(call, pending, frame, deadline)

    async def _stream(self, call: Call, pending: Pending, first: work_pb2.Frame, deadline: float) -> None:
        """Relay events; what goes wrong now is the last event, and the connection ends without `[DONE]`."""
        frame: work_pb2.Frame | None = first
        while True:
            if frame is None:
                await call.send_piece(KEEP_ALIVE)
            else:
                self._saw(frame)
                if frame.HasField("failure"):
                    await self._end_stream(call, frame.failure.code, frame.failure.detail, frame.data)
                    return
                await call.send_piece(frame.data, more=not frame.end)
                if frame.end:
                    return
                pending.credit(len(frame.data))
            try:
                frame = await pending.next(min(_monotonic() + self._keep_alive_s, deadline))
            except (CoreSilent, FrameGap):
                pending.cancel()
                await self._end_stream(call, "service_unavailable", "", b"")
                return
            if frame is None and _monotonic() >= deadline:
                pending.cancel()
                await self._end_stream(call, "provider_timeout", "", b"")
                return

    async def _end_stream(self, call: Call, code: str, detail: str, data: bytes) -> None:
        call.code = code if code in CATALOGUE else "internal_error"
        await call.send_piece(data + event_of(call.code, detail, call.language), more=False)

    async def _long_body(self, call: Call, pending: Pending, first: work_pb2.Frame, deadline: float) -> None:
        """Relay a body of several frames. When it breaks off so does the connection: no JSON can follow half a JSON."""
        frame: work_pb2.Frame | None = first
        while frame is not None and not frame.HasField("failure"):
            self._saw(frame)
            await call.send_piece(frame.data, more=not frame.end)
            if frame.end:
                return
            pending.credit(len(frame.data))
            try:
                frame = await pending.next(deadline)
            except (CoreSilent, FrameGap):
                break
        pending.cancel()
        call.code = "service_unavailable"

    def _saw(self, frame: work_pb2.Frame) -> None:
        if frame.position > self.position:
            self.position = frame.position


def limit_of_refusal(refusal: Refusal) -> Limit | None:
    """The rate limit that goes with a refusal, where a core has named one."""
    return refusal.limit if isinstance(refusal, Refused) else None
