"""`onysoft ledger tail|show|verify`."""

import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli.session import Session
from cli.shapes import Shape
from cli.shapes import ledger as shapes
from proto.onysoft.v1 import admin_pb2 as admin

ledger = typer.Typer(help="The log that decides about money: tail, show, verify.")


@ledger.command("tail")
def tail(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="how many events to show")] = 20,
    start: Annotated[int, typer.Option("--from", min=0, help="first ledger position; 0: the newest ones")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what comes; JSON then by line")] = False,
) -> None:
    """Show events of the ledger and what the fold made of them."""
    session: Session = context.obj
    if follow:
        for message in session.stream("TailLedger", admin.TailLedgerRequest(from_position=start)):
            _show_line(session, shapes.entry(message))
        return
    request = admin.TailLedgerRequest(from_position=start, limit=limit)
    found = [shapes.entry(message) for message in session.stream("TailLedger", request)]
    if session.json:
        session.write({"entries": found})
    for entry in found if not session.json else ():
        _show_line(session, entry)


@ledger.command("show")
def show(
    context: typer.Context,
    request: Annotated[str, typer.Argument(metavar="REQUEST")],
    explain: Annotated[
        bool, typer.Option("--explain", help="recompute every settlement from its parts; exit code 1 when one differs")
    ] = False,
) -> None:
    """Say what a request was charged for: hold, attempts, tokens, rate, markup, outcome, positions."""
    session: Session = context.obj
    if not explain:
        story = session.call("ShowRequest", admin.RequestRef(request_id=request))
        session.show(orjson.loads(story.json), request)
        return
    explained = orjson.loads(session.call("ExplainRequest", admin.RequestRef(request_id=request)).json)
    if session.json:
        session.write(explained)
    else:
        _show_explanation(session, explained)
    if not explained["equal"]:
        raise typer.Exit(1)


def _show_explanation(session: Session, explained: Shape) -> None:
    out = session.out
    out.print(f"{explained['request_id']}  {explained['model']}  {explained['status']}", style="bold")
    for settlement in explained["settlements"]:
        out.print(f"attempt {settlement['attempt']}, settled at ledger position {settlement['position']}")
        for step in settlement["steps"]:
            for line in step["lines"]:
                out.print(f"  {line}", soft_wrap=True, markup=False)
            if not step["equal"]:
                differs = f"  {step['step']} DIFFERS: {step['computed']} computed, {step['logged']} in the ledger"
                out.print(differs, style="bold red", soft_wrap=True)
    if not explained["settlements"]:
        out.print("no settlement: nothing was charged")
    elif explained["equal"]:
        out.print("every figure in the ledger follows from its parts", style="green")


@ledger.command("verify")
def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Option(help="check this statement (CSV) instead, offline")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="the published checkpoints; default: the archive's")] = None,
) -> None:
    """Fold the whole ledger anew and compare every checkpoint. Exit code 1 when anything differs.

    With --file, check a customer's statement against published checkpoints, without a connection.
    """
    session: Session = context.obj
    if file is not None:
        from cli.statements import verify_file

        return verify_file(session, file, checkpoints)
    last = admin.VerifyProgress()
    columns = (TextColumn("folding the ledger"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=session.out, disable=session.json) as progress:
        task = progress.add_task("verify", total=None)
        for last in session.stream("VerifyLedger", admin.VerifyLedgerRequest()):
            progress.update(task, completed=last.position, total=last.last_position)
    session.show(shapes.verification(last), "the ledger is whole" if last.ok else "THE LEDGER IS NOT WHOLE")
    if not last.ok:
        raise typer.Exit(1)
    return None


def _show_line(session: Session, entry: Shape) -> None:
    if session.json:
        session.write_line(entry)
        return
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["time_ms"] / 1000))
    event = " ".join(f"{name}={value}" for name, value in entry["event"].items())
    event += f" by={entry['actor']}" if entry["actor"] else ""
    line = f"{entry['position']:>8}  {moment}  {entry['type']}  [bold]{entry['outcome']}[/]  {escape(event)}"
    session.out.print(line, soft_wrap=True)
