"""The ledger's tables built anew from the log, in a database beside them, compared, then moved into their place.

The old tables stay as they are until the new ones are whole. Both are compared at the position where the old ones end,
by a hash of all rows that does not depend on their order. Then each partition of the new tables replaces the old one's,
which ClickHouse does in one step and without copying. The analytics process must not run meanwhile.

What edges reported is not in the log and stays: its stream keeps a week.
"""

from pathlib import Path

from bus.connection import Connection
from bus.jetstream import Entry
from bus.streams import LEDGER
from core.ledger.state import State
from projections.analytics.ledger_rows import LedgerRows
from projections.analytics.migrate import migrate
from projections.analytics.ranges import insert_range, last_position
from projections.analytics.store import Store, StoreFailed
from projections.proof.reading import OnProgress, no_progress, read_through
from projections.proof.rebuild import Rebuilt
from runtime.settings import Settings

TABLES = (
    *("charges", "releases", "losses", "credits", "tasks", "accounts", "fx_rates", "model_prices", "changes"),
    *("charges_hourly", "charges_daily"),
)
"""What the ledger's sink fills, roll-ups included."""

BESIDE = "onysoft_rebuilding"
RANGE_ROWS = 50_000
RANGE_MESSAGES = 50_000


class StillSinking(StoreFailed):
    """The old tables have changed while the new ones were built."""


async def rebuild_analytics(
    connection: Connection, settings: Settings, old: Store, on_progress: OnProgress = no_progress
) -> Rebuilt:
    """Build, compare, replace. `old` is the store in use, and nobody else writes to it.

    Raises StillSinking, StoreFailed, FoldStopped, HistoryLost, ArchiveBroken.
    """
    position = last_position(old, LEDGER)
    old.command(f"DROP DATABASE IF EXISTS {BESIDE}")
    new = Store.open(old.dsn, BESIDE)
    try:
        migrate(new, settings)
        await _fill(connection, settings.archive_dir, new, position, on_progress)
        rebuilt = Rebuilt("analytics", position)
        before, after = fingerprints(old), fingerprints(new)
        for table in TABLES:
            rebuilt.rows[table] = after[table][0]
            if before[table] != after[table]:
                told = f"{before[table][0]} rows, hash {before[table][1]}"
                rebuilt.differs(f"{table}: had {told}; must be {after[table][0]} rows, hash {after[table][1]}")
        if last_position(old, LEDGER) != position:
            raise StillSinking("the analytics process has gone on; stop it, and rebuild again")
        for table in TABLES:
            _replace(old, table)
        rebuilt.switched = fingerprints(old) == after
    finally:
        new.close()
    old.command(f"DROP DATABASE IF EXISTS {BESIDE}")
    return rebuilt


async def _fill(
    connection: Connection, archive: Path | None, new: Store, position: int, on_progress: OnProgress
) -> None:
    """Fold the log into the new tables, with the rows and the inserts of the sink."""
    rows = LedgerRows(State(), {}, silent_until=0)

    def on_entry(entry: Entry) -> None:
        rows.apply(entry)
        if rows.pending_rows >= RANGE_ROWS or rows.pending >= RANGE_MESSAGES:
            insert_range(new, LEDGER, rows.take())
            rows.forget_ended()

    await read_through(connection, archive, 0, position, on_entry, on_progress)
    if rows.pending:
        insert_range(new, LEDGER, rows.take())


def fingerprints(store: Store) -> dict[str, tuple[int, int]]:
    """Number of rows of each of the ledger's tables, and a hash of all of them in any order. Raises StoreFailed."""
    found = {}
    for table in TABLES:
        final = " FINAL" if table.endswith("ly") else ""
        count, total = store.rows(f"SELECT count(), sum(cityHash64(*)) FROM {store.database}.{table}{final}")[0]
        found[table] = (int(count), int(total or 0))
    return found


def _replace(old: Store, table: str) -> None:
    """Each partition of the new table in the place of the old one's; one that the new table lacks goes."""
    name = f"{old.database}.{table}"
    partitions = "SELECT DISTINCT partition_id FROM system.parts WHERE active AND database = {database:String}"
    query = f"{partitions} AND table = {{table:String}}"
    mine = {str(row[0]) for row in old.rows(query, {"database": BESIDE, "table": table})}
    theirs = {str(row[0]) for row in old.rows(query, {"database": old.database, "table": table})}
    for partition in sorted(mine):
        old.command(f"ALTER TABLE {name} REPLACE PARTITION ID '{partition}' FROM {BESIDE}.{table}")
    for partition in sorted(theirs - mine):
        old.command(f"ALTER TABLE {name} DROP PARTITION ID '{partition}'")
