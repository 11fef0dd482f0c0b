"""Tasks, and where they are kept. What becomes of a task is planned when it is made; the rest is the clock.

So a task's state is a function of its plan and the time, and the death of the process loses nothing: with a file, a
task's line is handed to the operating system before its id is told to anybody. No prompt is in the file.
"""

import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import orjson

TASKS_MAX = 200_000
CALLBACKS_SHOWN_MAX = 16

Outcome = Literal["success", "fail", "hang", "forgotten", "callback_exception"]
Status = Literal["running", "completed", "failed", "forgotten"]

_PLANNED: dict[str, Status] = {
    "success": "completed",
    "callback_exception": "completed",
    "fail": "failed",
    "forgotten": "forgotten",
    "hang": "running",
}


@dataclass(slots=True)
class Task:
    """One task. `credits` is what it costs if it succeeds; `body` is the request, in memory only."""

    id: str
    family: str
    shape: str
    model: str
    result: str
    created_ms: float
    takes_ms: float
    outcome: Outcome
    credits: str
    results: int
    extension: str
    shown_input: dict[str, Any]
    callback_url: str = ""
    fail_code: int = 0
    dead: bool = False
    truncated: bool = False
    reference: str = ""
    traceparent: str = ""
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def finish_ms(self) -> float:
        """When it ends, if it does."""
        return self.created_ms + self.takes_ms

    @property
    def charged(self) -> Decimal:
        """What it costs in the end."""
        return Decimal(self.credits) if self.outcome in ("success", "callback_exception") else Decimal(0)

    def status(self, now_ms: float) -> Status:
        """Where it is."""
        return _PLANNED[self.outcome] if now_ms >= self.finish_ms else "running"

    def share(self, now_ms: float) -> float:
        """How much of its time has passed, 0 to 1; one that hangs stops at nine tenths."""
        passed = (now_ms - self.created_ms) / self.takes_ms if self.takes_ms else 1.0
        return max(0.0, min(passed, 0.9 if self.outcome == "hang" else 1.0))

    def song_ids(self) -> list[str]:
        """Ids of what it makes, for later tasks to refer to."""
        return [_uuid(f"{self.id}/{index}") for index in range(self.results)]

    def seed(self, index: int) -> int:
        """The number from which a result's file is made."""
        return zlib.crc32(f"{self.id}/{index}".encode())

    def record(self) -> dict[str, Any]:
        """What the file keeps."""
        return {name: getattr(self, name) for name in _KEPT}

    def journal(self, now_ms: float) -> dict[str, Any]:
        """What the journal tells."""
        status = self.status(now_ms)
        done = status != "running"
        return {
            "task_id": self.id,
            "family": self.family,
            "model": self.model,
            "status": status,
            "outcome": self.outcome,
            "credits": f"{self.charged:f}" if done else "0",
            "input": self.shown_input,
            "created_at": self.created_ms,
            "finished_at": self.finish_ms if done else None,
            "fail_code": self.fail_code if status == "failed" else None,
            "callback_url": self.callback_url or None,
            "callbacks": self.callbacks,
            "traceparent": self.traceparent or None,
        }


_KEPT = tuple(name for name in Task.__dataclass_fields__ if name != "body")


def _uuid(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


def new_task_id(number: int, run: str, market: bool) -> str:
    """An id like the provider's: `task_…` on the market, plain hexadecimal elsewhere."""
    digest = hashlib.md5(f"{run}/{number}".encode(), usedforsecurity=False).hexdigest()
    return f"task_{digest[:24]}" if market else digest


class Tasks:
    """The tasks by id, oldest first; at most TASKS_MAX. `path` empty: in memory only."""

    def __init__(self, path: str) -> None:
        self._by_id: dict[str, Task] = {}
        self._file = -1
        self.charged = Decimal(0)
        if path:
            self._open(Path(path))

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    task = Task(**orjson.loads(line))
                    self._by_id[task.id] = task
        self.charged = sum((task.charged for task in self._by_id.values()), Decimal(0))
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(b"".join(map(_line, self._by_id.values())))
        os.replace(fresh, path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def get(self, task_id: str) -> Task | None:
        """The task of that id."""
        return self._by_id.get(task_id)

    def all(self) -> list[Task]:
        """Every task, oldest first."""
        return list(self._by_id.values())

    def add(self, task: Task) -> None:
        """Keep a new task; returns when the operating system has it.

        Raises OSError when the file cannot be written: its id must not be told then.
        """
        self._write(task)
        self._by_id[task.id] = task
        self.charged += task.charged
        if len(self._by_id) > TASKS_MAX:
            del self._by_id[next(iter(self._by_id))]

    def note_callback(self, task: Task, note: dict[str, Any]) -> None:
        """Keep what became of a callback."""
        task.callbacks.append(note)
        del task.callbacks[:-CALLBACKS_SHOWN_MAX]
        self._write(task)

    def find(self, holds: Callable[[Task], bool]) -> Task | None:
        """The first task of which that holds."""
        return next((task for task in self._by_id.values() if holds(task)), None)

    def listing(self, now_ms: float, since_id: str, limit: int) -> bytes:
        """A JSON list of the tasks after `since_id` (all, when it is empty or forgotten); `limit` 0: no limit."""
        tasks = self.all()
        if since_id in self._by_id:
            tasks = tasks[list(self._by_id).index(since_id) + 1 :]
        return orjson.dumps([task.journal(now_ms) for task in (tasks[:limit] if limit else tasks)])

    def clear(self) -> None:
        """Forget all tasks, in the file too."""
        self._by_id.clear()
        self.charged = Decimal(0)
        if self._file >= 0:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Give the file back; nothing waits to be written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, task: Task) -> None:
        if self._file >= 0:
            line = _line(task)
            if os.write(self._file, line) != len(line):
                raise OSError("the tasks' file takes no more")


def _line(task: Task) -> bytes:
    return orjson.dumps(task.record(), option=orjson.OPT_APPEND_NEWLINE)
