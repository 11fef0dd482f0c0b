"""Minutes, Istanbul days and months of rules version 2: to the millisecond, at month ends and on 29 February."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.limits import describe
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from core.ledger.windows import day_of, month_end_s, month_of_day, windows_of
from tests.model.ledger_log import Log, name, replay
from tests.model.tree_log import call, grown, limited, paid, tree

ISTANBUL = ZoneInfo("Europe/Istanbul")
LONG_MS = 4_000_000_000

MIDNIGHTS = ["2026-05-06", "2026-03-29", "2026-10-25", "2028-02-29"]
MONTH_STARTS = ["2026-02-01", "2026-03-01", "2026-12-01", "2027-01-01", "2028-03-01", "2100-03-01", "2027-05-01"]


def unix_ms(text: str) -> int:
    """Milliseconds of an Istanbul wall-clock time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ISTANBUL).timestamp() * 1000)


def used_up(before_ms: int, pattern: str, **limits: int) -> Log:
    """A tree in which `pro` has used up these limits at that time."""
    log = tree(now_ms=before_ms - 1000)
    log.append(limited("org", pattern, **limits))
    log.now_ms = before_ms
    log.append(call("use", tokens=9, key="key-pro"), paid("use", tokens=(4, 5)))
    return log


def ask(log: Log, at_ms: int) -> Outcome:
    log.now_ms = at_ms
    return log.append(call(f"at {at_ms % 10**7}", key="key-pri"))[0]


