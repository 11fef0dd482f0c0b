"""Whose turn it is to begin a task: one pace for all cores, since the provider counts them together.

The times of the last creates stand in one record; a core writes its own behind them, over the record that it has read.
So in any `WINDOW_MS` no more than the limit begin, whichever cores they come from, as far as the cores' clocks agree.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from bus.connection import Connection
from bus.errors import BusError
from bus.tasks import read_pace, write_pace
from runtime.errors import Refusal

WINDOW_MS = 10_000
MARGIN_MS = 300
"""For the way to the provider, which differs from one create to the next, and for clocks that differ."""
TRIES = 40
BEHIND_S = 0.02


def next_turn(times_ms: Sequence[int], now_ms: int, most: int) -> int:
    """When the next create may be made, unix milliseconds: `most` in any window. `times_ms` in ascending order."""
    earliest = times_ms[-most] + WINDOW_MS + MARGIN_MS if len(times_ms) >= most else 0
    return max(now_ms, earliest, times_ms[-1] if times_ms else 0)


class CreatePace:
    """Turns to create at one provider."""

    def __init__(
        self,
        connection: Connection,
        provider: str,
        most: int,
        wait_s: float,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.refused = 0
        self._connection = connection
        self._provider = provider
        self._most = most
        self._wait_ms = int(wait_s * 1000)
        self._now_ms = now_ms
        self._own = asyncio.Lock()
        self._position = -1
        self._times_ms: list[int] = []

    def check(self) -> None:
        """Raises Refusal `service_unavailable` when no turn is near, by what this core knows without asking."""
        self._within_reach(next_turn(self._times_ms, self._now_ms(), self._most))

    async def turn(self) -> None:
        """Wait for a turn to create, and take it.

        Raises Refusal `service_unavailable`, with the time until a turn, when it would be longer than the stated wait;
        none is taken then.
        """
        async with self._own:
            at_ms = await self._reserve()
        await asyncio.sleep(max(0, at_ms - self._now_ms()) / 1000)

    async def _reserve(self) -> int:
        """Write the next free time into the record. What was read last may be old: then the write says so."""
        for _ in range(TRIES):
            try:
                if self._position < 0:
                    self._position, self._times_ms = await read_pace(self._connection, self._provider)
                at_ms = next_turn(self._times_ms, self._now_ms(), self._most)
                self._within_reach(at_ms)
                times_ms = [*self._times_ms, at_ms][-self._most :]
                written = await write_pace(self._connection, self._provider, times_ms, self._position)
            except BusError:
                self._position = -1
                raise
            if written is not None:
                self._position, self._times_ms = written, times_ms
                return at_ms
            self._position = -1
            await asyncio.sleep(BEHIND_S)
        raise Refusal("service_unavailable", retry_after_s=1)

    def _within_reach(self, at_ms: int) -> None:
        wait_ms = at_ms - self._now_ms()
        if wait_ms > self._wait_ms:
            self.refused += 1
            raise Refusal("service_unavailable", retry_after_s=max(1, -(-wait_ms // 1000)))
