"""Brings tasks to their end: looks at the provider, keeps the results, settles or releases, tells the customer.

A look is due when the queue says so, or sooner when the provider's callback does; both may happen at once, on two
cores. So every step is one that can be repeated: results have the same names, the ledger ends a request once, and a
record is written only over the one that was read.
"""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

import orjson

from bus.errors import BusError, NoCore
from bus.queue import Delivery, WorkQueue
from bus.streams import TASKS
from bus.tasks import (
    FOLLOW_SUBJECTS,
    FOLLOWERS,
    NOTIFIERS,
    NOTIFY_SUBJECTS,
    Conflict,
    Stored,
    enqueue,
    read_task,
    write_task,
)
from bus.transport import Message
from core.ledger.money import from_text
from core.ledger.outcome import Code, Outcome
from core.ledger.requests import SETTLED_ATTEMPT
from core.providers.port import ProviderFailure
from core.providers.tasks import Progress, TaskState
from core.replica import Replica
from core.tasks import records, webhooks
from core.tasks.desk import TaskDesk
from files.names import webhook_secret
from files.store import NoSuchFile, StoreFailed, read_whole
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1 import work_pb2
from proto.onysoft.v1.task_pb2 import TaskRecord, TaskWork
from runtime.ids import TASK, text
from runtime.log import log

CAPACITY = 128
"""Tasks that one core looks after at a time; the others wait in the queue."""
WEBHOOKS_MAX = 64
"""Webhooks that one core calls at a time."""
HURRIES_MAX = 256
BEHIND_HURRY_S = 0.5
WORKING_EVERY_S = 10.0
GROWTH = 1.3
JITTER = 0.15
TROUBLE_PAUSE_S = 3.0
UNKNOWN_GRACE_MS = 60_000
"""For so long a provider may not know yet what it has just created."""
UNKNOWN_READS = 3
COPY_TRIES = 3
"""Copies tried before the provider's own address is given; then copying goes on."""
COPY_PATIENCE_MS = 24 * 3_600_000
"""Providers' addresses of results live no longer than that."""
ASK_TIMEOUT_S = 5.0
TEXT_BYTES_MAX = 4 * 1024 * 1024


