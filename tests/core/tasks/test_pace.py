"""The pace of creates: too many at once and the provider rejects a customer's task that was already held for."""

import asyncio
from itertools import pairwise

import pytest

from bus.connection import Connection
from bus.streams import provision
from core.tasks.pace import MARGIN_MS, WINDOW_MS, CreatePace, next_turn
from runtime.errors import Refusal
from runtime.settings import Settings


def test_no_window_holds_more_than_the_limit() -> None:
    """20 creates in any 10 s, however the requests come: at once, in drops, after a pause."""
    times: list[int] = []
    now = 1_000_000
    for step in [0] * 50 + [100] * 50 + [30_000] + [0] * 30:
        now += step
        turn = next_turn(times[-20:], now, 20)
        assert turn >= now
        times.append(turn)
    assert times == sorted(times)
    for first, last in zip(times, times[20:], strict=False):
        assert last - first > WINDOW_MS
    assert times[19] == times[0], "a burst of the whole limit begins at once"


async def test_two_cores_share_one_pace(settings: Settings, connection: Connection) -> None:
    """Each core alone would keep the limit, and both together would break it."""
    await provision(connection, settings)
    now = 5_000_000
    cores = [CreatePace(connection, "kie", 4, 3_600, lambda: now) for _ in range(2)]
    turns = await asyncio.gather(*(core._reserve() for core in cores for _ in range(8)))
    turns.sort()
    for first, last in zip(turns, turns[4:], strict=False):
        assert last - first >= WINDOW_MS + MARGIN_MS
    assert all(later >= earlier for earlier, later in pairwise(turns))


async def test_who_would_wait_too_long_is_refused_with_the_time(settings: Settings, connection: Connection) -> None:
    """A client learns when to come back, and takes no turn from those who wait."""
    await provision(connection, settings)
    now = 5_000_000
    pace = CreatePace(connection, "kie", 2, 5.0, lambda: now)
    for _ in range(2):
        await pace.turn()
    with pytest.raises(Refusal) as caught:
        await pace.turn()
    assert (caught.value.error.code, caught.value.retry_after_s) == ("service_unavailable", 11)
    with pytest.raises(Refusal):
        pace.check()
    now += WINDOW_MS + MARGIN_MS
    await pace.turn()
    assert pace.refused == 2
