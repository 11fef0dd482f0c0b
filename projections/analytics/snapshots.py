"""Where the sink's fold can begin again: files beside the sink, the newest two kept.

A snapshot is of a position whose range is whole in the tables. The gateway's own snapshots do not serve here: the sink
may be far behind them, after days without ClickHouse.
"""

import os
from pathlib import Path

from google.protobuf.message import DecodeError

from core.ledger.state import State
from projections.analytics.ledger_rows import LedgerRows, Opened
from proto.onysoft.v1.analytics_pb2 import SinkSnapshot
from runtime.log import log

KEPT = 2
_SUFFIX = ".snapshot"


def freeze(rows: LedgerRows) -> bytes:
    """The fold as it is now."""
    rows.forget_ended()
    frozen = SinkSnapshot(state=rows.state.to_snapshot())
    for request_id, opened in rows.opened.items():
        frozen.opened.add(request_id=request_id, **{name: getattr(opened, name) for name in Opened.__slots__})
    return frozen.SerializeToString()


def thaw(content: bytes) -> tuple[State, dict[bytes, Opened]]:
    """What `freeze` has kept. Raises ValueError when it is broken."""
    try:
        frozen = SinkSnapshot.FromString(content)
    except DecodeError:
        raise ValueError("the sink's snapshot cannot be read") from None
    opened = {
        each.request_id: Opened(**{name: getattr(each, name) for name in Opened.__slots__}) for each in frozen.opened
    }
    return State.from_snapshot(frozen.state), opened


class SnapshotFolder:
    """One folder holds the snapshots of one set of tables."""

    def __init__(self, folder: Path, home_id: str) -> None:
        self._folder = folder
        self._home_id = home_id

    def save(self, position: int, content: bytes) -> None:
        """Keep a snapshot, on disk before this returns; all but the newest two go. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(position)
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        for old in self._positions()[KEPT:]:
            self._path(old).unlink(missing_ok=True)

    def load(self, newest: int) -> tuple[State, dict[bytes, Opened]]:
        """The newest whole snapshot of a position up to `newest`; the log's beginning when there is none."""
        for position in self._positions():
            if position > newest:
                continue
            try:
                return thaw(self._path(position).read_bytes())
            except (OSError, ValueError) as error:
                log.error("analytics.snapshot_broken", position=position, error=type(error).__name__)
        return State(), {}

    def _path(self, position: int) -> Path:
        return self._folder / f"{self._home_id}-{position}{_SUFFIX}"

    def _positions(self) -> list[int]:
        """Newest first."""
        found = self._folder.glob(f"{self._home_id}-*{_SUFFIX}")
        return sorted((int(path.stem.rpartition("-")[2]) for path in found), reverse=True)
