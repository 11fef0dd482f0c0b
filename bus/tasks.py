"""Media tasks on the bus: records, the mirror that answers polls, the queue that brings each to its end, the pace.

A record is written only over the one that was read, so that of two processes with the same task one finds out.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, BusError, NoSuchPosition
from bus.jetstream import Entry
from bus.streams import MEDIA, last_position
from bus.tail import Tail
from proto.onysoft.v1.task_pb2 import Pace, TaskPurpose, TaskRecord, TaskWork

MIRRORED_MAX = 50_000
"""Tasks that an edge keeps in memory; of the others it asks the stream."""
SCANNED_MAX = 200_000
"""Records that one listing looks at, the newest ones."""

RETRY_S = 0.2
FOLLOWERS, FOLLOW_SUBJECTS = "followers", "tasks.*"
NOTIFIERS, NOTIFY_SUBJECTS = "notifiers", "tasks.*.notify"
"""Customers' webhooks wait in a queue of their own: a receiver that hangs must not keep a task from its end."""

_TASK = "media.task."
_PACE = "media.pace."


class Conflict(Exception):
    """Somebody else has written this record since it was read."""


class Stored(NamedTuple):
    """A record and the stream position at which it stands; 0: there is none."""

    position: int
    record: TaskRecord


async def read_task(connection: Connection, request_id: bytes) -> Stored:
    """The task's newest record. Raises ApiRefused, NoCore, RequestTimeout when the stream cannot be read."""
    try:
        entry = await jetstream.read_last(connection, MEDIA, _TASK + request_id.hex())
    except NoSuchPosition:
        return Stored(0, TaskRecord())
    return Stored(entry.position, TaskRecord.FromString(entry.payload))


async def write_task(connection: Connection, record: TaskRecord, over: int) -> int:
    """Replace the record at position `over` (0: there must be none); the new position.

    Raises Conflict, or as `read_task`; then it is not known whether the record is written.
    """
    payload = record.SerializeToString()
    position = await _write(connection, _TASK + record.request_id.hex(), payload, over)
    if position is None:
        found = await read_task(connection, record.request_id)
        if found.position and found.record == record:
            return found.position  # an earlier attempt of this very write
        raise Conflict
    return position


async def _write(connection: Connection, subject: str, payload: bytes, over: int) -> int | None:
    """None when the subject's newest message is not the one at `over`."""
    try:
        return await jetstream.append(connection, subject, payload, connection.new_inbox(), expected_last=over)
    except ApiRefused as error:
        if error.err_code != jetstream.WRONG_LAST_SEQUENCE:
            raise
        return None


async def enqueue(
    connection: Connection, partition: int, request_id: bytes, purpose: TaskPurpose.ValueType, reason: object
) -> None:
    """Have somebody look at a task until it is done with; for the same `reason`, once within two minutes.

    Raises as `jetstream.append`.
    """
    work = TaskWork(request_id=request_id, purpose=purpose)
    message_id = f"{request_id.hex()}:{purpose}:{reason}"
    subject = f"tasks.{partition:02d}" + (".notify" if purpose == TaskPurpose.NOTIFY else "")
    await jetstream.append(connection, subject, work.SerializeToString(), message_id)


async def read_pace(connection: Connection, provider: str) -> tuple[int, list[int]]:
    """Position and times of the provider's pace. Raises as `read_task`."""
    try:
        entry = await jetstream.read_last(connection, MEDIA, _PACE + provider)
    except NoSuchPosition:
        return 0, []
    return entry.position, list(Pace.FromString(entry.payload).times_ms)


async def write_pace(connection: Connection, provider: str, times_ms: list[int], over: int) -> int | None:
    """The new position; None when another core has written since `over`. Raises as `read_task`."""
    return await _write(connection, _PACE + provider, Pace(times_ms=times_ms).SerializeToString(), over)


async def scan(connection: Connection, most: int = SCANNED_MAX) -> list[TaskRecord]:
    """The tasks written last, the newest last. Raises ApiRefused and the like."""
    end = await last_position(connection, MEDIA)
    found: dict[bytes, TaskRecord] = {}

    def on_entry(entry: Entry) -> None:
        if entry.subject.startswith(_TASK):
            record = TaskRecord.FromString(entry.payload)
            found.pop(record.request_id, None)
            found[record.request_id] = record

    tail = Tail(connection, MEDIA, max(0, end - most), on_entry, compacted=True)
    await tail.start()
    try:
        async with asyncio.timeout(30.0):
            await tail.caught_up()
    finally:
        await tail.stop()
    return list(found.values())


class TaskMirror:
    """Answers polls from memory: the tasks written or asked for last, MIRRORED_MAX of them.

    A poll costs no message: what changes arrives by itself.
    """

    def __init__(self, connection: Connection, most: int = MIRRORED_MAX) -> None:
        self.reads = 0
        """Questions to the stream so far."""
        self._connection = connection
        self._most = most
        self._tasks: OrderedDict[bytes, Stored] = OrderedDict()
        self._tail: Tail | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    async def follow(self) -> None:
        """Take what is written from now on, and never return. Raises what ended it."""
        after = await self._end_of_stream()
        self._tail = Tail(self._connection, MEDIA, after, self._on_entry, compacted=True)
        await self._tail.start()
        await self._tail.failure

    async def _end_of_stream(self) -> int:
        """As soon as there is a stream, and a way to ask."""
        while True:
            try:
                return await last_position(self._connection, MEDIA)
            except BusError:
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """Follow no longer."""
        if self._tail is not None:
            await self._tail.stop()
            self._tail = None

    async def find(self, request_id: bytes) -> Stored | None:
        """The task, or None when there is none. Raises as `read_task`."""
        known = self._tasks.get(request_id)
        if known is not None and self._tail is not None:
            self._tasks.move_to_end(request_id)
            return known
        self.reads += 1
        stored = await read_task(self._connection, request_id)
        if not stored.position:
            return None
        return self._keep(request_id, stored)

    def _on_entry(self, entry: Entry) -> None:
        if entry.subject.startswith(_TASK):
            record = TaskRecord.FromString(entry.payload)
            self._keep(record.request_id, Stored(entry.position, record))

    def _keep(self, request_id: bytes, stored: Stored) -> Stored:
        known = self._tasks.get(request_id)
        if known is not None and known.position >= stored.position:
            return known
        self._tasks[request_id] = stored
        self._tasks.move_to_end(request_id)
        if len(self._tasks) > self._most:
            self._tasks.popitem(last=False)
        return stored
