"""Which processes run. Each says so now and then on core NATS; whoever listens knows when it last did, and what.

For people who look, not for decisions: nothing waits for a word of it, and a lost one is followed by the next.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from bus.connection import Connection
from bus.transport import Message
from runtime.log import log
from runtime.settings import Settings

PERIOD_S = 5.0
SILENT_S = 3 * PERIOD_S
"""Whoever has not been heard of for so long is shown as silent."""

KEPT_S = 24 * 3600.0
KEPT_MAX = 1_000
_SUBJECT = "presence"

Facts = Callable[[], dict[str, Any]]
"""What a process says of itself, as JSON can hold it: `not_ready` (why, or nothing), `position`, …"""


class Presence:
    """Says every PERIOD_S that this process is there; `stop` says that it leaves."""

    def __init__(self, connection: Connection, settings: Settings, kind: str, facts: Facts) -> None:
        self._connection = connection
        self._about = {
            "name": settings.process_name or kind,
            "kind": kind,
            "host": socket.gethostname(),
            "ops_port": settings.ops_port,
            "started_ms": time.time_ns() // 1_000_000,
        }
        self._facts = facts
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Say that the process leaves, and no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._connection.send(_SUBJECT, orjson.dumps(self._about | {"leaves": True}))

    async def _run(self) -> None:
        while True:
            self._connection.send(_SUBJECT, orjson.dumps(self._about | {"facts": self._facts()}))
            await asyncio.sleep(PERIOD_S)


class Heard(NamedTuple):
    """The last word of one process."""

    at: float  # this process's monotonic clock
    about: dict[str, Any]


class Presences:
    """Everybody who was heard of within KEPT_S. A process that starts anew takes the place of its former life."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard: dict[tuple[Any, ...], Heard] = {}

    async def start(self) -> None:
        """Begin to listen."""
        await self._connection.subscribe_direct(_SUBJECT, self._on_word)

    def all(self) -> list[tuple[float, dict[str, Any]]]:
        """Seconds since the last word of each, and what it was."""
        now = time.monotonic()
        self._heard = {key: heard for key, heard in self._heard.items() if now - heard.at < KEPT_S}
        return [(now - heard.at, heard.about) for heard in self._heard.values()]

    def _on_word(self, message: Message) -> None:
        try:
            about = orjson.loads(message.data)
            key = tuple(about[name] for name in ("kind", "name", "host", "ops_port"))
        except (ValueError, KeyError, TypeError):
            log.warning("presence.unreadable", bytes=len(message.data))
            return
        if about.get("leaves"):
            self._heard.pop(key, None)
        elif key in self._heard or len(self._heard) < KEPT_MAX:
            self._heard[key] = Heard(time.monotonic(), about)
