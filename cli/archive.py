"""`onysoft ledger archive|trim`: closed ranges of the log into files, and out of the stream."""

from typing import Annotated

import typer

from bus import snapshots
from bus.archive import Archive, Range
from bus.connection import Connection
from cli.offline import Bar, archive_folder, run_connected
from cli.session import Session
from cli.shapes import Shape
from projections.proof.archiving import Trim, archive_ledger, trim_ledger
from runtime.settings import Settings

_RANGE_COLUMNS = ("first", "last", "payload_bytes", "file", "chain_hash")
KEPT_DAYS = 35.0


def add_to(ledger: typer.Typer) -> None:
    """The commands of this module."""
    ledger.command("archive")(archive)
    ledger.command("trim")(trim)


def archive(context: typer.Context) -> None:
    """Write what the newest checkpoint confirms, and is not archived yet, to Parquet files with a manifest."""
    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> tuple[list[Range], Archive]:
        kept = Archive(archive_folder(settings))
        with Bar(session, "archiving the ledger") as bar:
            return await archive_ledger(connection, kept, bar), kept

    added, kept = run_connected(session, work)
    if session.json:
        return session.write({"archived": [_range(each) for each in added], "last": kept.last})
    session.show_all("ranges archived", [_range(each) for each in added], _RANGE_COLUMNS)
    session.out.print(f"the archive in {kept.folder} ends at position {kept.last}")
    return None


def trim(
    context: typer.Context,
    keep_days: Annotated[float, typer.Option(min=0, help="keep what is younger in the stream")] = KEPT_DAYS,
    forget_reader: Annotated[str, typer.Option(help="first forget a reader that is gone for good")] = "",
) -> None:
    """Purge from the stream what is archived, checkpointed and past every reader. The archive keeps it."""
    session: Session = context.obj

    async def work(connection: Connection, settings: Settings) -> Trim:
        if forget_reader:
            await snapshots.forget_reader(connection, forget_reader)
        with Bar(session, "reading the archive back") as bar:
            return await trim_ledger(connection, Archive(archive_folder(settings)), keep_days, bar)

    done = run_connected(session, work)
    shape: Shape = {
        "purged": done.purged,
        "first_position": done.purged_up_to + 1,
        "held_back_by": done.held_back_by,
        "bounds": done.bounds,
    }
    session.show(shape, "trimmed" if done.purged else f"nothing to trim: held back by {done.held_back_by}")


def _range(each: Range) -> Shape:
    return {
        "first": each.first,
        "last": each.last,
        "messages": each.last - each.first + 1,
        "payload_bytes": each.payload_bytes,
        "file": each.file,
        "chain_hash": each.chain_hash,
    }
