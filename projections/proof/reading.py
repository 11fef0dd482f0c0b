"""Reading a span of the ledger once, with progress, from wherever it is."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bus.connection import Connection
from bus.history import History
from bus.jetstream import Entry

PROGRESS_EVERY_S = 0.25

OnProgress = Callable[[int, int], None]
"""Called with how far a reading is, and how far it goes."""


def no_progress(done: int, total: int) -> None:
    """For whoever does not watch."""


async def read_through(
    connection: Connection,
    archive: Path | None,
    after: int,
    last: int,
    on_entry: Callable[[Entry], object],
    on_progress: OnProgress = no_progress,
) -> None:
    """Call `on_entry` for positions `after` + 1 to `last`, in order.

    Raises HistoryLost, ArchiveBroken, BusError, and what `on_entry` raises.
    """
    if after >= last:
        return

    def on_message(entry: Entry) -> None:
        if entry.position <= last:
            on_entry(entry)

    history = History(connection, after, on_message, archive)
    try:
        await history.start()
        reading = asyncio.ensure_future(history.reached(last))
        while not reading.done():
            await asyncio.wait((reading, history.failure), timeout=PROGRESS_EVERY_S)
            on_progress(min(history.position, last), last)
            if history.failure.done():
                reading.cancel()
                history.failure.result()
        reading.result()
    finally:
        await history.stop()
