"""`onysoft reconcile`: ledger, analytics, edges' reports and the provider's journal, compared by set."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from bus.connection import Connection
from bus.errors import ArchiveBroken, HistoryLost
from bus.streams import LEDGER, last_position
from cli.analytics import asker
from cli.client import CallFailed
from cli.history import moment_ms
from cli.instance import NoInstance
from cli.offline import Bar, run_connected
from cli.session import Session
from cli.shapes import Shape
from cli.simulation.run import MARKER
from core.ledger.outcome import FoldStopped
from projections.proof.books import Books
from projections.proof.reconcile import Ask, Reconciler, Report, StoreAway, query
from projections.proof.reconcile_provider import ProviderBook
from projections.proof.reconcile_rollups import compare_batches, compare_roll_ups
from projections.proof.reconcile_usage import compare_usage
from projections.proof.statement import ISTANBUL
from projections.proof.time_travel import books_at_position, position_at
from runtime.settings import Settings

JOURNAL_TIMEOUT_S = 60.0
SHOWN_MAX = 200
SANDBOX_PROVIDERS = frozenset({"openrouter", "fallback"})


def reconcile(
    context: typer.Context,
    begin: Annotated[str, typer.Option("--from", help="first ledger position, or a time; default: the first")] = "1",
    until: Annotated[
        str, typer.Option("--to", help="last ledger position, or a time; default: where the tables end")
    ] = "0",
    analytics: Annotated[bool, typer.Option(help="compare the analytics tables")] = True,
    provider: Annotated[bool, typer.Option(help="compare the sandbox's journal, where the instance has one")] = True,
) -> None:
    """Compare ledger, analytics, edges' reports and the provider's journal. Exit code 1 when anything differs."""
    session: Session = context.obj
    ask = _ask(session) if analytics else None

    async def work(connection: Connection, settings: Settings) -> tuple[Report, int, int]:
        journal = await asyncio.to_thread(_journal, session) if provider else None
        run = _Run(connection, settings, ask, journal, _simulated_up_to(session))
        first = await _position(connection, settings, begin, "--from")
        return await run.compare(session, first, await _position(connection, settings, until, "--to"))

    report, first, end = run_connected(session, work)
    differences = [{"position": each.position, "where": each.table, "what": each.text} for each in report.differences]
    shape: Shape = {
        "ok": report.ok,
        "from_position": first,
        "to_position": end,
        "totals": dict(report.totals),
        "differences": report.count,
    }
    if session.json:
        session.write({**shape, "found": differences})
    else:
        session.show({**{key: value for key, value in shape.items() if key != "totals"}, **report.totals}, "reconciled")
        for each in differences[:SHOWN_MAX]:
            session.out.print(f"position {each['position'] or '-'}, {each['where']}: {each['what']}", style="red")
    if not report.ok:
        raise typer.Exit(1)


async def _position(connection: Connection, settings: Settings, text: str, option: str) -> int:
    """The ledger position that an option names; for a time as the beginning, the first after it. Raises CallFailed."""
    if text.isdecimal():
        return max(int(text), 1 if option == "--from" else 0)
    found = await position_at(connection, settings.archive_dir, moment_ms(text, option))
    return found + 1 if option == "--from" else max(found, 1)


class _Run:
    """One comparison."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        ask: Ask | None,
        journal: list[dict[str, Any]] | None,
        simulated: int,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._archive = settings.archive_dir
        self._ask = ask
        self._journal = journal
        self._simulated = simulated

    async def compare(self, session: Session, first: int, last: int) -> tuple[Report, int, int]:
        """The report, and the first and last position compared. Raises StoreAway, BusError."""
        report = Report()
        try:
            books = await self._books_before(session, first)
        except (FoldStopped, HistoryLost, ArchiveBroken) as error:
            report.differs(0, "ledger", str(error))
            return report, first, 0
        end, ends = await self._end(last)
        run = Reconciler(self._connection, self._archive, books, self._ask, whole=first == 1)
        run.report = report
        book = None
        if self._journal is not None:
            after = max(self._simulated, first - 1)
            book = ProviderBook(report, self._journal, SANDBOX_PROVIDERS, after)
            run.on_settlement = book.settled
        begin_ms = books.state.time_ms
        try:
            with Bar(session, "ledger and analytics") as bar:
                await run.advance(end, bar)
        except (FoldStopped, HistoryLost, ArchiveBroken) as error:
            report.differs(run.position + 1, "ledger", f"the log cannot be read on: {error}")
            return report, first, run.position
        if book is not None:
            book.finish()
        await run.compare_balances()
        if self._ask is not None:
            reported_ms = ends.get("USAGE", 0)
            until_ms = min(books.state.time_ms, reported_ms) if reported_ms else 0
            with Bar(session, "edges' reports") as bar:
                await compare_usage(self._ask, report, begin_ms or await self._first_ms(), until_ms, bar)
            if first == 1 and not last:
                await self._compare_sums(session, self._ask, report)
        return report, first, run.position

    async def _compare_sums(self, session: Session, ask: Ask, report: Report) -> None:
        """What is made of the tables' rows: batches and roll-ups, as far back as rows are kept."""
        settings = self._settings
        kept_days = {
            "charges": settings.analytics_charges_days,
            "requests": settings.analytics_requests_days,
            **dict.fromkeys(("charges_hourly", "requests_hourly", "latency_hourly"), settings.analytics_hourly_days),
        }
        now = datetime.now(ISTANBUL)
        kept_since = now - timedelta(days=settings.analytics_requests_days - 1)
        await compare_batches(
            ask, report, int(kept_since.timestamp() * 1000) if settings.analytics_requests_days else 0
        )
        with Bar(session, "roll-ups") as bar:
            await compare_roll_ups(ask, report, kept_days, now.date(), bar)

    async def _books_before(self, session: Session, first: int) -> Books:
        if first == 1:
            return Books()
        with Bar(session, "folding the ledger up to there") as bar:
            return await books_at_position(self._connection, self._archive, first - 1, bar)

    async def _end(self, last: int) -> tuple[int, dict[str, int]]:
        """The last position to compare, and the times up to which each stream is in the tables."""
        log_end = await last_position(self._connection, LEDGER)
        if self._ask is None:
            return min(last or log_end, log_end), {}
        rows = {str(stream): (int(end), int(time_ms)) for stream, end, time_ms in await self._ask(query("ends"))}
        stored = rows.get("LEDGER", (0, 0))[0]
        if stored > log_end:
            raise CallFailed("data_loss", f"the tables hold position {stored}, but the log ends at {log_end}")
        if last > stored:
            raise CallFailed("failed_precondition", f"the tables end at position {stored}, before --to {last}")
        return last or stored, {stream: time_ms for stream, (_, time_ms) in rows.items()}

    async def _first_ms(self) -> int:
        assert self._ask is not None
        rows = await self._ask("SELECT toUnixTimestamp64Milli(min(time)) FROM requests")
        return int(rows[0][0]) if rows else 0


