"""Statements on demand: made one at a time, in a thread with a connection of its own, kept as files for a while.

A statement folds the log from the last archived state before its month; meanwhile this process goes on with its own.
"""

import asyncio
import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bus.connection import Connection
from bus.errors import BusError
from core.ledger.outcome import FoldStopped
from projections.proof.publishing import publish
from projections.proof.statement import NoStatement, make_statement, month_bounds
from projections.proof.statement_csv import to_csv
from proto.onysoft.v1.work_pb2 import StatementPart, StatementQuestion
from runtime.log import log
from runtime.settings import Settings

PART_BYTES = 512 * 1024
FRESH_S = 5.0
"""A file that is younger answers a new question: what asks may be somebody who clicks twice."""
PUBLISH_EVERY_S = 5.0
"""Each statement publishes the log's end, so that it can be proven; not more often than this."""
KEPT_MAX = 20
WAITING_MAX = 16


class TooMany(BusError):
    """WAITING_MAX statements wait to be made."""


@dataclass(slots=True)
class _Job:
    """One statement under way, or made."""

    task: "asyncio.Task[dict[bool, _File]]"
    done: int = 0
    total: int = 0
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    digest: str
    size: int


class Statements:
    """Answers with parts of statements. Made files are lost with the process, and made again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.projections_dir / "statements"
        self._jobs: dict[tuple[bytes, str], _Job] = {}
        self._files: dict[str, _File] = {}
        self._one = asyncio.Lock()
        self._published_at = 0.0
        self._stopping = False
        shutil.rmtree(self._folder, ignore_errors=True)  # files of an earlier process, which nobody will ask for

    async def part(self, account_id: bytes, question: StatementQuestion) -> StatementPart:
        """The part that is asked for, or how far the making is. Raises NoStatement and other BusErrors."""
        if not is_month(question.month):
            raise NoStatement("month must be like 2026-11")
        if question.digest:
            kept = self._files.get(question.digest)
            if kept is None:
                raise TooMany("the file is no longer kept")
            return await asyncio.to_thread(_read, kept, question.offset)
        job = self._job(account_id, question.month)
        if not job.task.done():
            return StatementPart(done=job.done, total=job.total)
        return await asyncio.to_thread(_read, job.task.result()[question.pdf], 0)

    def _job(self, account_id: bytes, month: str) -> _Job:
        key = (account_id, month)
        job = self._jobs.get(key)
        if job is not None and (not job.task.done() or time.monotonic() - job.ended_at < FRESH_S):
            return job
        if sum(not each.task.done() for each in self._jobs.values()) >= WAITING_MAX:
            raise TooMany(f"{WAITING_MAX} statements wait to be made")
        job = self._jobs[key] = _Job(asyncio.create_task(self._make(key)))
        job.task.add_done_callback(_note)
        return job

    async def _make(self, key: tuple[bytes, str]) -> dict[bool, _File]:
        job = self._jobs[key]
        try:
            async with self._one:
                await asyncio.sleep(max(0.0, self._published_at + PUBLISH_EVERY_S - time.monotonic()))
                made = await asyncio.to_thread(self._make_files, key, job)
                self._published_at = time.monotonic()
        finally:
            job.ended_at = time.monotonic()
        self._keep(made)
        return made

    def _keep(self, made: dict[bool, _File]) -> None:
        self._files.update((each.digest, each) for each in made.values())
        for digest in list(self._files)[: -2 * KEPT_MAX]:
            self._files.pop(digest).path.unlink(missing_ok=True)
        for key in [key for key, job in self._jobs.items() if job.task.done() and job.ended_at][:-KEPT_MAX]:
            del self._jobs[key]

    def _make_files(self, key: tuple[bytes, str], job: _Job) -> dict[bool, _File]:
        """In a thread: both files of a statement."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._fold(key, job))

    async def _fold(self, key: tuple[bytes, str], job: _Job) -> dict[bool, _File]:
        from projections.proof.statement_pdf import to_pdf

        account_id, month = key
        archive = self._settings.archive_dir
        if archive is None:
            raise NoStatement("no archive is set (ONYSOFT_ARCHIVE_DIR), where what proves a statement is published")

        def on_progress(done: int, total: int) -> None:
            job.done, job.total = done, total
            if self._stopping:
                raise NoStatement("this process is being stopped")

        began = time.monotonic()
        connection = await Connection.open(self._settings, "statements")
        try:
            publication = await publish(connection, archive, True, on_progress=on_progress)
            statement = await make_statement(connection, archive, publication, account_id, month, on_progress)
        except FoldStopped as stopped:
            raise NoStatement(f"the log cannot be folded: {stopped}") from stopped
        finally:
            await connection.close()
        log.info("statement.made", month=month, lines=len(statement.lines), seconds=round(time.monotonic() - began, 3))
        return {False: self._write(to_csv(statement).encode()), True: self._write(to_pdf(statement))}

    def _write(self, content: bytes) -> _File:
        digest = hashlib.sha256(content).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / digest
        path.write_bytes(content)
        return _File(path, digest, len(content))

    async def close(self) -> None:
        """Give up what is under way."""
        self._stopping = True
        for job in self._jobs.values():
            job.task.cancel()
        await asyncio.gather(*(job.task for job in self._jobs.values()), return_exceptions=True)


def _note(task: "asyncio.Task[dict[bool, _File]]") -> None:
    """What is not made must be known here too: whoever asked may be gone."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("statement.not_made", error_type=type(error).__name__, error=str(error))


def _read(file: _File, offset: int) -> StatementPart:
    with file.path.open("rb") as opened:
        opened.seek(offset)
        return StatementPart(digest=file.digest, size=file.size, content=opened.read(PART_BYTES))


def is_month(text: str) -> bool:
    """Is this a month such as `2026-11`?"""
    try:
        month_bounds(text)
    except ValueError:
        return False
    return True
