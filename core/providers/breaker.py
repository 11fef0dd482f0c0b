"""When to leave a provider alone: a circuit breaker, sans I/O. The clock is passed in; seconds, monotonic."""

from enum import Enum

BUCKETS = 10
"""Slices of the sliding window; what it remembers is their number, whatever the rate of calls."""


class Circuit(Enum):
    """What the breaker believes."""

    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """Calls are kept away until a pause is over."""
    HALF_OPEN = "half_open"
    """One call at a time tries whether the provider is back."""


class CircuitBreaker:
    """Opens when, within `window_s`, at least `calls_min` calls ended and `failure_ratio` of them failed.

    After a pause one call at a time may try: its success closes the circuit, its failure opens it again for a pause
    twice as long, up to `pause_s_max`. A try that never reports is given up after `try_s`.
    """

    __slots__ = (
        "_calls",
        "_calls_min",
        "_circuit",
        "_failure_ratio",
        "_failures",
        "_first_pause_s",
        "_pause_s",
        "_pause_s_max",
        "_slice",
        "_slice_s",
        "_try_s",
        "_until",
    )

    def __init__(
        self,
        window_s: float = 10.0,
        calls_min: int = 20,
        failure_ratio: float = 0.5,
        pause_s: float = 2.0,
        pause_s_max: float = 60.0,
        try_s: float = 30.0,
    ) -> None:
        self._slice_s = window_s / BUCKETS
        self._calls_min = calls_min
        self._failure_ratio = failure_ratio
        self._first_pause_s = self._pause_s = pause_s
        self._pause_s_max = pause_s_max
        self._try_s = try_s
        self._calls = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self._slice = 0
        self._circuit = Circuit.CLOSED
        self._until = 0.0
        """Open: end of the pause. Half-open: when the call that tries is given up."""

    @property
    def circuit(self) -> Circuit:
        """The state, for metrics and tests."""
        return self._circuit

    def allow(self, now: float) -> bool:
        """May a call start? In the half-open state, asking takes the one place to try."""
        if self._circuit is Circuit.CLOSED:
            return True
        if now < self._until:
            return False
        self._circuit = Circuit.HALF_OPEN
        self._until = now + self._try_s
        return True

    def succeeded(self, now: float) -> None:
        """A call showed that the provider works, be it by refusing the call's input."""
        if self._circuit is Circuit.HALF_OPEN:
            self._close()
        elif self._circuit is Circuit.CLOSED:
            self._turn(now)
            self._calls[self._slice % BUCKETS] += 1

    def abandoned(self, now: float) -> None:
        """A call was stopped from outside and shows nothing: its place to try is free for the next one."""
        if self._circuit is Circuit.HALF_OPEN:
            self._until = now

    def failed(self, now: float) -> None:
        """A call failed by the provider's fault."""
        if self._circuit is Circuit.HALF_OPEN:
            self._pause_s = min(self._pause_s * 2, self._pause_s_max)
            self._open(now)
        elif self._circuit is Circuit.CLOSED:
            self._turn(now)
            self._calls[self._slice % BUCKETS] += 1
            self._failures[self._slice % BUCKETS] += 1
            calls = sum(self._calls)
            if calls >= self._calls_min and sum(self._failures) >= self._failure_ratio * calls:
                self._open(now)

    def _turn(self, now: float) -> None:
        """Move the window to `now`, emptying the slices that it enters."""
        current = int(now / self._slice_s)
        if current <= self._slice:
            return
        for entered in range(max(self._slice, current - BUCKETS) + 1, current + 1):
            self._calls[entered % BUCKETS] = self._failures[entered % BUCKETS] = 0
        self._slice = current

    def _open(self, now: float) -> None:
        self._circuit = Circuit.OPEN
        self._until = now + self._pause_s

    def _close(self) -> None:
        self._circuit = Circuit.CLOSED
        self._pause_s = self._first_pause_s
        self._calls = [0] * BUCKETS
        self._failures = [0] * BUCKETS
