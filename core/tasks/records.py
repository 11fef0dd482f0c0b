"""A task's record through its life, and what its customer is shown of it. Pure: every step makes a new record."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.costing import shown_cost
from core.providers.tasks import Progress, TaskState
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1.task_pb2 import TaskFile, TaskRecord
from runtime.ids import TASK, text

FILES_PATH = "/v1/files/"
STATUS_PATH = "/status/"

ENDED = frozenset((pb.TASK_COMPLETED, pb.TASK_FAILED))
SHOWN = {
    pb.CREATING: "pending",
    pb.PENDING: "pending",
    pb.PROCESSING: "processing",
    pb.TASK_COMPLETED: "completed",
    pb.TASK_FAILED: "failed",
}


def changed(record: TaskRecord, public_url: str, **fields: Any) -> TaskRecord:
    """A copy with other fields, and with what its customer is shown brought up to date."""
    new = TaskRecord()
    new.CopyFrom(record)
    for name, value in fields.items():
        setattr(new, name, value)
    new.shown = orjson.dumps(view(new, public_url))
    return new


def advanced(record: TaskRecord, progress: Progress, public_url: str) -> TaskRecord:
    """After a look at a task that is still at it. It never goes back: looks may overtake each other."""
    working = progress.state is TaskState.PROCESSING or record.status == pb.PROCESSING
    percent = max(record.progress, min(progress.percent, 99))
    status = pb.PROCESSING if working else pb.PENDING
    if (status, percent, record.unknown_reads) == (record.status, record.progress, 0):
        return record
    return changed(record, public_url, status=status, progress=percent, unknown_reads=0)


def failed(record: TaskRecord, code: str, now_ms: int, public_url: str) -> TaskRecord:
    """It has ended with an error of the catalogue, and costs nothing."""
    return changed(
        record, public_url, status=pb.TASK_FAILED, code=code, ended_ms=now_ms, charged_nano=0, **_to_tell(record)
    )


def completed(record: TaskRecord, charged_nano: int, now_ms: int, public_url: str) -> TaskRecord:
    """It has ended well, with the files that it has."""
    return changed(
        record,
        public_url,
        status=pb.TASK_COMPLETED,
        progress=100,
        code="",
        ended_ms=now_ms,
        charged_nano=charged_nano,
        **_to_tell(record),
    )


def _to_tell(record: TaskRecord) -> dict[str, Any]:
    return {"callback": pb.CALLBACK_DUE} if record.callback_url else {}


def with_files(record: TaskRecord, files: Sequence[TaskFile], public_url: str, copy_tries: int) -> TaskRecord:
    """With its results as far as they are copied."""
    new = TaskRecord()
    new.CopyFrom(record)
    del new.files[:]
    new.files.extend(files)
    return changed(new, public_url, copy_tries=copy_tries)


def files_of(progress: Progress) -> list[TaskFile]:
    """The results that a provider names, none of them copied yet. A text has no address: it is copied from here."""
    if progress.text and not progress.urls:
        return [TaskFile(text=True)]
    ids = [*progress.ids, *[""] * len(progress.urls)]
    return [TaskFile(provider_url=url, provider_id=name) for url, name in zip(progress.urls, ids, strict=False)]


def is_copied(record: TaskRecord) -> bool:
    """Whether all results lie in our store."""
    return all(file.name for file in record.files)


def address_of(file: TaskFile, public_url: str) -> str:
    """Where a result can be downloaded: here, or at the provider while it is not copied."""
    return f"{public_url.rstrip('/')}{FILES_PATH}{file.name}" if file.name else file.provider_url


def view(record: TaskRecord, public_url: str) -> dict[str, Any]:
    """The task as `GET …/status/{task_id}` shows it. `error.message` and `text` are filled in by who shows it."""
    done = record.status == pb.TASK_COMPLETED
    media = [file for file in record.files if not file.text] if done else []
    urls = [address_of(file, public_url) for file in media]
    shown: dict[str, Any] = {
        "success": True,
        "task_id": text(TASK, record.request_id),
        "model": record.model,
        "type": record.kind,
        "status": SHOWN[record.status],
        "progress": record.progress or None,
        "urls": urls,
        "url": urls[0] if urls else None,
        "text": None,
        "error": {"code": record.code, "message": ""} if record.status == pb.TASK_FAILED else None,
        "cost": cost_of(record),
        "created_at": record.created_ms // 1000,
        "completed_at": record.ended_ms // 1000 if record.status in ENDED else None,
    }
    if any(file.provider_id for file in media):
        shown["song_ids"] = [file.provider_id for file in media]
    return shown


def cost_of(record: TaskRecord) -> Mapping[str, Any]:
    """What is held while it runs, what was charged once it has ended."""
    currency = ledger.Currency.Name(record.currency)
    amount = record.charged_nano if record.status in ENDED else record.held_nano
    return {**shown_cost(amount, currency), "held": record.status not in ENDED}


def accepted(record: TaskRecord, public_url: str, webhook_secret: str) -> bytes:
    """The body of the 202."""
    task_id = text(TASK, record.request_id)
    body: dict[str, Any] = {
        "success": True,
        "task_id": task_id,
        "status": SHOWN[record.status],
        "model": record.model,
        "cost": cost_of(record),
        "status_url": f"{public_url.rstrip('/')}/v1/{record.kind}{STATUS_PATH}{task_id}",
    }
    if record.callback_url:
        body["webhook_secret"] = webhook_secret
    return orjson.dumps(body)
