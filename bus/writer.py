"""Appending to the ledger: group commit, one batch in flight for each partition, retried until it is in the log.

What arrives while a batch is under way forms the next one, so one fsync serves many calls. A batch is sent again with
the same bytes and the same message id until the process's own tail sees it or the server acknowledges it; the server
drops a second copy within its duplicate window, and the fold ignores a batch number that it has applied.

The tail sees a batch when it is stored, so the first copy asks for no acknowledgement: that is one message less for
server and process. A retry asks. An acknowledgement only frees the partition for its next batch; what an append awaits
is the fold's outcome.
"""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from bus.connection import Connection, Direct, Hook
from bus.errors import Overloaded, PayloadTooLarge, WriterClosed
from bus.jetstream import publish_header
from bus.streams import ledger_subject
from bus.transport import Message
from proto.onysoft.v1.ledger_pb2 import Event
from runtime.log import log

BATCH_BYTES_MAX = 512 * 1024
BATCH_EVENTS_MAX = 1_000
LANE_EVENTS_MAX = 20_000  # of one partition: queued, in flight, or waiting for the fold
RETRY_S = 0.5  # unseen by the tail and not acknowledged; half as long again after each attempt, up to RETRY_MAX_S
RETRY_MAX_S = 4.0
REFUSED_RETRY_S = 0.1  # after an answer that the stream cannot take the batch now
WRITER_BYTES = 8

_EVENTS_TAG = b"\x1a"  # LedgerBatch.events, length-delimited
_WRITER_TAG = b"\x0a\x08"  # LedgerBatch.writer, 8 bytes
_NUMBER_TAG = b"\x10"  # LedgerBatch.number, varint


class Applied(NamedTuple):
    """What the fold made of an event. `position` and `time_ms` are the log's, of the event's batch."""

    outcome: Any
    position: int
    time_ms: int


class _Batch:
    """A batch under way: its bytes never change."""

    __slots__ = ("attempts", "header", "number", "payload", "timer")

    def __init__(self, number: int, header: bytes, payload: bytes) -> None:
        self.number = number
        self.header = header
        self.payload = payload
        self.attempts = 0
        self.timer: asyncio.TimerHandle | None = None


class _Lane:
    """One partition's queue, its batch in flight, and the futures of batches that the fold has not applied yet."""

    __slots__ = ("due", "events", "in_flight", "number", "partition", "queue", "subject", "tick", "waiting")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.subject = ledger_subject(partition)
        self.queue: deque[tuple[bytes, asyncio.Future[Applied]]] = deque()
        self.waiting: dict[int, list[asyncio.Future[Applied]]] = {}
        self.in_flight: _Batch | None = None
        self.number = 0
        self.events = 0
        self.due = False
        self.tick = False


