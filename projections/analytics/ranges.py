"""Ranges of stream positions in the store: insert one, and find where the tables end."""

import struct
import time

from projections.analytics.reconciling import ReconcileRun
from projections.analytics.rows import Range, pack_text
from projections.analytics.store import Store

_COLUMNS = ("first", "last", "rows", "last_time", "inserted", "stream")
_RANGE = struct.Struct("<QQQqq")
_RUN_COLUMNS = (*("time", "first_position", "last_position", "seconds", "accounts", "differences", "found", "problem"),)
_RUN = struct.Struct("<qQQdQQB")  # the last is the length of `found`, which stays below 128


def token(stream: str, first: int, last: int) -> str:
    """What the rows of a range are inserted under: `LEDGER:1-500`."""
    return f"{stream}:{first}-{last}"


def insert_range(store: Store, stream: str, range_: Range) -> None:
    """Insert all rows of a range, then the note that they are in. Blocks; may be repeated. Raises StoreFailed."""
    under = token(stream, range_.first, range_.last)
    for table, rows in range_.rows.blocks():
        store.insert(table.name, table.columns, rows, under)
    now_ms = time.time_ns() // 1_000_000
    note = _RANGE.pack(range_.first, range_.last, range_.rows.count, range_.last_time_ms, now_ms)
    store.insert("sink_ranges", _COLUMNS, note + pack_text(stream), under)


def insert_run(store: Store, run: ReconcileRun) -> None:
    """Keep what a reconciliation found. Blocks. Raises StoreFailed."""
    numbers = _RUN.pack(
        run.time_ms, run.first_position, run.last_position, run.seconds, run.accounts, run.differences, len(run.found)
    )
    texts = b"".join(pack_text(text) for text in (*run.found, run.problem))
    store.insert("reconciliations", _RUN_COLUMNS, numbers + texts, f"reconciliation:{run.time_ms}")


def last_position(store: Store, stream: str) -> int:
    """The position up to which every row is in the tables; 0 when there is none. Raises StoreFailed."""
    return int(store.value("SELECT max(last) FROM sink_ranges WHERE stream = {stream:String}", {"stream": stream}) or 0)


def seen_reports(store: Store, last: int) -> dict[bytes, int]:
    """The last number of each edge's epoch within USAGE up to a position. Raises StoreFailed."""
    found = store.rows(
        "SELECT epoch, max(number) FROM usage_batches WHERE stream_seq <= {last:UInt64} GROUP BY epoch"
        " ORDER BY max(time) DESC LIMIT 50000",
        {"last": last},
    )
    return {bytes.fromhex(epoch): int(number) for epoch, number in reversed(found)}
