"""`onysoft query` and `onysoft analytics migrate`."""

import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import orjson
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.client import CallFailed
from cli.instance import NoInstance
from cli.session import Session
from runtime.settings import Settings

if TYPE_CHECKING:
    from projections.analytics.store import Dsn

Ask = Callable[[str, str], bytes]
"""Query and format → the answer. Raises CallFailed."""

ANSWER_MARGIN_S = 10.0
TABLE_ROWS_MAX = 1_000

analytics = typer.Typer(
    invoke_without_command=True,
    help="Run the analytics process from ONYSOFT_… settings; or migrate the store.",
)


@analytics.callback()
def run_process(context: typer.Context) -> None:
    """Run one analytics process, until SIGTERM."""
    if context.invoked_subcommand is None:
        from cli.processes import start

        raise typer.Exit(start("analytics", []))


@analytics.command("migrate")
def migrate_store(context: typer.Context) -> None:
    """Bring the tables of the store at ONYSOFT_ANALYTICS_DSN up to date. An embedded one must not be in use."""
    from projections.analytics.migrate import migrate
    from projections.analytics.store import Store, StoreFailed

    session: Session = context.obj
    settings = _settings(session)
    dsn = _dsn(settings)
    try:
        store = Store.open(dsn)
        applied = migrate(store, settings)
        store.close()
    except StoreFailed as error:
        raise CallFailed("store_failed", str(error)) from None
    session.show({"store": dsn.public, "applied": applied, "up_to_date": True}, "the store is up to date")


@analytics.command("access")
def access(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="name of the user: lower-case letters, digits and _")],
    account: Annotated[
        str, typer.Option("--partner", metavar="ACCOUNT", help="see this partner's rows and its customers' only")
    ] = "",
) -> None:
    """Print the SQL that makes a read-only user on a ClickHouse server, with a new password. Nothing is changed."""
    from projections.analytics.access import partner_sql, reader_sql

    session: Session = context.obj
    settings = _settings(session)
    dsn = _dsn(settings)
    password = secrets.token_urlsafe(24)
    try:
        sql = (
            partner_sql(settings, dsn.database, user, password, account)
            if account
            else reader_sql(settings, dsn.database, user, password)
        )
    except ValueError as error:
        raise CallFailed("invalid_argument", str(error)) from None
    if session.json:
        session.write({"user": user, "password": password, "sql": sql})
    else:
        sys.stdout.write(f"-- password of {user}, shown this once: {password}\n{sql}")


def query(
    context: typer.Context,
    sql: Annotated[list[str], typer.Argument(metavar="SQL", help="one statement that reads; - takes it from stdin")],
    csv: Annotated[bool, typer.Option("--csv", help="CSV with a header on stdout")] = False,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="write the answer as Parquet")] = None,
) -> None:
    """Ask the analytics store. Works while the gateway runs, and on the folder of one that is stopped."""
    session: Session = context.obj
    for word in sql:  # SQL may begin with a comment; an option has no spaces
        if word.startswith("-") and word != "-" and not any(letter.isspace() for letter in word):
            raise typer.BadParameter(f"No such option: {word}")
    text = sys.stdin.read() if sql == ["-"] else " ".join(sql)
    ask, where = asker(session)
    began = time.monotonic()
    with _progress(session, where):
        if parquet is not None:
            content = ask(text, "Parquet")
        elif csv:
            content = ask(text, "CSVWithNames")
        elif session.json:
            content = ask(text, "JSONEachRow")
        else:
            content = ask(text, "JSONCompactEachRowWithNames")
    if parquet is not None:
        parquet.write_bytes(content)
        session.show({"file": str(parquet), "bytes": len(content)}, "written")
    elif csv:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    elif session.json:
        session.write([orjson.loads(line) for line in content.splitlines()])
    else:
        _show_table(session, content, time.monotonic() - began)


def _progress(session: Session, where: str) -> Progress | nullcontext[None]:
    """A clock on stderr while the store thinks; nothing where stdout is for a program."""
    if session.json or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.add_task(f"asking {where}", total=None)
    return progress


def _show_table(session: Session, content: bytes, seconds: float) -> None:
    lines = content.splitlines()
    if not lines:
        return
    names, *rows = (orjson.loads(line) for line in lines[: TABLE_ROWS_MAX + 1])
    count = len(lines) - 1
    shown = "" if count <= TABLE_ROWS_MAX else f", the first {TABLE_ROWS_MAX} shown"
    table = Table(caption=f"{count} rows in {seconds:.2f} s{shown}", caption_justify="left")
    for place, name in enumerate(names):
        numbers = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        table.add_column(name, overflow="fold", justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*("" if value is None else _cell(value) for value in row))
    session.out.print(table)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _settings(session: Session) -> Settings:
    """Of the instance, running or stopped; else of the environment."""
    try:
        return session.settings()
    except NoInstance:
        folder = session.data or os.environ.get("ONYSOFT_DATA")
        return Settings(projections_dir=Path(folder) / "projections") if folder else Settings()


def _dsn(settings: Settings) -> "Dsn":
    """Raises CallFailed."""
    from projections.analytics.store import dsn_of

    try:
        return dsn_of(settings)
    except ValueError as error:
        raise CallFailed("wrong_setting", f"ONYSOFT_ANALYTICS_DSN: {error}") from None


def asker(session: Session) -> tuple[Ask, str]:
    """Whom to ask: the analytics process, a server, or nobody: the folder itself."""
    settings = _settings(session)
    url = settings.analytics_url or _running(session)
    if url:
        return _over_http(url, settings), "the analytics process"
    dsn = _dsn(settings)
    return _direct(dsn, settings), dsn.public


def _running(session: Session) -> str:
    try:
        found: str = session.instance().document.get("ops_urls", {}).get("analytics", "")
    except NoInstance:
        return ""
    return found


def _over_http(url: str, settings: Settings) -> Ask:
    def ask(query: str, form: str) -> bytes:
        address = f"{url}/?{urlencode({'default_format': form})}"
        request = urllib.request.Request(address, query.encode(), {"content-type": "text/plain; charset=UTF-8"})
        try:
            with urllib.request.urlopen(request, timeout=settings.analytics_query_s + ANSWER_MARGIN_S) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise CallFailed("query_failed", error.read().decode(errors="replace").strip()) from None
        except (urllib.error.URLError, OSError) as error:
            raise CallFailed("analytics_away", f"the analytics process does not answer: {error}") from None

    return ask


def _direct(dsn: "Dsn", settings: Settings) -> Ask:
    import asyncio

    from projections.analytics.readers import QueryRefused, Readers
    from projections.analytics.store import Store, StoreFailed

    def ask(query: str, form: str) -> bytes:
        if dsn.folder is not None and not dsn.folder.exists():
            raise CallFailed("no_store", f"there is no store in {dsn.folder}")

        async def once() -> bytes:
            store = Store.open(dsn)
            readers = Readers.open(store, settings)
            try:
                return await readers.raw(query, form, {})
            finally:
                await readers.close()
                store.close()

        try:
            return asyncio.run(once())
        except (StoreFailed, QueryRefused) as error:
            raise CallFailed("query_failed", str(error)) from None

    return ask
