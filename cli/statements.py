"""`onysoft statement`, `ledger publish`, `ledger verify --file`: what customers get, and how they check it."""

from pathlib import Path
from typing import Annotated

import typer

from bus.connection import Connection
from cli.accounts import AccountArgument
from cli.client import CallFailed
from cli.history import account_of
from cli.offline import Bar, archive_folder, run_connected
from cli.session import Session
from cli.shapes import Shape
from projections.proof import statement_csv
from projections.proof.books import COLUMNS
from projections.proof.publishing import FILE, Publication, PublicationBroken, publish, read_published
from projections.proof.statement import Statement, make_statement, month_bounds
from runtime.settings import Settings


def add_to(ledger: typer.Typer) -> None:
    """The commands of this module below `ledger`."""
    ledger.command("publish")(publish_checkpoints)


def publish_checkpoints(
    context: typer.Context,
    now: Annotated[bool, typer.Option(help="also the log's end, not only the ends of days")] = False,
    check: Annotated[bool, typer.Option(help="fold from position 1 and compare every published line")] = False,
) -> None:
    """Append the ends of days since the last time to the published checkpoints, and compare those that are there."""
    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> Publication:
        with Bar(session, "folding the ledger") as bar:
            return await publish(connection, archive_folder(settings), now, check, bar)

    done = run_connected(session, work)
    shape: Shape = {
        "file": str(done.path),
        "published": len(done.lines),
        "added": len(done.added),
        "compared": done.compared,
        "last_position": done.last,
        "root": done.lines[-1].root if done.lines else "",
        "chain_hash": done.lines[-1].chain_hash if done.lines else "",
    }
    session.show(shape, "published checkpoints")


def statement(
    context: typer.Context,
    account: AccountArgument,
    month: Annotated[str, typer.Option(help="the Istanbul month, such as 2026-11")],
    pdf: Annotated[Path | None, typer.Option(help="write the statement as PDF, the CSV attached")] = None,
    csv: Annotated[Path | None, typer.Option(help="write every line and the proof as CSV")] = None,
) -> None:
    """Make an account's statement of a month from the ledger. It can be proven against the published checkpoints."""
    session: Session = context.obj
    account_id = account_of(account)
    try:
        month_bounds(month)
    except ValueError:
        raise CallFailed("invalid_argument", "--month must be like 2026-11") from None

    async def work(connection: Connection, settings: Settings) -> Statement:
        folder = archive_folder(settings)
        with Bar(session, "publishing checkpoints") as bar:
            publication = await publish(connection, folder, True, on_progress=bar)
        with Bar(session, "folding the ledger") as bar:
            return await make_statement(connection, folder, publication, account_id, month, bar)

    made = run_connected(session, work)
    if csv is not None:
        csv.write_text(statement_csv.to_csv(made))
    if pdf is not None:
        from projections.proof.statement_pdf import to_pdf

        pdf.write_bytes(to_pdf(made))
    shape: Shape = {name.replace(" ", "_"): value for name, value in statement_csv.facts(made)}
    if session.json:
        shape["movements"] = [dict(zip(COLUMNS, line.fields(), strict=True)) for line in made.lines]
    session.show(shape, f"statement of {account}")


def verify_file(session: Session, file: Path, checkpoints: Path | None) -> None:
    """Check a statement. Exit code 1 unless it is proven. Raises CallFailed."""
    published = checkpoints or archive_folder(session.settings()) / FILE
    try:
        lines = read_published(published)
        if not lines:
            raise CallFailed("not_found", f"there are no published checkpoints in {published}")
        checked = statement_csv.check(file.read_text(), lines)
    except (statement_csv.NotAStatement, PublicationBroken, UnicodeDecodeError, OSError) as error:
        raise CallFailed("invalid_argument", str(error)) from None
    shape: Shape = {
        "ok": checked.ok,
        "account": checked.account,
        "month": checked.month,
        "lines": checked.lines,
        "opening_balance": checked.opening_balance,
        "closing_balance": checked.closing_balance,
        "positions": f"{checked.positions[0] + 1} to {checked.positions[1]}",
        "problems": list(checked.problems),
    }
    session.show(shape, "the statement is proven" if checked.ok else "THE STATEMENT IS NOT PROVEN")
    if not checked.ok:
        raise typer.Exit(1)
