"""The circuit breaker: a dead provider costs few calls, and a living one is found again."""

from hypothesis import given
from hypothesis import strategies as st

from core.providers.breaker import BUCKETS, Circuit, CircuitBreaker


def broken(now: float = 100.0) -> CircuitBreaker:
    """Opened at `now`, with a pause of 2 s."""
    breaker = CircuitBreaker(calls_min=4)
    for _ in range(4):
        assert breaker.allow(now)
        breaker.failed(now)
    return breaker


def test_it_opens_at_the_ratio_and_not_before() -> None:
    breaker = CircuitBreaker(calls_min=4, failure_ratio=0.5)
    for _ in range(3):
        breaker.succeeded(100.0)
    for _ in range(2):
        breaker.failed(100.0)
    assert breaker.allow(100.0)
    breaker.failed(100.0)
    assert not breaker.allow(100.0)


def test_few_failures_are_no_proof() -> None:
    """One failure at night would close a shop that has no other calls."""
    breaker = CircuitBreaker(calls_min=20)
    for _ in range(19):
        breaker.failed(100.0)
    assert breaker.allow(100.0)


def test_old_failures_are_forgotten() -> None:
    breaker = CircuitBreaker(window_s=10.0, calls_min=20)
    for second in range(200):
        breaker.failed(second * 1.2)
        assert breaker.allow(second * 1.2)


def test_after_the_pause_one_call_tries() -> None:
    """All waiting calls at once would break a provider that just came back."""
    breaker = broken()
    assert not breaker.allow(101.9)
    assert breaker.allow(102.0)
    assert not breaker.allow(102.0)
    breaker.succeeded(103.0)
    assert breaker.circuit is Circuit.CLOSED
    assert breaker.allow(103.0)


def test_a_try_that_is_abandoned_gives_its_place_to_the_next() -> None:
    """One client that leaves would keep a provider that is back from everybody for half a minute."""
    breaker = broken()
    assert breaker.allow(102.0)
    breaker.abandoned(102.1)
    assert breaker.allow(102.1)
    assert not breaker.allow(102.1)
    breaker.succeeded(102.2)
    assert breaker.circuit is Circuit.CLOSED


def test_an_abandoned_call_does_not_open_or_close_anything() -> None:
    breaker = CircuitBreaker(calls_min=1)
    breaker.abandoned(100.0)
    assert breaker.allow(100.0)
    breaker = broken()
    breaker.abandoned(100.5)
    assert not breaker.allow(101.0)


def test_failed_tries_wait_longer_up_to_a_limit() -> None:
    breaker, now, pauses = broken(), 100.0, []
    for _ in range(8):
        started = now
        while not breaker.allow(now):
            now += 0.5
        pauses.append(now - started)
        breaker.failed(now)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_makes_the_next_pause_short_again() -> None:
    breaker = broken()
    assert breaker.allow(102.0)
    breaker.failed(102.0)
    assert breaker.allow(106.0)
    breaker.succeeded(106.0)
    for _ in range(4):
        breaker.failed(107.0)
    assert not breaker.allow(108.9)
    assert breaker.allow(109.0)


def test_a_try_that_never_reports_does_not_close_the_way_for_ever() -> None:
    """A cancelled call would take the only place to try with it."""
    breaker = broken()
    assert breaker.allow(102.0)
    assert not breaker.allow(131.9)
    assert breaker.allow(132.0)


def test_calls_begun_before_it_opened_change_nothing_while_it_is_open() -> None:
    breaker = broken()
    breaker.succeeded(100.5)
    breaker.failed(100.6)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.allow(102.0)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200))
def test_closed_means_that_the_window_is_below_the_ratio(steps: list[tuple[float, bool]]) -> None:
    """Against a plain list of all calls: the slices may forget up to one slice early, and never count what is older."""
    breaker, now, calls = CircuitBreaker(window_s=10.0, calls_min=5), 1_000.0, list[tuple[int, bool]]()
    for pause, failed in steps:
        now += pause
        (breaker.failed if failed else breaker.succeeded)(now)
        calls.append((int(now), failed))
        window = [bad for second, bad in calls if second > int(now) - BUCKETS]
        opened = failed and len(window) >= 5 and sum(window) >= 0.5 * len(window)
        assert (breaker.circuit is Circuit.OPEN) is opened
        if opened:
            return