@pytest.mark.parametrize("pattern", ["m", "*"])
@pytest.mark.parametrize("midnight", MIDNIGHTS + MONTH_STARTS)
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"requests_per_day": 1}, Code.DAY_LIMIT),
        ({"daily_requests": 1}, Code.DAILY_REQUESTS),
        ({"daily_tokens": 9}, Code.DAILY_TOKENS),
    ],
)
def test_a_day_turns_at_midnight_in_istanbul(midnight: str, limits: dict[str, int], code: Code, pattern: str) -> None:
    """A customer's day would begin at three in the morning, or its last millisecond would be free."""
    start = unix_ms(f"{midnight}T00:00:00.000")
    log = used_up(start - 86_400_000, pattern, **limits)
    refused = ask(log, start - 1)  # 23:59:59.999
    assert (refused.code, refused.reset_s) == (code, start // 1000)
    assert ask(log, start).code is Code.ADMITTED


@pytest.mark.parametrize("pattern", ["m", "*"])
@pytest.mark.parametrize("first", MONTH_STARTS)
def test_a_month_turns_at_midnight_of_its_first_day(first: str, pattern: str) -> None:
    """A month would have 28 days, or the 29th of February would be in March."""
    start = unix_ms(f"{first}T00:00:00.000")
    last_day = unix_ms(f"{first}T00:00:00.000") - 86_400_000
    log = used_up(last_day - 27 * 86_400_000, pattern, monthly_tokens=9)
    assert (ask(log, last_day).code, ask(log, last_day).reset_s) == (Code.MONTHLY_TOKENS, start // 1000)
    assert ask(log, start - 1).code is Code.MONTHLY_TOKENS
    assert ask(log, start).code is Code.ADMITTED


def test_the_29th_of_february_is_a_day_of_february() -> None:
    """A leap day's tokens would be in no month, or in two."""
    log = used_up(unix_ms("2028-02-29T12:00"), "*", monthly_tokens=9)
    assert ask(log, unix_ms("2028-02-29T23:59:59.999")).code is Code.MONTHLY_TOKENS
    assert ask(log, unix_ms("2028-03-01T00:00")).code is Code.ADMITTED
    log = used_up(unix_ms("2028-02-28T23:59:59.999"), "*", monthly_tokens=9, daily_requests=1)
    assert ask(log, unix_ms("2028-02-29T00:00")).code is Code.MONTHLY_TOKENS


@pytest.mark.parametrize("pattern", ["m", "*"])
def test_a_minute_turns_with_the_clock(pattern: str) -> None:
    """A client would be refused for longer than its Retry-After says."""
    start = unix_ms("2026-05-06T12:01:00.000")
    log = used_up(start - 60_000, pattern, requests_per_minute=1)
    refused = ask(log, start - 1)
    assert (refused.code, refused.reset_s, refused.remaining) == (Code.MINUTE_LIMIT, start // 1000, 0)
    admitted = ask(log, start)
    assert (admitted.code, admitted.limit, admitted.remaining) == (Code.ADMITTED, 1, 0)
    assert ask(log, start).code is not Code.ADMITTED


def test_tokens_count_in_the_window_of_their_settlement_and_holds_in_every_window() -> None:
    """A call over midnight would count on neither day, or leave the new day's limit open."""
    midnight = unix_ms("2026-06-01T00:00")
    log = tree(now_ms=midnight - 2)
    log.append(limited("ann", "m", daily_tokens=10, monthly_tokens=12), call(1, tokens=10, lease_ms=LONG_MS))
    log.now_ms = midnight
    assert log.code(call(2)) is Code.DAILY_TOKENS
    assert log.codes(paid(1, tokens=(5, 4)), call(3, tokens=1), call(4)) == [
        Code.SETTLED,
        Code.ADMITTED,
        Code.DAILY_TOKENS,
    ]
    use = log.state.accounts[name("ann")].uses["m"]
    assert (use.day, use.day_tokens, use.month_tokens) == (day_of(midnight), 9, 9)


def test_a_limit_that_is_set_later_finds_this_window_only() -> None:
    """Yesterday's calls would count today."""
    midnight = unix_ms("2026-06-02T00:00")
    log = tree(now_ms=midnight - 1)
    for n in range(3):
        log.append(call(n, tokens=5), paid(n, tokens=(5, 0)))
    log.now_ms = midnight
    log.append(call(5), paid(5, tokens=(1, 0)))
    log.append(limited("ann", "m", requests_per_minute=2, daily_requests=2, daily_tokens=2, monthly_tokens=17))
    assert log.codes(call(6), call(7)) == [Code.ADMITTED, Code.MINUTE_LIMIT]
    log.append(paid(6, tokens=(1, 0)), limited("ann", "m", requests_per_minute=0))
    assert log.code(call(8)) is Code.DAILY_REQUESTS
    log.append(limited("ann", "m", daily_requests=0))
    assert log.code(call(8)) is Code.DAILY_TOKENS
    log.append(limited("ann", "m", daily_tokens=0))
    assert log.code(call(8)) is Code.MONTHLY_TOKENS


def test_what_a_month_used_is_forgotten_when_it_is_over() -> None:
    """The state would grow with every model that was ever called."""
    end = unix_ms("2026-07-01T00:00")
    log = tree(now_ms=end - 5000)
    log.append(limited("ann", "m*", daily_tokens=99), call("open", tokens=3, model="m-open", lease_ms=LONG_MS))
    log.append(call(1, model="m-done"), paid(1, tokens=(3, 0)))
    ann, key = log.state.accounts[name("ann")], log.state.keys[name("key-ann")]
    assert ann.uses.keys() == key.uses.keys() == {"m-open", "m-done"}
    log.now_ms = end
    log.append()
    assert ann.uses.keys() == key.uses.keys() == {"m-open"}  # it holds tokens still
    digest = log.state.digest()
    assert digest == replay(log.messages).digest() == State.from_snapshot(log.state.to_snapshot()).digest()
    log.append(paid("open", tokens=(1, 1)))
    log.now_ms = unix_ms("2026-08-01T00:00")
    log.append()
    assert ann.uses == key.uses == {}
    assert log.state.digest() == replay(log.messages).digest()


def test_only_accounts_that_forgot_something_change_at_the_turn_of_a_month() -> None:
    """Every account would be hashed and written again in the first second of each month."""
    end = unix_ms("2026-07-01T00:00")
    log = tree(now_ms=end - 1)
    log.append(call(1, key="key-pro"), paid(1))
    log.state.take_changed_accounts()
    log.now_ms = end
    log.append()
    assert log.state.take_changed_accounts() == {name("pro"), name("org")}


def test_models_that_were_refused_are_forgotten_too() -> None:
    """Memory would grow with each name that somebody made up."""
    log = tree()
    log.append(limited("ann", "*", daily_requests=1), call(0))
    log.append(*(call(n, model=f"made up {n}") for n in range(1, 50)))
    owner = log.state.accounts[name("ann")]
    assert len(owner._governing) > 40
    log.later(32 * 86_400_000)
    assert len(owner._governing) == 0


def test_a_hold_that_grows_after_its_models_use_was_forgotten_is_in_every_digest() -> None:
    """A replica that starts from a snapshot would refuse it, or stop at the next checkpoint."""
    end = unix_ms("2026-07-01T00:00")
    log = tree(now_ms=end - 5000)
    log.append(call(1, tokens=0, lease_ms=LONG_MS, key="key-cem"))
    log.now_ms = end
    log.append()
    log.state.digest()
    log.append(grown(1, tokens=5, lease_ms=LONG_MS))
    digest = log.state.digest()
    assert digest == replay(log.messages).digest() == State.from_snapshot(log.state.to_snapshot()).digest()


@given(st.integers(unix_ms("2017-01-01"), unix_ms("2101-01-01")))
def test_months_agree_with_the_time_zone_database(time_ms: int) -> None:
    """Statements would put tokens into the wrong month."""
    local = datetime.fromtimestamp(time_ms // 1000, ISTANBUL)
    windows = windows_of(time_ms)
    assert (windows.month, windows.day) == (local.year * 12 + local.month - 1, day_of(time_ms))
    assert windows.month == month_of_day(windows.day)
    end = datetime.fromtimestamp(month_end_s(windows.month), ISTANBUL)
    assert (end.day, end.hour, end.minute, end.second) == (1, 0, 0, 0)
    assert end.year * 12 + end.month - 1 == windows.month + 1


def test_people_read_when_each_window_turns() -> None:
    """An operator would promise a customer the wrong hour."""
    log = tree(now_ms=unix_ms("2028-02-29T23:59:59.999"))
    log.append(limited("ann", "m", requests_per_minute=1, daily_requests=2, monthly_tokens=3))
    log.append(limited("ann", requests_per_day=4), call(1), paid(1, tokens=(1, 0)))
    first = unix_ms("2028-03-01T00:00")
    now = {row.kind: (row.used, row.resets_ms) for row in describe(log.state, name("ann"), 0)[:-1]}
    assert now == dict.fromkeys(
        ("requests_per_minute", "requests_per_day", "daily_requests", "monthly_tokens"), (1, first)
    )
    after = {row.kind: (row.used, row.resets_ms) for row in describe(log.state, name("ann"), first)[:-1]}
    assert after == {
        "requests_per_minute": (0, first + 60_000),
        "requests_per_day": (0, first + 86_400_000),
        "daily_requests": (0, first + 86_400_000),
        "monthly_tokens": (0, unix_ms("2028-04-01T00:00")),
    }
