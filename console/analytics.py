"""The console's way to ClickHouse: read-only questions about one account at a time, in `sql/`.

The caller has checked that the person may touch the account (`web/reach.py`); every question is filtered by it, and
values are bound, never pasted. Questions about all accounts are for staff alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from string import Template
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

SQL = Path(__file__).parent / "sql"
CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 20
NANO = Decimal(10) ** 9
REQUESTS_A_PAGE = 50
_DEAREST_FIRST = "charge_nano DESC, name"
GROUPS = {"day": ("toString(day)", "name"), "model": ("model", _DEAREST_FIRST), "key": ("key_id", _DEAREST_FIRST)}


class AnalyticsAway(Exception):
    """There is no analytics store, or it does not answer now."""


@dataclass(frozen=True, slots=True)
class Used:
    """One row of usage: a day, a model or a key."""

    name: str
    calls: int
    charge: Decimal
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Acts:
    """Which acts are asked for: before an event of the log, within a time, of one actor, event or account."""

    before_position: int
    before_index: int
    from_ms: int
    to_ms: int
    limit: int
    actor: str = ""
    event: str = ""
    account: str = ""


class Analytics:
    """Asks `address`: http(s)://HOST:PORT of an analytics process, or clickhouse(s)://USER:PASSWORD@HOST:PORT/DATABASE.

    Connected at the first question and again after a failure. Safe for many threads.
    """

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        self._client: Client | None = None
        self._lock = Lock()

    def usage(self, account_id: str, group_by: str, first: date, last: date) -> list[Used]:
        """By `day` in order, by `model` or `key` the dearest first. Raises AnalyticsAway."""
        group, order = GROUPS[group_by]
        parameters = {"account": account_id, "first": first, "last": last}
        return [used(row) for row in self.rows("usage", parameters, group=group, order=order)]

    def spent(self, account_id: str, first: date, last: date) -> list[Used]:
        """What the account paid on each day, its customers' calls included. Raises AnalyticsAway."""
        rows = self.rows("spent", {"account": account_id, "first": first, "last": last})
        return [used(row) for row in rows]

    def requests(
        self, account_id: str, before: datetime, model: str = "", key_id: str = "", failed: bool = False
    ) -> list[dict[str, Any]]:
        """At most REQUESTS_A_PAGE calls, the latest first. Raises AnalyticsAway."""
        parameters = {
            "account": account_id,
            "before_ms": int(before.timestamp() * 1000),
            "model": model,
            "key": key_id,
            "failed": int(failed),
            "limit": REQUESTS_A_PAGE,
        }
        rows = self.rows("requests", parameters)
        return [{**row, "charge": Decimal(row["charge_nano"]) / NANO} for row in rows]

    def rows(self, name: str, parameters: Mapping[str, Any], **parts: str) -> list[dict[str, Any]]:
        """What `sql/<name>.sql` finds; `parts` are SQL of ours for its `$…`, `parameters` are bound. Raises
        AnalyticsAway."""
        return self._ask(Template(_sql(name)).substitute(parts), parameters)

    def acts(self, wanted: Acts) -> list[dict[str, Any]]:
        """What was done in somebody's name and stands in the ledger, the latest first. Raises AnalyticsAway."""
        return self.rows("acts", {**asdict(wanted), "account_hex": wanted.account.removeprefix("acc_")})

    def _ask(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            with self._lock:
                if self._client is None:
                    self._client = self._connect()
                client = self._client
            return list(client.query(query, parameters=dict(parameters)).named_results())
        except (ClickHouseError, OSError) as error:
            with self._lock:
                self._client = None
            raise AnalyticsAway(str(error).split("\n", 1)[0][:200]) from error

    def _connect(self) -> Client:
        address = self._address
        if not address.hostname:
            raise AnalyticsAway("no address is set")
        server = address.scheme.startswith("clickhouse")
        secure = address.scheme in ("clickhouses", "https")
        return clickhouse_connect.get_client(
            interface="https" if secure else "http",
            host=address.hostname,
            port=address.port or (8443 if secure else 8123),
            username=unquote(address.username or "") or None,
            password=unquote(address.password or ""),
            database=(address.path.strip("/") or "onysoft") if server else None,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            autogenerate_session_id=False,
        )

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


@cache
def _sql(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


def used(row: Mapping[str, Any]) -> Used:
    """A row of usage, its money as a decimal."""
    counts = {name: row[name] for name in Used.__slots__ if name in row and name not in ("name", "charge")}
    return Used(name=row["name"], charge=Decimal(row["charge_nano"]) / NANO, **counts)
