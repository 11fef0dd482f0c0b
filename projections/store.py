"""The SQLite file behind the read models: where each request stands in the log, accounts, and the fold's snapshot.

One transaction a flush holds rows and the position they are true of, so a crash leaves the file at an earlier
position, never between two. It is not the truth: deleted, it is built again from the log.
"""

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from projections.models import VersionRow, prices_of
from proto.onysoft.v1.ledger_pb2 import ModelSet

FILE = "projections.sqlite"
REBUILT = "projections.rebuilt.sqlite"
SCHEMA_VERSION = 1

IndexRow = tuple[bytes, int, int, int, int, int, int]
"""Request id, position, index in the batch, event's field number, outcome code, charged nano, shortfall nano."""

AccountRow = tuple[bytes, int, int, int, int, int, int]
"""Account id, currency, credits, charges, held, shortfall (nano), suspended."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One event of a request, and what the fold made of it."""

    position: int
    index: int
    kind: int
    code: int
    charged_nano: int
    shortfall_nano: int


def offer_rebuilt(folder: Path, rebuilt: Path) -> None:
    """Have the file in `rebuilt`, which is closed, take the place of the one in `folder` at its owner's next start."""
    os.replace(rebuilt / FILE, folder / REBUILT)


def is_rebuilt(folder: Path) -> bool:
    """Whether a rebuilt file waits to take its place."""
    return (folder / REBUILT).exists()


def _switch(folder: Path) -> None:
    if is_rebuilt(folder):
        for suffix in ("-wal", "-shm"):
            (folder / (FILE + suffix)).unlink(missing_ok=True)
        os.replace(folder / REBUILT, folder / FILE)


class Store:
    """One process owns the file; a second one is refused by SQLite's lock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _switch(folder)
        self._file = sqlite3.connect(folder / FILE, isolation_level=None, timeout=2.0)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.executescript((Path(__file__).parent / "schema.sql").read_text())
        version = self._file.execute("SELECT version FROM progress").fetchone()
        if version is None:
            self._file.execute("INSERT INTO progress (version, position) VALUES (?, 0)", (SCHEMA_VERSION,))
        elif version[0] != SCHEMA_VERSION:
            raise ValueError(f"{folder / FILE} has schema {version[0]}, this release needs {SCHEMA_VERSION}; delete it")

    def position(self) -> int:
        """The ledger position that the rows are true of."""
        return int(self._file.execute("SELECT position FROM progress").fetchone()[0])

    def snapshot(self) -> bytes | None:
        """The newest snapshot kept here."""
        row = self._file.execute("SELECT body FROM snapshot").fetchone()
        return None if row is None else bytes(row[0])

    def write(
        self,
        position: int,
        index: list[IndexRow],
        accounts: Iterable[AccountRow],
        snapshot: bytes | None = None,
        versions: Iterable[VersionRow] = (),
    ) -> None:
        """One transaction. Rows that are there already (a replay) are replaced by themselves."""
        file = self._file
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT OR REPLACE INTO request_event VALUES (?, ?, ?, ?, ?, ?, ?)", index)
        file.executemany("INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?, ?, ?)", accounts)
        for row in versions:
            file.execute("INSERT OR REPLACE INTO model_version VALUES (?, ?, ?, ?, ?)", row)
            file.executemany("INSERT OR IGNORE INTO price VALUES (?, ?)", prices_of(ModelSet.FromString(row[-1])))
        file.execute("UPDATE progress SET position = ?", (position,))
        if snapshot is not None:
            file.execute("INSERT OR REPLACE INTO snapshot (one, position, body) VALUES (1, ?, ?)", (position, snapshot))
        file.execute("COMMIT")

    def events_of(self, request_id: bytes) -> list[IndexEntry]:
        """Where a request stands in the log, in order."""
        rows = self._file.execute(
            "SELECT position, number, kind, code, charged_nano, shortfall_nano FROM request_event"
            " WHERE request_id = ? ORDER BY position, number",
            (request_id,),
        )
        return [IndexEntry(*row) for row in rows]

    def keep_prices(self, prices: Iterable[tuple[bytes, bytes]]) -> None:
        """Add prices whose versions may be missing, where the log began after them."""
        self._file.executemany("INSERT OR IGNORE INTO price VALUES (?, ?)", prices)

    def price(self, version: bytes) -> bytes | None:
        """The canonical JSON of a price; None when no version of a model had it."""
        row = self._file.execute("SELECT body FROM price WHERE version = ?", (version,)).fetchone()
        return None if row is None else bytes(row[0])

    def versions_of(self, model_id: str, most: int) -> list[tuple[int, int, ModelSet]]:
        """Position, time (ms) and content of a model's newest versions, oldest first."""
        rows = self._file.execute(
            "SELECT position, time_ms, body FROM model_version WHERE model_id = ?"
            " ORDER BY position DESC, number DESC LIMIT ?",
            (model_id, most),
        ).fetchall()
        return [(position, time_ms, ModelSet.FromString(body)) for position, time_ms, body in reversed(rows)]

    def forget_requests_before(self, request_id: bytes, most: int) -> int:
        """Delete up to `most` rows of requests with a smaller (older) id; how many were deleted."""
        cursor = self._file.execute(
            "DELETE FROM request_event WHERE (request_id, position, number) IN"
            " (SELECT request_id, position, number FROM request_event WHERE request_id < ? LIMIT ?)",
            (request_id, most),
        )
        return cursor.rowcount

    def close(self) -> None:
        """Close the file."""
        self._file.close()
