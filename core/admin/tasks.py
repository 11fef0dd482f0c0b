"""Media tasks, as operators see them: list, show, and have one looked at again."""

import time

import grpc

from bus.errors import BusError
from bus.tasks import Stored, enqueue, read_task, scan, write_task
from core.admin.answers import Rejected, answers
from core.admin.callers import caller_now
from core.admin.desk import Desk, Subject, absent
from core.admin.fields import identity
from core.ledger.money import to_text
from core.tasks.records import SHOWN, address_of
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1 import task_pb2
from proto.onysoft.v1.task_pb2 import CallbackStatus, TaskRecord
from runtime import ids

LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000


class Tasks(Subject):
    """What operators ask about media tasks."""

    @answers
    async def ListTasks(self, request: pb.ListTasksRequest) -> pb.TaskList:
        account_id = identity("account_id", ids.ACCOUNT, request.account_id) if request.account_id else b""
        if request.status and request.status not in SHOWN.values():
            raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, "status: pending, processing, completed or failed")
        limit = min(request.limit or LIMIT_DEFAULT, LIMIT_MAX)
        try:
            newest_last = await scan(self.desk.connection)
        except (BusError, TimeoutError):
            raise _unreadable() from None
        caller, accounts = caller_now.get(), self.desk.replica.state.accounts
        found = [
            record
            for record in reversed(newest_last)
            if account_id in (b"", record.account_id)
            and request.status in ("", SHOWN[record.status])
            and caller.reaches(accounts.get(record.account_id))
        ]
        return pb.TaskList(tasks=[_shown(self.desk, record) for record in found[:limit]])

    @answers
    async def ShowTask(self, request: pb.TaskRef) -> pb.Task:
        return _shown(self.desk, (await stored_task(self.desk, request.task_id)).record)

    @answers
    async def RetryTask(self, request: pb.TaskRef) -> pb.Task:
        """Look again: at the provider, for a late result; at results that are not copied; at a webhook given up."""
        stored = await stored_task(self.desk, request.task_id)
        record = stored.record
        try:
            if record.callback == task_pb2.CALLBACK_GIVEN_UP:
                record.callback = task_pb2.CALLBACK_DUE
                await write_task(self.desk.connection, record, stored.position)
            await enqueue(self.desk.connection, 0, record.request_id, task_pb2.FOLLOW, time.time_ns())
        except BusError:
            raise _unreadable() from None
        return _shown(self.desk, record)


async def stored_task(desk: Desk, task_id: str) -> Stored:
    """The record of a task, and its position."""
    request_id = identity("task_id", ids.TASK, task_id)
    try:
        stored = await read_task(desk.connection, request_id)
    except BusError:
        raise _unreadable() from None
    if not stored.position:
        raise absent("task", task_id)
    return stored


def _shown(desk: Desk, record: TaskRecord) -> pb.Task:
    return pb.Task(
        task_id=ids.text(ids.TASK, record.request_id),
        account_id=ids.text(ids.ACCOUNT, record.account_id),
        key_id=ids.text(ids.KEY, record.key_id),
        model=record.model,
        kind=record.kind,
        status=SHOWN[record.status],
        progress=record.progress,
        code=record.code,
        created_ms=record.created_ms,
        ended_ms=record.ended_ms,
        currency=ledger.Currency.Name(record.currency),
        held=to_text(record.held_nano),
        charged=to_text(record.charged_nano),
        provider=record.provider,
        provider_task_id=record.provider_task_id,
        urls=[address_of(file, desk.public_url) for file in record.files],
        uncopied=sum(not file.name for file in record.files),
        callback_url=record.callback_url,
        callback=CallbackStatus.Name(record.callback).removeprefix("CALLBACK_").lower(),
        request_id=ids.text(ids.REQUEST, record.request_id),
    )


def _unreadable() -> Rejected:
    return Rejected(grpc.StatusCode.UNAVAILABLE, "the tasks cannot be read now")
