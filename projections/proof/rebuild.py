"""Read models built anew from the log beside the ones that are used, compared with them at one position, then put in
their place. What differs is told: it is what the old one had wrong."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus import jetstream
from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_key
from bus.errors import BusError
from bus.jetstream import Entry
from bus.streams import DIRECTORY, LEDGER, last_position, provision
from core.ledger.state import State
from projections.fold import Fold
from projections.keys import key_record
from projections.proof.reading import OnProgress, no_progress, read_through
from projections.store import FILE, Store, offer_rebuilt
from runtime.ids import ACCOUNT, KEY, text
from runtime.settings import Settings

WRITE_EVERY = 20_000
"""Positions between two writes of a store under way."""

SHOWN_MAX = 100
_FOLDER = "rebuilding"


class NothingToCompare(BusError):
    """The old one cannot be read."""


@dataclass(slots=True)
class Rebuilt:
    """What was built, at which position it was compared, and what the old one had wrong there."""

    what: str
    position: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    switched: bool = False

    @property
    def equal(self) -> bool:
        """Whether the old one was right."""
        return not self.differences

    def differs(self, told: str) -> None:
        """Note something that the old one has wrong."""
        if len(self.differences) < SHOWN_MAX:
            self.differences.append(told)


# Accounts and the request index


async def rebuild_accounts(
    connection: Connection, settings: Settings, on_progress: OnProgress = no_progress
) -> Rebuilt:
    """The SQLite file of accounts and the request index. A running projections process takes the new one by itself.

    Raises FoldStopped, HistoryLost, ArchiveBroken, NothingToCompare.
    """
    folder = settings.projections_dir
    beside = folder / _FOLDER
    shutil.rmtree(beside, ignore_errors=True)
    rebuilt = Rebuilt("accounts")
    build = _StoreBuild(Store(beside))
    with _old_store(folder) as old:
        position = int(old.execute("SELECT position FROM progress").fetchone()[0])
        await read_through(connection, settings.archive_dir, 0, position, build.on_entry, on_progress)
        build.finish()
        rebuilt.position = position
        await asyncio.to_thread(_compare_stores, old, beside / FILE, rebuilt)
    offer_rebuilt(folder, beside)
    shutil.rmtree(beside, ignore_errors=True)
    rebuilt.switched = True
    return rebuilt


class _StoreBuild:
    """Folds the log into a store."""

    def __init__(self, store: Store) -> None:
        self.fold = Fold(State())
        self._store = store

    def on_entry(self, entry: Entry) -> None:
        self.fold.apply(entry)
        if entry.position % WRITE_EVERY == 0:
            self._write(None)

    def finish(self) -> None:
        """Write the rest and a snapshot, and close the file."""
        self._write(self.fold.state.to_snapshot().SerializeToString())
        self._store.close()

    def _write(self, snapshot: bytes | None) -> None:
        index, accounts, versions, _ = self.fold.take()
        self._store.write(self.fold.state.position, index, accounts, snapshot, versions)


@contextmanager
def _old_store(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store in use, as it is now for as long as this lasts. Raises NothingToCompare."""
    try:
        address = f"file:{folder / FILE}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)) as old:
            old.execute("BEGIN")
            yield old
    except sqlite3.Error as error:
        raise NothingToCompare(f"{folder / FILE} cannot be read: {error}") from error


_TABLES = {
    "account": ("SELECT * FROM account ORDER BY account_id", 1),
    "request_event": ("SELECT * FROM request_event WHERE request_id >= ? ORDER BY request_id, position, number", 3),
}
"""Rows in the order of their keys, and the length of these."""


def _compare_stores(old: sqlite3.Connection, new_file: Path, rebuilt: Rebuilt) -> None:
    """Row by row. The index forgets old requests, so both are compared from the first that the old one still has."""
    first = old.execute("SELECT min(request_id) FROM request_event").fetchone()[0] or b""
    with closing(sqlite3.connect(new_file)) as new:
        for table, (query, length) in _TABLES.items():
            parameters = (first,) if "?" in query else ()
            rebuilt.rows[table] = 0
            pairs = _paired(old.execute(query, parameters), new.execute(query, parameters), length)
            for theirs, mine in pairs:
                rebuilt.rows[table] += mine is not None
                if theirs != mine:
                    rebuilt.differs(f"{table} {_named(theirs or mine)}: was {theirs}, must be {mine}")


def _paired(
    old: Iterator[tuple[Any, ...]], new: Iterator[tuple[Any, ...]], length: int
) -> Iterator[tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """Rows of two ordered results with the same key side by side; None where one has no such row."""
    theirs, mine = next(old, None), next(new, None)
    while theirs is not None or mine is not None:
        if mine is None or (theirs is not None and theirs[:length] < mine[:length]):
            yield theirs, None
            theirs = next(old, None)
        elif theirs is None or mine[:length] < theirs[:length]:
            yield None, mine
            mine = next(new, None)
        else:
            yield theirs, mine
            theirs, mine = next(old, None), next(new, None)


def _named(row: tuple[Any, ...] | None) -> str:
    return row[0].hex() if row else ""


# The directory


async def rebuild_directory(
    connection: Connection, settings: Settings, on_progress: OnProgress = no_progress
) -> Rebuilt:
    """The records that edges mirror. They are built in memory, compared with those that are published, and each that
    is wrong is replaced; one that is of no key is removed. Names that people gave are no part of the log, and stay.

    Raises FoldStopped, HistoryLost, ArchiveBroken, BusError.
    """
    partitions = await provision(connection, settings)
    rebuilt = Rebuilt("directory")
    fold = Fold(State())

    async def fold_to_end() -> None:
        def on_entry(entry: Entry) -> None:
            fold.apply(entry)
            fold.changes.index.clear()
            fold.changes.versions.clear()

        last = await last_position(connection, LEDGER)
        await read_through(connection, settings.archive_dir, fold.state.position, last, on_entry, on_progress)

    await fold_to_end()
    mirror = DirectoryMirror(connection)
    await mirror.start()
    await mirror.loaded()
    await mirror.stop()
    read_at = fold.state.position
    await fold_to_end()
    state = fold.state
    rebuilt.position = state.position
    rebuilt.rows = {"keys": len(state.keys_by_hash), "models": len(state.models), "aliases": len(state.aliases)}
    for key_hash in mirror.keys.keys() - state.keys_by_hash.keys():
        key_id = mirror.keys[key_hash].key_id
        if key_id not in state.keys:
            rebuilt.differs(f"{text(KEY, key_id)} is in the directory and not in the ledger")
        await _remove(connection, key_hash)
    for key_hash, key in state.keys_by_hash.items():
        known = mirror.keys.get(key_hash)
        if known is not None and known.tells(key_record(state, key, key_hash, known.position, partitions)):
            continue
        if fold.changes.keys.get(key.key_id, 0) <= read_at:  # else it has changed since the directory was read
            owner = text(ACCOUNT, key.account_id)
            rebuilt.differs(f"{text(KEY, key.key_id)} of {owner} is {'wrong' if known else 'missing'}")
        if known is not None and known.position >= state.position:
            await _remove(connection, key_hash)
        await publish_key(connection, key_hash, key_record(state, key, key_hash, state.position, partitions))
    fold.model_records.mend(state, mirror)
    await fold.model_records.publish(connection, state)
    rebuilt.switched = True
    return rebuilt


async def _remove(connection: Connection, key_hash: bytes) -> None:
    subject = f"directory.key.{key_hash.hex()}"
    await jetstream.call(connection, f"STREAM.PURGE.{DIRECTORY}", {"filter": subject})
