"""The schema: numbered .sql files, applied once each, in order, on either home.

The files are templates. `$MergeTree` and `$AggregatingMergeTree` become the plain engines or the replicated ones,
`$exactly_once` the settings under which a retried insert counts once and survives a power cut.
"""

import hashlib
import re
import string
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from projections.analytics.store import Store, StoreFailed
from runtime.log import log
from runtime.settings import Settings

FOLDER = Path(__file__).parent / "migrations"
DEDUPLICATION_WINDOW = 1000
"""Inserts that a table remembers. The sink repeats only its latest one, so this is ample."""

_REPLICATED = "('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)

_TTL_TABLES = {
    "charges": ("time", "analytics_charges_days"),
    "releases": ("time", "analytics_charges_days"),
    "requests": ("time", "analytics_requests_days"),
    "usage_batches": ("time", "analytics_requests_days"),
    "requests_hourly": ("hour", "analytics_hourly_days"),
    "charges_hourly": ("hour", "analytics_hourly_days"),
    "latency_hourly": ("hour", "analytics_hourly_days"),
}


class SchemaDiffers(StoreFailed):
    """A migration that was applied is not the one that this release has."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `0001_ledger.sql` is version 1."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """Tells an edited file from the one that was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]

    def statements(self, replicated: bool) -> list[str]:
        """What to run, filled in."""
        text = string.Template(_COMMENT.sub("", self.text)).substitute(words(replicated))
        return [statement.strip() for statement in text.split(";\n") if statement.strip().rstrip(";")]


def words(replicated: bool) -> dict[str, str]:
    """What the templates' names stand for."""
    window = "replicated_deduplication_window" if replicated else "non_replicated_deduplication_window"
    prefix, arguments = ("Replicated", _REPLICATED) if replicated else ("", "")
    return {
        "MergeTree": f"{prefix}MergeTree{arguments}",
        "AggregatingMergeTree": f"{prefix}AggregatingMergeTree{arguments}",
        "exactly_once": f"{window} = {DEDUPLICATION_WINDOW}, fsync_after_insert = 1, fsync_part_directory = 1",
    }


def migrations() -> list[Migration]:
    """All of this release, in order."""
    found = []
    for path in sorted(FOLDER.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text()))
    return found


class SchemaMissing(StoreFailed):
    """The server's tables are not those of this release yet."""


def require_current(store: Store) -> None:
    """Raises SchemaMissing unless every migration of this release is applied, SchemaDiffers, StoreFailed."""
    exists = store.value(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'migrations'",
        {"database": store.database},
    )
    applied = _applied(store) if exists else {}
    missing = [each.version for each in migrations() if each.version not in applied]
    if missing:
        raise SchemaMissing(f"migration {missing[0]} is not applied; run: onysoft analytics migrate")


def _applied(store: Store) -> set[int]:
    """Versions that were applied, each from the file that this release has. Raises SchemaDiffers, StoreFailed."""
    applied = {int(row[0]): str(row[1]) for row in store.rows("SELECT version, digest FROM migrations")}
    for migration in migrations():
        if applied.get(migration.version, migration.digest) != migration.digest:
            raise SchemaDiffers(f"migration {migration.version} was applied from another file; rebuild the store")
    return set(applied)


def migrate(store: Store, settings: Settings) -> list[str]:
    """Apply what is missing; the names applied, empty when all was there.

    Every statement may run again, so a migration that was interrupted is repeated as a whole. Raises SchemaDiffers
    when the store was made by another history, StoreFailed.
    """
    replicated = settings.analytics_replicated
    engine = words(replicated)["MergeTree"]
    store.command(
        "CREATE TABLE IF NOT EXISTS migrations (version UInt32, name String, digest String,"
        f" applied DateTime64(3, 'UTC')) ENGINE = {engine} ORDER BY version"
        " COMMENT 'Which versions of the schema were applied'"
    )
    applied = _applied(store)
    done = []
    for migration in migrations():
        if migration.version not in applied:
            _apply(store, migration, replicated)
            done.append(f"{migration.version:04d}_{migration.name}")
    if not store.value("SELECT count() FROM home"):
        store.command(f"INSERT INTO home VALUES ('{uuid.uuid4().hex}', fromUnixTimestamp64Milli({_now_ms()}))")
    _set_retention(store, settings)
    return done


def home_id(store: Store) -> str:
    """Identity of this set of tables. Raises StoreFailed before `migrate`."""
    return str(store.value("SELECT home_id FROM home ORDER BY created LIMIT 1") or "")


def _apply(store: Store, migration: Migration, replicated: bool) -> None:
    for statement in migration.statements(replicated):
        store.command(statement)
    store.command(
        f"INSERT INTO migrations VALUES ({migration.version}, '{migration.name}', '{migration.digest}',"
        f" fromUnixTimestamp64Milli({_now_ms()}))"
    )
    log.info("analytics.migrated", version=migration.version, name=migration.name)


def _set_retention(store: Store, settings: Settings) -> None:
    """Make the tables' TTLs what the settings say; 0 keeps rows for ever."""
    for table, (column, setting) in _TTL_TABLES.items():
        days = getattr(settings, setting)
        definition = store.value(
            "SELECT create_table_query FROM system.tables WHERE database = {database:String} AND name = {table:String}",
            {"database": store.database, "table": table},
        )
        wanted = f"toIntervalDay({days})" if days else ""
        has = " TTL " in str(definition)
        if days and wanted not in str(definition):
            store.command(
                f"ALTER TABLE {table} MODIFY TTL toDateTime({column}) + toIntervalDay({days})",
                {"materialize_ttl_after_modify": "0"},
            )
        elif not days and has:
            store.command(f"ALTER TABLE {table} REMOVE TTL")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
