"""Calls of free models: five in a rolling day for each account."""

from core.ledger.outcome import Code
from core.ledger.windows import DAY_MS
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import TRY, name, released
from tests.model.tree_log import call, limited, paid, tree


def free(request: str | int, key: str = "key-ann", attempt: int = 1, hold_nano: int = 0) -> pb.Event:
    return call(request, hold_nano, key=key, free=True, attempt=attempt)


def test_five_free_calls_in_a_rolling_day() -> None:
    """Free models would be used without bound, or a caller would wait for midnight."""
    log = tree(0)
    start_ms = log.now_ms
    for n in range(5):
        assert log.code(free(n)) is Code.ADMITTED
        log.now_ms += 1000
    outcome = log.append(free(5))[0]
    assert (outcome.code, outcome.reset_s) == (Code.FREE_LIMIT, (start_ms + DAY_MS) // 1000)
    log.now_ms = start_ms + DAY_MS - 1
    assert log.code(free(6)) is Code.FREE_LIMIT
    log.now_ms += 1
    assert log.codes(free(7), free(8)) == [Code.ADMITTED, Code.FREE_LIMIT]
    log.now_ms += 1000
    assert log.codes(free(9), free(10)) == [Code.ADMITTED, Code.FREE_LIMIT]
    log.now_ms += DAY_MS
    assert log.codes(*(free(n) for n in range(20, 26))) == [Code.ADMITTED] * 5 + [Code.FREE_LIMIT]
    assert len(log.state.accounts[name("ann")].free_times_ms) == 5


def test_the_hint_is_never_too_early() -> None:
    """A client that waits as told would be refused again."""
    log = tree(0)
    log.now_ms += 1
    log.append(*(free(n) for n in range(5)))
    reset_s = log.append(free(5))[0].reset_s
    assert reset_s == -(-(log.now_ms + DAY_MS) // 1000)
    log.now_ms = reset_s * 1000
    assert log.code(free(6)) is Code.ADMITTED


def test_the_account_counts_over_all_its_keys_and_for_itself() -> None:
    """A caller would get five more with each key, or lose them to another account of its organisation."""
    log = tree(0)
    codes = log.codes(*(free(n, "key-pro" if n % 2 else "key2-pro") for n in range(6)), free("pri", "key-pri"))
    assert codes == [Code.ADMITTED] * 5 + [Code.FREE_LIMIT, Code.ADMITTED]


def test_paid_calls_neither_count_nor_are_refused() -> None:
    """A paying caller would be refused."""
    log = tree(10 * TRY)
    log.append(*(call(f"p{n}") for n in range(9)))
    log.append(*(free(n) for n in range(5)))
    assert log.codes(call("p", TRY), free(9)) == [Code.ADMITTED, Code.FREE_LIMIT]


def test_a_refused_call_does_not_count_and_an_admitted_one_does_however_it_ends() -> None:
    """A caller would lose calls that never ran, or get more by breaking them off."""
    log = tree(0)
    log.append(*(free(f"big{n}", hold_nano=1) for n in range(5)))
    assert log.codes(*(free(n) for n in range(3)), released(0), paid(1)) == [Code.ADMITTED] * 3 + [
        Code.RELEASED,
        Code.SETTLED,
    ]
    assert log.codes(free(3), free(4), free(5)) == [Code.ADMITTED, Code.ADMITTED, Code.FREE_LIMIT]


def test_a_further_attempt_of_a_free_call_counts_once_and_is_not_refused() -> None:
    """A core's death would use up the day."""
    log = tree(0)
    assert log.codes(*(free(n) for n in range(5)), free(4, attempt=2)) == [Code.ADMITTED] * 6
    assert len(log.state.accounts[name("ann")].free_times_ms) == 5


def test_free_calls_come_before_other_limits() -> None:
    """A client would be told to wait a minute for what needs a day."""
    log = tree(0)
    log.append(limited("ann", requests_per_minute=5), *(free(n) for n in range(5)))
    assert log.codes(free(5), call(6)) == [Code.FREE_LIMIT, Code.MINUTE_LIMIT]
