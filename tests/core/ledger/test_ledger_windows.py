"""Minutes and Istanbul days: when a limit begins anew."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.outcome import Code
from core.ledger.windows import day_end_s, day_of, minute_end_s, minute_of
from tests.model.ledger_log import Log, account_opened, credit_added, key_issued, name, opened, settled

ISTANBUL = ZoneInfo("Europe/Istanbul")
EPOCH = datetime(1970, 1, 1).toordinal()


def unix_ms(text: str) -> int:
    """Milliseconds of an Istanbul wall-clock time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ISTANBUL).timestamp() * 1000)


def limited(at: str, per_minute: int = 0, per_day: int = 0) -> Log:
    """An account with limits, at an Istanbul time."""
    log = Log(now_ms=unix_ms(at))
    log.append(account_opened("ann", per_minute, per_day), credit_added(10**12), key_issued())
    return log


@pytest.mark.parametrize(
    "midnight",
    ["2026-02-01", "2026-03-29", "2026-10-25", "2027-01-01", "2028-02-29", "2028-03-01", "2026-12-31", "2100-03-01"],
)
def test_a_day_begins_at_midnight_in_istanbul(midnight: str) -> None:
    """A customer's daily limit would begin anew at three in the morning, or twice when Europe changes its clocks."""
    start = unix_ms(f"{midnight}T00:00:00.000")
    before = start - 1
    assert datetime.fromtimestamp(before // 1000, ISTANBUL).strftime("%H:%M:%S") == "23:59:59"
    assert day_of(start) == day_of(before) + 1
    assert day_of(start) == datetime.fromisoformat(midnight).toordinal() - EPOCH
    assert day_end_s(day_of(before)) == start // 1000
    assert day_of(start + 86_399_999) == day_of(start)


@given(st.integers(unix_ms("2017-01-01"), unix_ms("2037-01-01")))
def test_windows_agree_with_the_time_zone_database(time_ms: int) -> None:
    """Statements would put calls on the wrong day."""
    local = datetime.fromtimestamp(time_ms // 1000, ISTANBUL)
    assert day_of(time_ms) == local.toordinal() - EPOCH
    assert minute_of(time_ms) * 60 <= time_ms // 1000 < minute_end_s(minute_of(time_ms))
    assert day_end_s(day_of(time_ms)) > time_ms // 1000
    assert datetime.fromtimestamp(day_end_s(day_of(time_ms)), ISTANBUL).strftime("%H:%M:%S") == "00:00:00"


def test_the_minute_limit_lasts_until_the_minute_is_over() -> None:
    """A client would be refused longer than its Retry-After says, or get more calls than it may."""
    log = limited("2026-05-05T12:00:00.000", per_minute=2)
    assert [o.remaining for o in log.append(opened(1, 0), opened(2, 0))] == [1, 0]
    refused = log.append(opened(3, 0))[0]
    assert (refused.code, refused.limit, refused.remaining) == (Code.MINUTE_LIMIT, 2, 0)
    assert refused.reset_s == unix_ms("2026-05-05T12:01:00") // 1000
    log.now_ms = unix_ms("2026-05-05T12:00:59.999")
    assert log.code(opened(3, 0)) is Code.MINUTE_LIMIT
    log.now_ms += 1
    fresh = log.append(opened(3, 0))[0]
    assert (fresh.code, fresh.remaining) == (Code.ADMITTED, 1)
    assert fresh.reset_s == unix_ms("2026-05-05T12:02:00") // 1000


def test_remaining_is_whole_again_in_a_new_minute_even_for_a_refusal() -> None:
    """Headers would show the last minute's use."""
    log = limited("2026-05-05T12:00:00", per_minute=2)
    log.append(opened(1, 0), opened(2, 0))
    log.later(60_000)
    outcome = log.append(opened(3, 10**15))[0]
    assert (outcome.code, outcome.remaining) == (Code.INSUFFICIENT, 2)


@pytest.mark.parametrize("night", ["2026-01-31", "2028-02-28", "2028-02-29", "2026-12-31"])
def test_the_day_limit_lasts_until_midnight_in_istanbul(night: str) -> None:
    """A customer would be locked out after midnight, or could double the limit before it."""
    log = limited(f"{night}T00:00:00.000", per_day=2)
    assert log.codes(opened(1, 0), opened(2, 0)) == [Code.ADMITTED, Code.ADMITTED]
    log.now_ms = unix_ms(f"{night}T23:59:59.999")
    refused = log.append(opened(3, 0))[0]
    assert (refused.code, refused.reset_s) == (Code.DAY_LIMIT, (log.now_ms + 1) // 1000)
    log.now_ms += 1
    assert log.codes(opened(3, 0), opened(4, 0), opened(5, 0)) == [Code.ADMITTED, Code.ADMITTED, Code.DAY_LIMIT]


def test_the_minute_limit_is_told_before_the_day_limit() -> None:
    """A client would be told to give up for the day when a minute is enough, or the other way round."""
    log = limited("2026-05-05T12:00:00", per_minute=1, per_day=1)
    log.append(opened(1, 0))
    assert log.code(opened(2, 0)) is Code.MINUTE_LIMIT
    log.later(60_000)
    outcome = log.append(opened(2, 0))[0]
    assert outcome.code is Code.DAY_LIMIT
    assert outcome.reset_s == unix_ms("2026-05-06T00:00:00") // 1000


def test_no_limit_means_no_limit() -> None:
    """An account without limits would be refused its first call."""
    log = limited("2026-05-05T12:00:00")
    assert set(log.codes(*(opened(n, 0) for n in range(200)))) == {Code.ADMITTED}
    outcome = log.append(opened(999, 0))[0]
    assert (outcome.limit, outcome.remaining) == (0, 0)


def test_a_settlement_uses_up_no_limit() -> None:
    """Each call would count twice."""
    log = limited("2026-05-05T12:00:00", per_minute=3)
    log.append(opened(1, 0))
    assert log.append(settled(1, 0))[0].remaining == 2
    account = log.state.accounts[name("ann")]
    assert (account.minute_requests, account.day_requests) == (1, 1)


def test_the_logs_time_never_goes_back() -> None:
    """A server's clock set back would give the last minute's limit a second time, and revive expired holds."""
    log = limited("2026-05-05T12:00:00", per_minute=1)
    log.append(opened(1, 0))
    log.now_ms -= 3_600_000
    assert log.code(opened(2, 0)) is Code.MINUTE_LIMIT
    assert log.state.time_ms == unix_ms("2026-05-05T12:00:00")
    assert log.state.requests[name(1)].deadline_ms == log.state.time_ms + 60_000


def test_istanbul_is_three_hours_ahead_the_year_round() -> None:
    """A change of Turkish law needs a new rules version; this test then says so."""
    for month in range(1, 13):
        offset = datetime(2026, month, 15, tzinfo=ISTANBUL).utcoffset()
        assert offset == timezone(timedelta(hours=3)).utcoffset(None)
