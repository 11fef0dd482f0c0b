"""The analytics store, in either of its homes: a ClickHouse server, or the engine embedded in one process.

    chdb:///var/lib/onysoft/analytics                     embedded; one process owns the folder
    clickhouse://user:password@host:8123/onysoft          a server's HTTP interface
    clickhouses://user:password@host:8443/onysoft         the same over TLS

Everything goes through clickhouse-connect, so one code serves both. Calls block: they belong in a thread. A handle
takes one call at a time, in the order of the calls.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from runtime.settings import Settings

__all__ = ["Dsn", "Store", "StoreFailed", "StoreInUse", "dsn_of", "parse_dsn"]

INSERT_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 5
DEFAULT_DATABASE = "onysoft"
EMBEDDED_DATABASE = "default"
MESSAGE_CHARACTERS_MAX = 400

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_INSERT_SETTINGS = {
    "insert_deduplicate": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "materialized_views_ignore_errors": "0",
    # One block for each insert: then the token names exactly the rows that were sent with it.
    "max_insert_block_size": "1048576",
    "min_insert_block_size_rows": "1048576",
    "min_insert_block_size_bytes": "1073741824",
    "max_insert_threads": "1",
    "async_insert": "0",
}


class StoreFailed(Exception):
    """ClickHouse could not be reached or refused; the message is its own, first line, without data."""


class StoreInUse(StoreFailed):
    """The folder of the embedded engine belongs to another process."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where the store is. `folder` is set for the embedded engine, the rest for a server."""

    folder: Path | None
    database: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    secure: bool = False

    @property
    def embedded(self) -> bool:
        """Whether the engine runs within the process that opens it."""
        return self.folder is not None

    @property
    def public(self) -> str:
        """The DSN without its password, for logs and `onysoft status`."""
        if self.folder is not None:
            return f"chdb://{self.folder}"
        return f"clickhouse{'s' if self.secure else ''}://{self.user}@{self.host}:{self.port}/{self.database}"


def parse_dsn(text: str) -> Dsn:
    """Raises ValueError, whose message does not repeat the DSN: it may hold a password."""
    parts = urlsplit(text)
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/") or len(parts.path) < 2:
            raise ValueError("an embedded store is chdb:/// and an absolute path")
        return Dsn(Path(unquote(parts.path)), EMBEDDED_DATABASE)
    schemes = {"clickhouse": False, "http": False, "clickhouses": True, "https": True}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError("a store is chdb:///PATH or clickhouse://USER:PASSWORD@HOST:PORT/DATABASE")
    secure = schemes[parts.scheme]
    database = parts.path.strip("/") or DEFAULT_DATABASE
    _check_name(database)
    port = parts.port or (8443 if secure else 8123)
    user = unquote(parts.username or "default")
    return Dsn(None, database, parts.hostname, port, user, unquote(parts.password or ""), secure)


def dsn_of(settings: Settings) -> Dsn:
    """The configured store; by default the embedded one beside the read models. Raises ValueError."""
    text = settings.analytics_dsn.get_secret_value()
    return parse_dsn(text or f"chdb://{(settings.projections_dir / 'analytics').absolute()}")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("a database's name is letters, digits and _")


class Store:
    """One handle on the store. `database` may differ from the DSN's, as when a new one is built beside the old."""

    def __init__(self, dsn: Dsn, client: Client, database: str) -> None:
        self.dsn = dsn
        self.database = database
        self._client = client

    @classmethod
    def open(cls, dsn: Dsn, database: str = "") -> "Store":
        """Connect, making the database where it is missing.

        Raises StoreInUse when another process owns the embedded folder, StoreFailed when the server cannot be reached.
        """
        database = database or dsn.database
        _check_name(database)
        client = _connect(dsn)
        store = cls(dsn, client, database)
        if database != EMBEDDED_DATABASE:
            store.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        client.database = database
        return store

    def handle(self) -> "Store":
        """Another handle on the same store, for another thread."""
        client = _connect(self.dsn)
        client.database = self.database
        return Store(self.dsn, client, self.database)

    def close(self) -> None:
        """Let go of it. The embedded engine ends with its last handle."""
        self._client.close()

    def command(self, sql: str, settings: Mapping[str, str] | None = None) -> None:
        """A statement without rows. Raises StoreFailed."""
        with _failures():
            self._client.command(sql, settings=dict(settings or {}))

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Sequence[Any]]:
        """The rows of a query; `parameters` fill `{name:Type}`. Raises StoreFailed."""
        with _failures():
            return list(self._client.query(sql, parameters=dict(parameters or {})).result_rows)

    def value(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None without one. Raises StoreFailed."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    def blocks(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Iterator[list[Sequence[Any]]]:
        """The rows of a query, block by block, for results of any size. Raises StoreFailed."""
        with _failures(), self._client.query_row_block_stream(sql, parameters=dict(parameters or {})) as stream:
            for block in stream:
                yield list(block)

    def raw(
        self, sql: str, settings: Mapping[str, str], form: str | None, parameters: Mapping[str, str] | None = None
    ) -> bytes:
        """A query's answer as ClickHouse formats it; `parameters` fill `{name:Type}`. Raises StoreFailed."""
        with _failures():
            answer = self._client.raw_query(sql, parameters=dict(parameters or {}), settings=dict(settings), fmt=form)
            return bytes(answer) if isinstance(answer, bytes | bytearray | memoryview) else str(answer).encode()

    def insert(self, table: str, columns: Sequence[str], rows: bytes, token: str) -> None:
        """Insert rows in RowBinary. The same rows under the same token count once, in the table and in its roll-ups.

        Other rows under a used token are discarded by ClickHouse without a word: callers send each range once chosen
        unchanged. Raises StoreFailed: then it is not known whether the rows are in, and the same call is right again.
        """
        settings = {**_INSERT_SETTINGS, "insert_deduplication_token": token}
        with _failures():
            self._client.raw_insert(table, columns, insert_block=rows, settings=settings, fmt="RowBinary")


def limit(store: Store, settings: Settings) -> None:
    """Bound what one statement of this handle may use of the embedded engine; a server has limits of its own."""
    if store.dsn.embedded:
        store.command(f"SET max_memory_usage = {settings.analytics_memory_bytes}")
        store.command(f"SET max_threads = {settings.analytics_threads}")


def _connect(dsn: Dsn) -> Client:
    if dsn.folder is not None:
        dsn.folder.mkdir(parents=True, exist_ok=True)
        try:
            return clickhouse_connect.get_client(dsn=f"chdb://{os.path.realpath(dsn.folder)}")
        except ClickHouseError as error:
            raise StoreInUse(f"the store in {dsn.folder} belongs to another process, or cannot be read") from error
    with _failures():
        return clickhouse_connect.get_client(
            interface="https" if dsn.secure else "http",
            host=dsn.host,
            port=dsn.port,
            username=dsn.user,
            password=dsn.password,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=INSERT_TIMEOUT_S,
            autogenerate_session_id=False,
        )


@contextmanager
def _failures() -> Iterator[None]:
    """The driver's exceptions as StoreFailed, without what may hold data."""
    try:
        yield
    except (ClickHouseError, OSError) as error:
        raise StoreFailed(str(error).split("\n", 1)[0][:MESSAGE_CHARACTERS_MAX]) from error
