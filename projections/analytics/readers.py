"""Read-only questions to the store, a few at a time, each bounded in time, memory and size of its answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from projections.analytics.guard import Guard, QueryRefused, has_format
from projections.analytics.store import Store
from runtime.settings import Settings

HANDLES = 2
WAITING_MAX = 32

Answer = TypeVar("Answer")

_CODE_BUSY = "too many queries at once"


class Busy(Exception):
    """Too many queries wait already."""


class Readers:
    """A few read-only handles on the store. Use `open`."""

    def __init__(self, handles: list[Store], guard: Guard | None, settings: Settings) -> None:
        self._settings = settings
        self._guard = guard
        self._thread = ThreadPoolExecutor(len(handles), "reader")
        self._handles = handles
        self._idle: asyncio.Queue[Store] = asyncio.Queue()
        for handle in handles:
            self._idle.put_nowait(handle)
        self._asked = 0

    @classmethod
    def open(cls, store: Store, settings: Settings) -> "Readers":
        """Blocks. Raises StoreFailed."""
        handles = []
        for _ in range(HANDLES):
            handle = store.handle()
            if store.dsn.embedded:
                for name, value in limits(settings).items():
                    handle.command(f"SET {name} = '{value}'")
                handle.command("SET readonly = 1")
            handles.append(handle)
        return cls(handles, Guard(store) if store.dsn.embedded else None, settings)

    async def close(self) -> None:
        """Wait for running queries, then let go of the store."""
        self._thread.shutdown(wait=False)
        for _ in self._handles:
            (await self._idle.get()).close()

    async def raw(self, query: str, form: str, parameters: Mapping[str, str]) -> bytes:
        """An answer in `form`, unless the query names a format itself. Raises QueryRefused, StoreFailed, Busy."""

        def ask(handle: Store) -> bytes:
            text = query if self._guard is None else self._guard.check(handle, query, parameters)
            return handle.raw(text, self._limits(handle), None if has_format(text) else form, parameters)

        return await self._run(ask)

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Rows of a query of our own. Raises StoreFailed, Busy."""
        return await self._run(lambda handle: handle.rows(query, parameters))

    async def _run(self, ask: Callable[[Store], Answer]) -> Answer:
        if self._asked >= WAITING_MAX:
            raise Busy(_CODE_BUSY)
        self._asked += 1
        try:
            handle = await self._idle.get()
            running = asyncio.get_running_loop().run_in_executor(self._thread, ask, handle)
            try:
                return await asyncio.shield(running)
            finally:
                # A caller that left does not end a query; the handle is free only when it has ended.
                if running.done():
                    self._idle.put_nowait(handle)
                else:
                    running.add_done_callback(lambda _done: self._idle.put_nowait(handle))
        finally:
            self._asked -= 1

    def _limits(self, handle: Store) -> dict[str, str]:
        return {} if handle.dsn.embedded else {**limits(self._settings), "readonly": "1"}


def limits(settings: Settings) -> dict[str, str]:
    """ClickHouse settings that bound a query."""
    return {
        "max_execution_time": str(settings.analytics_query_s),
        "max_result_bytes": str(settings.analytics_result_bytes),
        "result_overflow_mode": "throw",
        "max_memory_usage": str(settings.analytics_memory_bytes),
        "max_threads": str(settings.analytics_threads),
        "max_bytes_before_external_group_by": str(settings.analytics_memory_bytes // 2),
        "output_format_json_quote_64bit_integers": "0",
    }


__all__ = ["Busy", "QueryRefused", "Readers", "limits"]