class Follower:
    """One core's part in following all tasks."""

    def __init__(self, desk: TaskDesk) -> None:
        self._desk = desk
        self._replica: Replica = desk.replica
        connection, take = desk.connection, self._on_delivery
        self._queues = (
            WorkQueue(connection, TASKS, FOLLOWERS, FOLLOW_SUBJECTS, CAPACITY, take),
            WorkQueue(connection, TASKS, NOTIFIERS, NOTIFY_SUBJECTS, WEBHOOKS_MAX, take),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[Delivery] = set()
        self._hurried: set[bytes] = set()
        self._ticker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Tasks that are being looked at."""
        return len(self._tasks)

    async def start(self) -> None:
        """Take part."""
        self._ticker = asyncio.create_task(self._keep_working())
        await self._desk.connection.subscribe_direct("hurry", self._on_hurry, "core")
        for queue in self._queues:
            await queue.start()

    async def stop(self) -> None:
        """Take no more; what is under way goes back into the queue."""
        for queue in self._queues:
            await queue.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3.0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._open.add(delivery)
        self._spawn(self._handle(delivery))

    def _on_hurry(self, message: Message) -> None:
        """A callback says that there is news of a task. One look at a time is enough."""
        request_id = message.data
        if len(request_id) == 12 and request_id not in self._hurried and len(self._hurried) < HURRIES_MAX:
            self._hurried.add(request_id)
            self._spawn(self._hurry(request_id))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_working(self) -> None:
        while True:
            await asyncio.sleep(WORKING_EVERY_S)
            for delivery in self._open:
                delivery.working()

    async def _hurry(self, request_id: bytes) -> None:
        """The timer's own look comes all the same; so what goes wrong here is only noted."""
        try:
            await self._look_after(request_id, 1)
        except (BusError, TimeoutError, StoreFailed) as error:
            log.info("task.not_hurried", task_id=text(TASK, request_id), reason=type(error).__name__)
        finally:
            self._hurried.discard(request_id)

    async def _handle(self, delivery: Delivery) -> None:
        """See one delivery to its end, or put it off."""
        pause_s: float | None = TROUBLE_PAUSE_S
        try:
            work = TaskWork.FromString(delivery.payload)
            if work.purpose == pb.NOTIFY:
                pause_s = await self._tell_customer(work.request_id, delivery.deliveries)
            elif work.request_id in self._hurried:
                pause_s = BEHIND_HURRY_S
            else:
                pause_s = await self._look_after(work.request_id, delivery.deliveries)
        except (BusError, TimeoutError) as error:
            log.warning("task.put_off", reason=type(error).__name__)
        except asyncio.CancelledError:
            pause_s = 0.0
            raise
        except Exception as error:  # noqa: BLE001  a defect must not take the task out of the queue
            self._desk.counters.defects += 1
            log.error("task.defect", exc_info=error)
        finally:
            self._open.discard(delivery)
            if pause_s is None:
                delivery.done()
            else:
                delivery.again(pause_s)

    async def _look_after(self, request_id: bytes, deliveries: int) -> float | None:
        """One look; seconds until the next, None when there is nothing left to do."""
        stored = await read_task(self._desk.connection, request_id)
        if not stored.position:
            return None
        try:
            return await self._next_step(stored, deliveries)
        except Conflict:
            return 0.2  # somebody else made a step: look again at what it is now
        except ProviderFailure as failure:
            self._desk.counters.looks_failed += 1
            log.warning("task.look_failed", task_id=text(TASK, request_id), reason=str(failure))
            return max(self._pause_s(deliveries), float(failure.retry_after_s))

    async def _next_step(self, stored: Stored, deliveries: int) -> float | None:
        record = stored.record
        if record.status == pb.TASK_COMPLETED:
            return await self._finish_copying(stored, deliveries)
        if record.status == pb.TASK_FAILED and record.code != "generation_expired":
            return await self._told(record)
        if not record.provider_task_id:
            return await self._wait_for_creator(stored)
        await self._see_submitted(record)
        self._desk.counters.looks += 1
        progress = await self._desk.providers[record.provider].look(
            record.family, record.query, record.provider_task_id
        )
        if progress.state is TaskState.SUCCEEDED:
            return await self._succeed(stored, progress, deliveries)
        if progress.state is TaskState.FAILED:
            return await self._fail(stored, "generation_failed", ledger.GENERATION_FAILED, progress.reason)
        if progress.state is TaskState.UNKNOWN:
            return await self._not_known(stored, deliveries)
        return await self._go_on(stored, progress, deliveries)

    # While it runs

    def _pause_s(self, deliveries: int) -> float:
        settings = self._desk.settings
        grown = settings.task_poll_s * GROWTH ** min(deliveries - 1, 40)
        return min(grown, settings.task_poll_max_s) * random.uniform(1 - JITTER, 1 + JITTER)

    async def _wait_for_creator(self, stored: Stored) -> float | None:
        """Its one create is under way, or the core that made it is dead: then nobody can know the provider's id."""
        record = stored.record
        settings = self._desk.settings
        await self._replica.fresh()
        request = self._replica.state.requests.get(record.request_id)
        is_open = request is not None and request.attempt == record.attempt and not request.expired
        if is_open or self._desk.now_ms() - record.created_ms < settings.hold_lease_s * 1000:
            return settings.task_poll_s
        log.warning("task.creator_died", task_id=text(TASK, record.request_id))
        return await self._fail(stored, "generation_failed", ledger.CORE_STOPPED, "creator_died")

    async def _see_submitted(self, record: TaskRecord) -> None:
        """The ledger's word that the hold lives on, where the core that created the task died before it."""
        request = self._replica.state.requests.get(record.request_id)
        if request is not None and request.attempt == record.attempt and not (request.task or request.expired):
            await self._desk.append(record.account_id, self._desk.submitted(record))

    async def _go_on(self, stored: Stored, progress: Progress, deliveries: int) -> float | None:
        record = stored.record
        now_ms = self._desk.now_ms()
        if record.status == pb.TASK_FAILED:  # expired: only a late result is looked for
            return await self._give_up_late(record, now_ms, deliveries)
        if self._has_expired(record, now_ms):
            ended = records.failed(record, "generation_expired", now_ms, self._desk.public_url)
            await self._write(stored, ended)
            self._desk.counters.ended["expired"] += 1
            await self._told(ended)
            return self._pause_s(deliveries)
        advanced = records.advanced(record, progress, self._desk.public_url)
        if advanced is not record:
            await self._write(stored, advanced)
        return self._pause_s(deliveries)

    def _has_expired(self, record: TaskRecord, now_ms: int) -> bool:
        """By the ledger's word where it has one: it decides whether a success is still charged."""
        request = self._replica.state.requests.get(record.request_id)
        return request.expired if request is not None else now_ms > record.deadline_ms

    async def _give_up_late(self, record: TaskRecord, now_ms: int, deliveries: int) -> float | None:
        if now_ms < record.deadline_ms + int(self._desk.settings.task_late_s * 1000):
            return max(self._pause_s(deliveries), 60.0)
        await self._release(record, ledger.GENERATION_EXPIRED)
        return await self._told(record)

    async def _not_known(self, stored: Stored, deliveries: int) -> float | None:
        """Not yet, just after its creation; later, several times in a row, it is forgotten."""
        record = stored.record
        now_ms = self._desk.now_ms()
        if now_ms - record.submitted_ms < UNKNOWN_GRACE_MS:
            return self._pause_s(deliveries)
        if record.status == pb.TASK_FAILED:
            return await self._give_up_late(record, now_ms, deliveries)
        if record.unknown_reads + 1 < UNKNOWN_READS:
            again = records.changed(record, self._desk.public_url, unknown_reads=record.unknown_reads + 1)
            await self._write(stored, again)
            return self._pause_s(deliveries)
        return await self._fail(stored, "generation_expired", ledger.GENERATION_EXPIRED, "forgotten")

    # Its end

    async def _fail(self, stored: Stored, code: str, reason: ledger.ReleaseReason.ValueType, why: str) -> float | None:
        record = stored.record
        await self._release(record, reason)
        log.info("task.failed", task_id=text(TASK, record.request_id), code=code, reason=why)
        if record.status != pb.TASK_FAILED:
            ended = records.failed(record, code, self._desk.now_ms(), self._desk.public_url)
            await self._write(stored, ended)
            self._desk.counters.ended["failed"] += 1
            return await self._told(ended)
        return await self._told(record)

    async def _release(self, record: TaskRecord, reason: ledger.ReleaseReason.ValueType) -> None:
        released = ledger.RequestReleased(
            request_id=record.request_id, attempt=record.attempt, reason=reason, provider_calls=1
        )
        await self._desk.append(record.account_id, ledger.Event(request_released=released))

    async def _succeed(self, stored: Stored, progress: Progress, deliveries: int) -> float | None:
        """Keep the results, then settle, then say so. Where they cannot be kept the provider's addresses are given."""
        record = stored.record
        known = {file.provider_url: file for file in record.files}
        files = [known.get(file.provider_url, file) for file in records.files_of(progress)]
        copied = await self._desk.copier.copy(record.request_id, files, progress.text)
        tries = record.copy_tries + 1
        if not all(file.name for file in copied) and (tries < COPY_TRIES or any(file.text for file in copied)):
            await self._write(stored, records.with_files(record, copied, self._desk.public_url, tries))
            return self._desk.settings.task_poll_s * tries
        charged_nano = await self._settle(record, progress)
        done = await self._complete(stored, copied, charged_nano, tries)
        await self._told(done)
        return None if records.is_copied(done) else self._pause_s(deliveries)

    async def _complete(self, stored: Stored, copied: list[pb.TaskFile], charged_nano: int, tries: int) -> TaskRecord:
        """Say that it is completed, over whatever another look may have written since: it is settled already."""
        while stored.record.status != pb.TASK_COMPLETED:
            ready = records.with_files(stored.record, copied, self._desk.public_url, tries)
            done = records.completed(ready, charged_nano, self._desk.now_ms(), self._desk.public_url)
            try:
                await self._write(stored, done)
            except Conflict:
                stored = await read_task(self._desk.connection, stored.record.request_id)
            else:
                self._desk.counters.ended["completed"] += 1
                return done
        return stored.record

    async def _settle(self, record: TaskRecord, progress: Progress) -> int:
        """Append the settlement; what was charged for the task, by this settlement or by one before it."""
        event = self._desk.settlement(record, progress.credits)
        if not self._is_settled(record):
            outcome: Outcome = await self._desk.append(record.account_id, event)
            self._desk.count_settlement(outcome)
            if outcome.code is not Code.NOT_OPEN:
                return outcome.charged_nano
        if self._is_settled(record) and self._desk.now_ms() < record.deadline_ms:
            return event.request_settled.charge_nano  # its hold has covered all of it
        return await self._charged_before(record)

    def _is_settled(self, record: TaskRecord) -> bool:
        """As far as this core's replica knows, which forgets it after some minutes."""
        return self._replica.state.ended.last_attempt(record.request_id) == SETTLED_ATTEMPT

    async def _charged_before(self, record: TaskRecord) -> int:
        """Another follower, or this one before it died, ended the request: the log's story says how.

        Raises NoCore while nobody can tell.
        """
        ask = work_pb2.Ask(request_id=record.request_id, min_position=self._replica.state.position)
        payload = await self._desk.connection.request("ask.request", ask.SerializeToString(), ASK_TIMEOUT_S)
        answer = work_pb2.Answer.FromString(payload)
        if answer.code:
            raise NoCore("the request's story is not at hand")
        story = orjson.loads(answer.json)
        return from_text(story["charge"]) if story.get("status") == "settled" else 0

    async def _finish_copying(self, stored: Stored, deliveries: int) -> float | None:
        """Go on until every result lies in our store, or the provider's address must be dead."""
        record = stored.record
        if records.is_copied(record):
            return await self._told(record)
        copied = await self._desk.copier.copy(record.request_id, record.files, "")
        tries = record.copy_tries + 1
        await self._write(stored, records.with_files(record, copied, self._desk.public_url, tries))
        if all(file.name for file in copied) or self._desk.now_ms() - record.ended_ms > COPY_PATIENCE_MS:
            return await self._told(record)
        return self._pause_s(deliveries) * min(tries, 40)

    async def _write(self, stored: Stored, record: TaskRecord) -> int:
        return await write_task(self._desk.connection, record, stored.position)

    # Its customer

    async def _told(self, record: TaskRecord) -> float | None:
        """Have the customer's webhook called, where one is due. Twice does no harm: the second finds it delivered."""
        if record.callback == pb.CALLBACK_DUE:
            partition = self._replica.partition_of(self._desk.root_of(record.account_id))
            await enqueue(self._desk.connection, partition, record.request_id, pb.NOTIFY, record.ended_ms)
        return None

    async def _tell_customer(self, request_id: bytes, deliveries: int) -> float | None:
        stored = await read_task(self._desk.connection, request_id)
        record = stored.record
        if not stored.position or record.callback != pb.CALLBACK_DUE:
            return None
        try:
            body = await self._status_body(record)
        except StoreFailed:
            return TROUBLE_PAUSE_S
        secret = webhook_secret(self._desk.pepper, record.account_id)
        task_id = text(TASK, request_id)
        why = await webhooks.deliver(record.callback_url, body, secret, int(time.time()), task_id, self._desk.may_reach)
        if not why:
            self._desk.counters.webhooks["delivered"] += 1
            return await self._set_callback(stored, pb.CALLBACK_DELIVERED)
        log.info("webhook.not_taken", task_id=task_id, reason=why, deliveries=deliveries)
        self._desk.counters.webhooks["not_taken"] += 1
        if self._desk.now_ms() - record.ended_ms > webhooks.PATIENCE_MS:
            return await self._set_callback(stored, pb.CALLBACK_GIVEN_UP)
        return webhooks.pause_s(deliveries) * random.uniform(1 - JITTER, 1 + JITTER)

    async def _set_callback(self, stored: Stored, status: pb.CallbackStatus.ValueType) -> float | None:
        """What else changed meanwhile (a copy came to its end, a late result) stays, and is told again if it must."""
        try:
            await self._write(stored, records.changed(stored.record, self._desk.public_url, callback=status))
        except Conflict:
            newer = await read_task(self._desk.connection, stored.record.request_id)
            if newer.record.status != stored.record.status:
                return 0.0
            return await self._set_callback(newer, status)
        return None

    async def _status_body(self, record: TaskRecord) -> bytes:
        """What the customer would read by polling, with an error's words in Turkish and a text result in place."""
        shown = orjson.loads(record.shown)
        if shown["error"]:
            shown["error"]["message"] = self._desk.message_of(record.code)
        for file in record.files:
            if file.text and file.name and shown["status"] == "completed":
                try:
                    content = await read_whole(self._desk.store, file.name, TEXT_BYTES_MAX)
                    shown["text"] = content.decode("utf-8", "replace")
                except NoSuchFile:
                    shown["text"] = None
        return orjson.dumps(shown)
