"""What commands share that read the log themselves, not through a core: a connection, a progress bar, plain errors."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import uvloop
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bus.connection import Connection
from bus.errors import BusError
from cli.client import CallFailed
from cli.session import Session
from core.ledger.outcome import FoldStopped
from runtime.log import configure
from runtime.settings import Settings

CONNECT_TIMEOUT_S = 10.0

Found = TypeVar("Found")


def run_connected(session: Session, work: Callable[[Connection, Settings], Awaitable[Found]]) -> Found:
    """Run `work` on a connection to the instance's NATS. Raises CallFailed for whatever the log refuses, NoInstance."""
    settings = session.settings()
    configure(settings.model_copy(update={"log_level": "error"}), "cli")

    async def connected() -> Found:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await Connection.open(settings, "cli")
        except TimeoutError:
            raise CallFailed("unavailable", "no NATS server answers where the instance's should be") from None
        try:
            return await work(connection, settings)
        finally:
            await connection.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(connected())
    except FoldStopped as stopped:
        raise CallFailed("data_loss", f"the log cannot be folded: {stopped}") from None
    except BusError as error:
        raise CallFailed("unavailable", str(error)) from None


def archive_folder(settings: Settings) -> Path:
    """Where the ledger's archive is. Raises CallFailed when no setting says so."""
    if settings.archive_dir is None:
        raise CallFailed("failed_precondition", "no archive: set ONYSOFT_ARCHIVE_DIR")
    return settings.archive_dir


class Bar:
    """A progress bar on a terminal, nothing with --json."""

    def __init__(self, session: Session, what: str) -> None:
        columns = (TextColumn(what), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
        self._progress = Progress(*columns, console=session.out, disable=session.json)
        self._task = self._progress.add_task(what, total=None)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """How far it is."""
        self._progress.update(self._task, completed=done, total=total)
