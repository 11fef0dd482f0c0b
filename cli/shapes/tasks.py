"""Media tasks."""

from datetime import UTC, datetime

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin


def task(message: admin.Task) -> Shape:
    """One task."""
    return {
        "task_id": message.task_id,
        "request_id": message.request_id,
        "account_id": message.account_id,
        "key_id": message.key_id,
        "model": message.model,
        "kind": message.kind,
        "status": message.status,
        "progress": message.progress or None,
        "code": message.code or None,
        "created": _time(message.created_ms),
        "ended": _time(message.ended_ms),
        "currency": message.currency,
        "held": message.held,
        "charged": message.charged,
        "provider": message.provider,
        "provider_task_id": message.provider_task_id or None,
        "urls": list(message.urls),
        "uncopied": message.uncopied,
        "callback_url": message.callback_url or None,
        "callback": message.callback,
    }


def _time(time_ms: int) -> str | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds") if time_ms else None
