"""What was generated: pictures, films and sounds, with what each cost."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from starlette.responses import Response

from console.web.context import Context, NotFound
from console.web.guards import Guard, Row
from console.web.reach import account_of, ask, current_account
from console.web.words import TASK_STATES
from proto.onysoft.v1 import admin_pb2 as admin

TASKS_SHOWN = 60
SHOWN_AS = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"}),
    "video": frozenset({".mp4", ".webm", ".mov"}),
    "audio": frozenset({".mp3", ".wav", ".ogg", ".m4a", ".flac"}),
}
OF_KIND = {"voice": "audio", "music": "audio"}


def tasks(context: Context) -> Response:
    """The latest tasks as a gallery."""
    account = current_account(context)
    status = context.request.query_params.get("status", "")
    status = status if status in TASK_STATES else ""
    request = admin.ListTasksRequest(account_id=account.account_id, status=status, limit=TASKS_SHOWN)
    found: admin.TaskList = ask(context, "ListTasks", request)
    values = {"account": account, "tasks": found.tasks, "status": status, "shown_as": shown_as}
    return context.render("tasks/list.html", values)


def task(context: Context) -> Response:
    """One task with all its results."""
    reference = admin.TaskRef(task_id=context.request.path_params["task_id"])
    if not reference.task_id.startswith("vtask_"):
        raise NotFound
    found: admin.Task = ask(context, "ShowTask", reference)
    account = account_of(context, found.account_id)
    return context.render("tasks/task.html", {"account": account, "task": found, "shown_as": shown_as})


def shown_as(url: str, kind: str) -> str:
    """`image`, `video` or `audio`; `link` for everything else."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    for what, suffixes in SHOWN_AS.items():
        if suffix in suffixes:
            return what
    kind = OF_KIND.get(kind, kind)
    return kind if not suffix and kind in SHOWN_AS else "link"


ROWS = [
    Row("/tasks", tasks, Guard.PERSON),
    Row("/tasks/{task_id}", task, Guard.PERSON),
]
