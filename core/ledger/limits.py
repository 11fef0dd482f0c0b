"""What an account or key has used of its limits, for people to read. No verdict is made here."""

from typing import NamedTuple

from core.ledger.accounts import FREE_CALLS, Account, Key
from core.ledger.owners import LimitKind
from core.ledger.patterns import EVERY
from core.ledger.state import State
from core.ledger.verdicts import window_end_s
from core.ledger.windows import DAY_MS, Windows, windows_of

FREE_CALLS_KIND = "free_model_requests"


class Row(NamedTuple):
    """One limit. `resets_ms` is when its window is over; for free calls, which roll, when the oldest stops to count,
    or 0 where none does."""

    pattern: str
    kind: str
    most: int
    used: int
    held: int
    left: int
    resets_ms: int


def describe(state: State, owner_id: bytes, now_ms: int) -> list[Row]:
    """All limits of an account or key: those on all calls first, then those of patterns, then the free calls.

    Read at `now_ms`, or at the log's time where that is later. Raises KeyError for an unknown id.
    """
    owner: Account | Key = state.accounts.get(owner_id) or state.keys[owner_id]
    now_ms = max(now_ms, state.time_ms)
    windows = windows_of(now_ms)
    rows = _whole(owner, windows)
    for gauge in sorted(owner.gauges(), key=lambda gauge: (gauge.kind, gauge.pattern)):
        tokens = gauge.kind in (LimitKind.DAILY_TOKENS, LimitKind.MONTHLY_TOKENS)
        held = gauge.held if tokens else 0
        rows.append(_row(gauge.pattern, gauge.kind, gauge.most, gauge.used_now(windows), held, windows))
    if isinstance(owner, Account):
        rows.append(_free_calls(owner, now_ms))
    return rows


def _whole(owner: Account | Key, windows: Windows) -> list[Row]:
    """The limits of requests on all models together."""
    rows = []
    if owner.requests_per_minute:
        used = owner.minute_requests if owner.minute == windows.minute else 0
        kind = LimitKind.REQUESTS_PER_MINUTE
        rows.append(_row(EVERY, kind, owner.requests_per_minute, used, 0, windows))
    if owner.requests_per_day:
        used = owner.day_requests if owner.day == windows.day else 0
        rows.append(_row(EVERY, LimitKind.REQUESTS_PER_DAY, owner.requests_per_day, used, 0, windows))
    return rows


def _row(pattern: str, kind: LimitKind, most: int, used: int, held: int, windows: Windows) -> Row:
    left = max(0, most - used - held)
    return Row(pattern, kind.name.lower(), most, used, held, left, window_end_s(kind, windows) * 1000)


def _free_calls(account: Account, now_ms: int) -> Row:
    recent = [each for each in account.free_times_ms if each + DAY_MS > now_ms]
    resets_ms = recent[0] + DAY_MS if recent else 0
    return Row(EVERY, FREE_CALLS_KIND, FREE_CALLS, len(recent), 0, max(0, FREE_CALLS - len(recent)), resets_ms)