class LedgerWriter:
    """Appends events for one process. `writer_id` is new at each start, so its batch numbers begin at 1.

    The process must tail LEDGER and call `applied` for each batch whose writer is `writer_id`.
    """

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.writer_id = os.urandom(WRITER_BYTES)
        self.batches_sent = 0
        self.batches_retried = 0
        self.events_sent = 0
        self._connection = connection
        self._lanes = [_Lane(partition) for partition in range(partitions)]
        self._prefix = _WRITER_TAG + self.writer_id + _NUMBER_TAG
        self._inbox = connection.new_inbox()
        self._acks: Direct | None = None
        self._undo: Hook | None = None
        self._idle: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False

    async def start(self) -> None:
        """Listen to acknowledgements. Appends made earlier wait for this or for the tail."""
        self._acks = await self._connection.subscribe_direct(self._inbox + ".*.*", self._on_ack)
        self._undo = self._connection.on_reconnected(self._resend_all)

    def append(self, partition: int, event: Event) -> asyncio.Future[Applied]:
        """Queue an event; the result is what the fold made of it.

        Raises Overloaded over LANE_EVENTS_MAX, PayloadTooLarge for an event over BATCH_BYTES_MAX, WriterClosed.
        The future raises WriterClosed when the writer is closed first; cancelling it does not take the event back.
        """
        lane = self._lanes[partition]
        if self._closed:
            raise WriterClosed("closed")
        if lane.events >= LANE_EVENTS_MAX:
            raise Overloaded(f"{LANE_EVENTS_MAX} events of partition {partition} wait")
        encoded = event.SerializeToString()
        if len(encoded) > BATCH_BYTES_MAX:
            raise PayloadTooLarge(f"an event of {len(encoded)} bytes")
        future: asyncio.Future[Applied] = self._loop.create_future()
        lane.queue.append((encoded, future))
        lane.events += 1
        if lane.in_flight is None and not lane.due:
            lane.due = True
            self._loop.call_soon(self._send_next, lane)
        return future

    def tick(self, partition: int) -> None:
        """Move the log's time: append a batch without events, unless a batch is on its way that does it."""
        lane = self._lanes[partition]
        if self._closed or lane.events or lane.in_flight is not None or lane.due:
            return
        lane.tick = lane.due = True
        self._loop.call_soon(self._send_next, lane)

    def applied(self, partition: int, number: int, position: int, time_ms: int, outcomes: Sequence[Any]) -> None:
        """The tail has applied a batch of this writer. Counts as its acknowledgement; a second copy does nothing."""
        lane = self._lanes[partition]
        futures = lane.waiting.pop(number, None)
        if futures is None:
            return
        assert len(futures) == len(outcomes), "one outcome for each event"
        for future, outcome in zip(futures, outcomes, strict=True):
            if not future.done():
                future.set_result(Applied(outcome, position, time_ms))
        lane.events -= len(futures)
        batch = lane.in_flight
        if batch is not None and batch.number == number:
            self._landed(lane, batch)
        self._settle_idle()

    @property
    def pending(self) -> int:
        """Events that the fold has not applied yet."""
        return sum(lane.events for lane in self._lanes)

    async def flush(self) -> None:
        """Wait until all that was appended is applied and every batch has landed."""
        while not self._is_idle():
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush for at most `timeout_s`, then fail what is left with WriterClosed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.flush()
        except TimeoutError:
            log.warning("writer.closed_early", events=self.pending)
        self._closed = True
        if self._undo is not None:
            self._undo()
            self._undo = None
        for lane in self._lanes:
            _abandon(lane)
        if self._acks is not None:
            await self._acks.drop()

    def _send_next(self, lane: _Lane) -> None:
        lane.due = False
        if self._closed or lane.in_flight is not None or not (lane.queue or lane.tick):
            return
        lane.tick = False
        lane.number += 1
        parts = [self._prefix, _varint(lane.number)]
        futures = _take(lane.queue, parts)
        lane.waiting[lane.number] = futures
        message_id = f"{self.writer_id.hex()}:{lane.partition}:{lane.number}"
        batch = _Batch(lane.number, publish_header(message_id), b"".join(parts))
        lane.in_flight = batch
        self.batches_sent += 1
        self.events_sent += len(futures)
        self._send(lane, batch)

    def _send(self, lane: _Lane, batch: _Batch) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        # The tail confirms a batch as soon as an acknowledgement would; only a retry asks for one, to hear of refusals.
        reply = f"{self._inbox}.{lane.partition}.{batch.number}" if batch.attempts else ""
        self._connection.send(lane.subject, batch.payload, reply, batch.header)
        self._connection.flush()  # the server syncs it while the rest of this turn of the loop runs
        wait_s = min(RETRY_S * 1.5**batch.attempts, RETRY_MAX_S)
        batch.attempts += 1
        batch.timer = self._loop.call_later(wait_s, self._retry, lane, batch)

    def _retry(self, lane: _Lane, batch: _Batch) -> None:
        if lane.in_flight is batch and not self._closed:
            self.batches_retried += 1
            log.warning("writer.retry", partition=lane.partition, number=batch.number, attempts=batch.attempts)
            self._send(lane, batch)

    def _resend_all(self) -> None:
        for lane in self._lanes:
            if lane.in_flight is not None:
                lane.in_flight.attempts = 1
                self._retry(lane, lane.in_flight)

    def _on_ack(self, message: Message) -> None:
        _, partition, number = message.subject.rsplit(".", 2)
        lane = self._lanes[int(partition)]
        batch = lane.in_flight
        if batch is None or batch.number != int(number):
            return
        if message.headers is None:
            answer = orjson.loads(message.data)
            if "error" not in answer:
                self._landed(lane, batch)
                self._settle_idle()
                return
            log.error("writer.refused", partition=lane.partition, err_code=answer["error"].get("err_code"))
        # The stream cannot take it now: no leader yet, no JetStream, no space. It may later.
        if batch.timer is not None:
            batch.timer.cancel()
        wait_s = min(REFUSED_RETRY_S * 1.5**batch.attempts, RETRY_MAX_S)
        batch.timer = self._loop.call_later(wait_s, self._retry, lane, batch)

    def _landed(self, lane: _Lane, batch: _Batch) -> None:
        """The batch is in the log: its partition is free for the next one."""
        if batch.timer is not None:
            batch.timer.cancel()
        lane.in_flight = None
        if not lane.waiting.get(batch.number, True):
            del lane.waiting[batch.number]  # a tick: nobody waits for its outcome
        if lane.queue and not lane.due:
            lane.due = True
            self._loop.call_soon(self._send_next, lane)

    def _is_idle(self) -> bool:
        return not any(lane.events or lane.in_flight is not None or lane.due for lane in self._lanes)

    def _settle_idle(self) -> None:
        if self._idle is not None and self._is_idle():
            self._idle.set_result(None)
            self._idle = None


def _take(queue: deque[tuple[bytes, asyncio.Future[Applied]]], parts: list[bytes]) -> list[asyncio.Future[Applied]]:
    """Move events from the queue to `parts`, as many as a batch may hold."""
    futures: list[asyncio.Future[Applied]] = []
    size = 0
    while queue and len(futures) < BATCH_EVENTS_MAX:
        encoded, future = queue[0]
        if futures and size + len(encoded) > BATCH_BYTES_MAX:
            break
        queue.popleft()
        size += len(encoded)
        parts += (_EVENTS_TAG, _varint(len(encoded)), encoded)
        futures.append(future)
    return futures


def _varint(value: int) -> bytes:
    """Protobuf's encoding of an unsigned integer."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _abandon(lane: _Lane) -> None:
    if lane.in_flight is not None and lane.in_flight.timer is not None:
        lane.in_flight.timer.cancel()
    lane.in_flight = None
    queued = [future for _, future in lane.queue]
    sent = [future for futures in lane.waiting.values() for future in futures]
    for future in queued + sent:
        if not future.done():
            future.set_exception(WriterClosed("closed before the fold's outcome came"))
    lane.queue.clear()
    lane.waiting.clear()
    lane.events = 0
