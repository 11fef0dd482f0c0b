"""Routes of one call, and what a stopped call leaves behind."""

import asyncio
import random
from collections import Counter

import pytest

from core.catalogue import Route
from core.providers.breaker import Circuit, CircuitBreaker
from core.providers.port import FailureKind, ProviderFailure
from core.routing import Router, Tally, in_turn


class Provider:
    name = "fake"


class Entry:
    routes = (Route(Provider(), "a/b"),)  # type: ignore[arg-type]


async def fail(_: Route) -> str:
    raise ProviderFailure(FailureKind.TIMEOUT)


async def hang(_: Route) -> str:
    await asyncio.Event().wait()
    return "never"


async def answer(_: Route) -> str:
    return "answer"


async def test_a_client_that_leaves_does_not_keep_a_provider_from_the_others() -> None:
    """While one call tries whether a provider is back, all wait for it: it must not leave without a word."""
    breaker = CircuitBreaker(calls_min=1, pause_s=0.0)
    router = Router({"fake": breaker})
    with pytest.raises(ProviderFailure):
        await router.first(Entry(), fail, Tally())  # type: ignore[arg-type]
    trying = asyncio.create_task(router.first(Entry(), hang, Tally()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert breaker.circuit is Circuit.HALF_OPEN
    with pytest.raises(ProviderFailure, match="no_route"):
        await router.first(Entry(), answer, Tally())  # type: ignore[arg-type]
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert (await router.first(Entry(), answer, Tally()))[1] == "answer"  # type: ignore[arg-type]
    assert breaker.circuit is Circuit.CLOSED


def test_routes_are_tried_by_order_and_drawn_by_weight() -> None:
    """The dearer route of last resort would take calls, or one provider all of those that two should share."""
    light, heavy, last = (
        Route(Provider(), "light", 0, 1),  # type: ignore[arg-type]
        Route(Provider(), "heavy", 0, 3),  # type: ignore[arg-type]
        Route(Provider(), "last", 1, 100),  # type: ignore[arg-type]
    )
    rng = random.Random(7)
    turns = [[route.upstream_id for route in in_turn((last, light, heavy), rng)] for _ in range(4_000)]
    assert all(turn[2] == "last" for turn in turns)
    first = Counter(turn[0] for turn in turns)
    assert 2_850 < first["heavy"] < 3_150
    again = random.Random(7)
    assert turns[0] == [route.upstream_id for route in in_turn((last, light, heavy), again)]
