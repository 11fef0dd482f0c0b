"""The clock that judges silence."""

import asyncio
import time

from runtime.ticks import ticks

PERIOD_S = 0.05


async def test_a_clock_ticks() -> None:
    """Nothing would ever time out."""
    clock = ticks(PERIOD_S)
    first = await anext(clock)
    assert await anext(clock) - first >= PERIOD_S
    await clock.aclose()  # type: ignore[attr-defined]


async def test_nobody_is_judged_right_after_a_pause() -> None:
    """A machine that stood still would take everybody on it for dead."""
    clock = ticks(PERIOD_S)
    waiting = asyncio.create_task(anext(clock))  # type: ignore[arg-type]
    await asyncio.sleep(PERIOD_S / 10)
    time.sleep(PERIOD_S * 3)  # noqa: ASYNC251  the pause
    awake_at = time.monotonic()
    assert await waiting - awake_at >= PERIOD_S
    await clock.aclose()  # type: ignore[attr-defined]


async def test_a_process_that_is_always_late_still_judges() -> None:
    """Under lasting overload nothing would ever time out."""
    clock = ticks(PERIOD_S)
    for _ in range(3):
        waiting = asyncio.create_task(anext(clock))  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.sleep(0)
            time.sleep(PERIOD_S * 3)  # noqa: ASYNC251  the pause
            await asyncio.sleep(0)
        await asyncio.wait_for(waiting, 60)
    await clock.aclose()  # type: ignore[attr-defined]
