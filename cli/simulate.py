"""`onysoft simulate`: a realistic month in a folder of its own, ready for `./dev up --data DIR`."""

import asyncio
import gc
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bus.errors import BusError
from cli.client import CallFailed
from cli.session import Session
from cli.simulation.run import MARKER, Wanted, write
from launcher.folder import Folder
from projections.proof.statement import ISTANBUL, month_bounds
from runtime.errors import OperatorError
from runtime.log import configure
from runtime.settings import Settings


def simulate(
    context: typer.Context,
    calls: Annotated[int, typer.Option(min=1)] = 1_000_000,
    accounts: Annotated[int, typer.Option(min=1)] = 5_000,
    seed: Annotated[int, typer.Option(help="the same seed makes the same month")] = 1,
    month: Annotated[str, typer.Option(help="the Istanbul month; default: the last one that is over")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="replace an earlier simulation")] = False,
    sink: Annotated[bool, typer.Option(help="also run the analytics process until its tables are whole")] = True,
) -> None:
    """Write a month of calls, payments, rates and refusals through the gateway's own fold and sinks.

    Never touches an instance with real data: the folder that --data names must be empty, or made by this command.
    """
    session: Session = context.obj
    if not session.data:
        raise CallFailed("invalid_argument", "name a folder that is empty: --data DIR")
    wanted = Wanted(calls, accounts, seed, month or _last_month(), sink)
    try:
        month_bounds(wanted.month)
    except ValueError:
        raise CallFailed("invalid_argument", "--month must be like 2026-11") from None
    folder = _claim(Path(session.data), fresh)
    gc.set_threshold(50_000, 20, 50)
    configure(Settings(log_level="error"), "simulate")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            shape = runner.run(write(session, folder.path, wanted))
    except (OperatorError, BusError) as error:
        raise CallFailed("failed_precondition", str(error)) from None
    session.show(shape, "simulated")


def _claim(data: Path, fresh: bool) -> Folder:
    """The folder, emptied of an earlier simulation. Raises CallFailed for one that may hold anything else."""
    if data.exists() and any(data.iterdir()):
        if not (data / MARKER).exists():
            raise CallFailed("failed_precondition", f"{data} is not empty, and not a simulation: choose another folder")
        if not fresh:
            raise CallFailed("failed_precondition", f"{data} holds a simulation; --fresh replaces it")
    try:
        folder = Folder.claim(data, fresh)
    except OperatorError as error:
        raise CallFailed("failed_precondition", str(error)) from None
    (data / MARKER).write_text(json.dumps({"complete": False}))
    return folder


def _last_month() -> str:
    first = datetime.now(ISTANBUL).replace(day=1)
    return (first - timedelta(days=1)).strftime("%Y-%m")
