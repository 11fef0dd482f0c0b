"""`onysoft tasks list|show|retry`."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.session import Session
from cli.shapes import tasks as shapes
from proto.onysoft.v1 import admin_pb2 as admin

tasks = typer.Typer(help="Media tasks: list, show, have one looked at again.")

_COLUMNS = ("task_id", "model", "status", "progress", "code", "charged", "currency", "created")

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="vtask_ and 24 hex digits")]


class Status(StrEnum):
    """How a task is."""

    pending = "pending"
    processing = "processing"
    completed = "completed"
    failed = "failed"


@tasks.command("list")
def list_tasks(
    context: typer.Context,
    account: Annotated[str, typer.Option(help="only this account's")] = "",
    status: Annotated[Status | None, typer.Option(help="only those that are so")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="how many")] = 50,
) -> None:
    """List tasks, those first that changed last."""
    session: Session = context.obj
    request = admin.ListTasksRequest(account_id=account, status=status.value if status else "", limit=limit)
    found = session.call("ListTasks", request).tasks
    session.show_all("tasks", [shapes.task(task) for task in found], _COLUMNS)


@tasks.command("show")
def show(context: typer.Context, task: TaskArgument) -> None:
    """Show a task: where it is, its results, its webhook."""
    session: Session = context.obj
    session.show(shapes.task(session.call("ShowTask", admin.TaskRef(task_id=task))))


@tasks.command("retry")
def retry(context: typer.Context, task: TaskArgument) -> None:
    """Look at a task again: for a late result, for results that are not copied, for a webhook that was given up."""
    session: Session = context.obj
    session.show(shapes.task(session.call("RetryTask", admin.TaskRef(task_id=task))), "a core will look at it")
