"""What a request refers to, before it is sent: embedded images get an address, earlier tasks the provider's id."""

from collections.abc import Mapping, Sequence

from bus.tasks import read_task
from core.media.prepare import Prepared, Reference
from core.media.sources import Embedded
from core.tasks.desk import TaskDesk
from core.tasks.records import FILES_PATH
from files import kinds, names
from files.store import StoreFailed, one_piece
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime.errors import Refusal, bilingual
from runtime.ids import TASK, parse


async def hosted(desk: TaskDesk, provider: str, request_id: bytes, images: Sequence[Embedded]) -> list[str]:
    """A public address for each embedded image: a short-lived file here, or one at the provider, as the settings say.

    Raises Refusal `service_unavailable` when it cannot be kept, ProviderFailure when the provider does not take it.
    """
    return [await _host(desk, provider, request_id, number, image) for number, image in enumerate(images)]


async def _host(desk: TaskDesk, provider: str, request_id: bytes, number: int, image: Embedded) -> str:
    name = names.source_name(desk.pepper, request_id, number, kinds.ending_of(image.data[: kinds.HEAD_BYTES]))
    if desk.settings.source_images == "provider":
        return await desk.providers[provider].upload(image.data, name, image.content_type)
    try:
        await desk.store.put(name, one_piece(image.data))
    except StoreFailed:
        raise Refusal("service_unavailable", retry_after_s=5) from None
    return f"{desk.public_url.rstrip('/')}{FILES_PATH}{name}"


async def resolved(desk: TaskDesk, prepared: Prepared, account_id: bytes, provider: str) -> Mapping[str, str]:
    """The provider's ids for the fields that name what an earlier task of the same account made.

    Raises Refusal `invalid_request` when there is no such task or song; BusError when nobody can tell now.
    """
    task: TaskRecord | None = None
    found: dict[str, str] = {}
    for reference in sorted(prepared.references, key=lambda each: each.kind != "task"):
        if reference.kind == "task":
            if reference.value is None:
                raise _refused(reference, "is required")
            task = await _task(desk, reference, account_id, provider)
            found[reference.field] = task.provider_task_id
        else:
            found[reference.field] = _song(reference, task)
    return found


async def _task(desk: TaskDesk, reference: Reference, account_id: bytes, provider: str) -> TaskRecord:
    try:
        request_id = parse(TASK, reference.value or "")
    except ValueError:
        raise _refused(reference, "must be the id of a task, vtask_…") from None
    stored = await read_task(desk.connection, request_id)
    record = stored.record
    if not stored.position or record.account_id != account_id or record.provider != provider:
        raise _refused(reference, "there is no such task")
    if not record.provider_task_id:
        raise _refused(reference, "that task has no result to go on from")
    return record


def _song(reference: Reference, task: TaskRecord | None) -> str:
    songs = [file.provider_id for file in task.files if file.provider_id] if task is not None else []
    wanted = reference.value
    if wanted is None and songs:
        return songs[0]
    if wanted is None or wanted not in songs:
        raise _refused(reference, "must be one of the task's song_ids")
    return wanted


_TURKISH = {
    "is required": "zorunludur",
    "must be the id of a task, vtask_…": "bir görev kimliği (vtask_…) olmalı",
    "there is no such task": "böyle bir görev yok",
    "that task has no result to go on from": "bu görevin devam edilebilecek bir sonucu yok",
    "must be one of the task's song_ids": "görevin song_ids değerlerinden biri olmalı",
}


def _refused(reference: Reference, why: str) -> Refusal:
    name = reference.field
    return Refusal("invalid_request", bilingual(f"{name}: {_TURKISH[why]}", f"{name}: {why}"))
