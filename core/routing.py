"""Which provider answers a call: retries and failover along the model's routes, before the first byte."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.catalogue import Entry, Route
from core.providers.breaker import CircuitBreaker
from core.providers.port import FailureKind, Provider, ProviderFailure
from runtime.log import log

TRIES_MAX = 4
"""Provider calls made for one call of a client, over all routes."""

TRIES_PER_ROUTE = 2
BACKOFF_S = 0.1

_RETRIED = frozenset({FailureKind.UNAVAILABLE, FailureKind.PROTOCOL, FailureKind.BROKEN})
_FAULTS = frozenset({FailureKind.UNAVAILABLE, FailureKind.TIMEOUT, FailureKind.PROTOCOL, FailureKind.BROKEN})

Begun = TypeVar("Begun")


@dataclass(slots=True)
class Tally:
    """Provider calls made so far for one client call."""

    calls: int = 0


@dataclass(slots=True)
class Router:
    """Circuit breakers by provider name, and the loop that respects them. `rng` draws among routes of one order."""

    breakers: Mapping[str, CircuitBreaker] = field(default_factory=dict)
    rng: random.Random = field(default_factory=random.Random)

    async def first(
        self, entry: Entry, begin: Callable[[Route], Awaitable[Begun]], tally: Tally
    ) -> tuple[Route, Begun]:
        """The first route whose `begin` succeeds, and what that began.

        Raises the last ProviderFailure when none does; one that blames the input, at once.
        """
        last: ProviderFailure | None = None
        for route in in_turn(entry.routes, self.rng):
            for again in range(TRIES_PER_ROUTE):
                if tally.calls >= TRIES_MAX or not self._allows(route.provider):
                    break
                if again:
                    await asyncio.sleep(BACKOFF_S * (1 + self.rng.random()))
                tally.calls += 1
                try:
                    begun = await begin(route)
                except ProviderFailure as failure:
                    last = failure
                    self._record(route.provider, failure)
                    if failure.kind is FailureKind.REFUSED_INPUT:
                        raise
                    if not _worth_another_try(failure):
                        break
                except asyncio.CancelledError:
                    self.breakers[route.provider.name].abandoned(time.monotonic())
                    raise
                else:
                    self._record(route.provider, None)
                    return route, begun
        raise last or ProviderFailure(FailureKind.UNAVAILABLE, "no_route")

    def _allows(self, provider: Provider) -> bool:
        return self.breakers[provider.name].allow(time.monotonic())

    def _record(self, provider: Provider, failure: ProviderFailure | None) -> None:
        breaker = self.breakers[provider.name]
        if failure is None or failure.kind not in _FAULTS:
            breaker.succeeded(time.monotonic())
        else:
            breaker.failed(time.monotonic())
        if failure is not None and failure.kind is FailureKind.OPERATOR:
            log.error("provider.operator", provider=provider.name, status=failure.status, reason=failure.reason)


def in_turn(routes: Sequence[Route], rng: random.Random) -> Iterable[Route]:
    """The routes in the order in which they are tried: by `order`, and among equals drawn by their weights."""
    if len(routes) < 2:
        return routes
    # Exponential variates of rate `weight` come up first in proportion to the weights.
    return sorted(routes, key=lambda route: (route.order, rng.expovariate(route.weight)))


def _worth_another_try(failure: ProviderFailure) -> bool:
    """On the same route: a connection that broke before any answer, too, even if that may have cost the house."""
    return failure.kind is FailureKind.UNAVAILABLE or (failure.kind in _RETRIED and not failure.began)
