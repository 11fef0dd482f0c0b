"""`onysoft rebuild directory|accounts|analytics`: read models anew from the log."""

import typer

from bus.connection import Connection
from cli.client import CallFailed
from cli.offline import Bar, run_connected
from cli.session import Session
from cli.shapes import Shape
from projections.proof.rebuild import Rebuilt, rebuild_accounts, rebuild_directory
from runtime.settings import Settings

rebuild = typer.Typer(help="Build a read model anew beside the one in use, compare them, then switch.")


@rebuild.command("accounts")
def accounts(context: typer.Context) -> None:
    """Accounts and the request index. A running projections process takes the new file, and starts again with it."""
    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> Rebuilt:
        with Bar(session, "folding the ledger") as bar:
            return await rebuild_accounts(connection, settings, bar)

    _show(session, run_connected(session, work))


@rebuild.command("directory")
def directory(context: typer.Context) -> None:
    """What edges know of keys and models. Calls are served meanwhile."""
    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> Rebuilt:
        with Bar(session, "folding the ledger") as bar:
            return await rebuild_directory(connection, settings, bar)

    _show(session, run_connected(session, work))


@rebuild.command("analytics")
def analytics(context: typer.Context) -> None:
    """The ledger's tables in ClickHouse. The analytics process must not run meanwhile (./dev up --no-analytics)."""
    from projections.analytics.main import open_store
    from projections.analytics.rebuild import rebuild_analytics
    from projections.analytics.store import StoreFailed

    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> Rebuilt:
        store = open_store(settings)
        try:
            with Bar(session, "folding the ledger") as bar:
                return await rebuild_analytics(connection, settings, store, bar)
        finally:
            store.close()

    try:
        _show(session, run_connected(session, work))
    except StoreFailed as error:
        raise CallFailed("store_failed", str(error)) from None


def _show(session: Session, rebuilt: Rebuilt) -> None:
    shape: Shape = {
        "rebuilt": rebuilt.what,
        "position": rebuilt.position,
        "equal": rebuilt.equal,
        "switched": rebuilt.switched,
        "rows": rebuilt.rows,
        "differences": rebuilt.differences,
    }
    session.show(shape, "the old one was right" if rebuilt.equal else "THE OLD ONE WAS WRONG; it is replaced")
