"""A clock for what judges others by their silence."""

import asyncio
import time
from collections.abc import AsyncIterator


async def ticks(period_s: float) -> AsyncIterator[float]:
    """The monotonic clock, each `period_s`.

    After the process has stood still (a paused machine, an overloaded one) a tick is left out: others may have stood
    still with it, and what they have said since has yet to arrive.
    """
    stood_still = False
    while True:
        due_at = time.monotonic() + period_s
        await asyncio.sleep(period_s)
        now = time.monotonic()
        stood_still = now - due_at > period_s and not stood_still
        if not stood_still:
            yield now