def _ask(session: Session) -> Ask:
    """Questions to the analytics store, as `onysoft query` asks them."""
    ask, _ = asker(session)

    async def rows(sql: str) -> Sequence[Sequence[Any]]:
        try:
            content = await asyncio.to_thread(ask, sql, "JSONCompactEachRow")
        except CallFailed as error:
            raise StoreAway(error.message) from None
        return [orjson.loads(line) for line in content.splitlines()]

    return rows


def _journal(session: Session) -> list[dict[str, Any]] | None:
    """What the instance's sandbox billed; None where there is none, or the real provider is used."""
    try:
        url = session.instance().document.get("sandbox_url", "")
    except NoInstance:
        return None
    if not url or session.settings().openrouter_api_key.get_secret_value():
        return None
    try:
        with urllib.request.urlopen(f"{url}/journal", timeout=JOURNAL_TIMEOUT_S) as answer:
            return list(orjson.loads(answer.read()))
    except (urllib.error.URLError, OSError) as error:
        raise CallFailed("sandbox_away", f"the sandbox's journal cannot be read: {error}") from None


def _simulated_up_to(session: Session) -> int:
    """The last position that was simulated: no provider ever saw those calls."""
    try:
        folder = session.instance().document.get("data", "")
        return int(json.loads((Path(folder) / MARKER).read_bytes()).get("ledger_positions", 0)) if folder else 0
    except (NoInstance, OSError, ValueError):
        return 0
