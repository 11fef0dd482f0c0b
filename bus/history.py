"""The ledger from any position on, wherever it is by now: what was trimmed comes from the archive, the rest from the
stream. To its reader it is one tail."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bus import jetstream
from bus.archive import Archive
from bus.connection import Connection
from bus.errors import ApiRefused, HistoryLost, NoCore, NoSuchPosition, RequestTimeout, TailStopped
from bus.jetstream import Entry
from bus.streams import LEDGER
from bus.tail import Tail, read
from runtime.log import log

POLL_S = 0.05
RETRY_S = 0.25


class History:
    """Reads LEDGER after position `after` like a `Tail`, and has its interface: `start`, `stop`, `position`,
    `failure`, `caught_up`, `reached`.

    `archive` is the archive's folder; without one, or where it does not reach, a trimmed log is HistoryLost.
    `on_message` runs in the event loop. Additionally fails with ArchiveBroken.
    """

    def __init__(
        self, connection: Connection, after: int, on_message: Callable[[Entry], None], archive: Path | None
    ) -> None:
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.restarts = 0
        self._connection = connection
        self._on_message = on_message
        self._archive = archive
        self._after = after
        self._tail: Tail | None = None
        self._task: asyncio.Task[None] | None = None
        self._in_stream = asyncio.Event()
        self._stopped = False

    @property
    def position(self) -> int:
        """The last position that `on_message` was called for."""
        return self._after if self._tail is None else self._tail.position

    async def start(self) -> None:
        """Begin to read. Raises HistoryLost when neither archive nor stream has what comes next."""
        first = await self._first_in_stream()
        if self._after >= first - 1:
            await self._to_stream()
            return
        if self._archive is None:
            raise HistoryLost(f"{LEDGER} begins at {first}, {self._after + 1} is next, and there is no archive")
        archive = Archive(self._archive)
        if archive.last < first - 1:
            raise HistoryLost(f"{LEDGER} begins at {first}, its archive in {self._archive} ends at {archive.last}")
        self._task = asyncio.create_task(self._run(archive, first - 1))

    async def _first_in_stream(self) -> int:
        """Trying until it is known, as a tail does."""
        while True:
            try:
                return int((await jetstream.stream_state(self._connection, LEDGER))["first_seq"]) or 1
            except (ApiRefused, NoCore, RequestTimeout) as error:
                log.warning("history.retry", position=self._after, error=type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """No message is delivered after this returns."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._tail is not None:
            await self._tail.stop()

    async def caught_up(self) -> None:
        """Wait until everything that was in the log when this was called is delivered. Raises the failure."""
        await self._handed_over()
        assert self._tail is not None
        await self._tail.caught_up()

    async def reached(self, position: int) -> None:
        """Wait until `position` is delivered. Raises the failure, or TailStopped."""
        while self._tail is None and self._after < position:
            if self._stopped:
                raise TailStopped(f"at position {self._after}")
            await asyncio.wait((self.failure,), timeout=POLL_S)
            if self.failure.done():
                self.failure.result()
        if self._tail is not None:
            await self._tail.reached(position)

    async def _handed_over(self) -> None:
        waiting = asyncio.ensure_future(self._in_stream.wait())
        await asyncio.wait((waiting, self.failure), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.failure.done():
            self.failure.result()

    async def _run(self, archive: Archive, last: int) -> None:
        """Read the archive up to `last`, then go on with the stream."""
        blocks = archive.read(self._after, last)
        try:
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                for entry in block:
                    self._on_message(entry)
                    self._after = entry.position
                await asyncio.sleep(0)
            await self._to_stream()
        except Exception as error:  # noqa: BLE001  whatever it is, reading on would skip a fact
            self._fail(error)

    async def _to_stream(self) -> None:
        self._tail = Tail(self._connection, LEDGER, self._after, self._on_message)
        self._tail.failure.add_done_callback(self._on_tail_failure)
        await self._tail.start()
        self._in_stream.set()

    def _on_tail_failure(self, failure: "asyncio.Future[None]") -> None:
        if not failure.cancelled() and (error := failure.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)
            self.failure.exception()  # seen, even when nobody awaits it


async def read_entry(connection: Connection, position: int, archive: Path | None) -> Entry:
    """The message at a position of the ledger, from the stream or the archive.

    Raises NoSuchPosition, ArchiveBroken, else as `bus.jetstream.call`.
    """
    try:
        return await read(connection, LEDGER, position)
    except NoSuchPosition:
        if archive is None:
            raise
    entry = await asyncio.to_thread(lambda: Archive(archive).read_one(position))
    if entry is None:
        raise NoSuchPosition(f"neither {LEDGER} nor its archive has position {position}")
    return entry
