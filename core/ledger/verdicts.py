"""May a call run? The order of questions under rules version 2, asked by the fold and, ahead of it, by a core.

Key, suspension, models and blocks, free calls, requests per minute and day, daily requests, daily and monthly tokens,
balances. A limit set on a key, its account or an account above counts all calls below it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from core.ledger.accounts import FREE_CALLS, Account, Key
from core.ledger.outcome import Code, Outcome
from core.ledger.owners import LimitKind, Owner
from core.ledger.patterns import matches
from core.ledger.requests import Request
from core.ledger.state import State
from core.ledger.windows import DAY_MS, Windows, day_end_s, minute_end_s, month_end_s
from proto.onysoft.v1 import ledger_pb2 as pb

_REFUSED_BY = {
    LimitKind.REQUESTS_PER_MINUTE: Code.MINUTE_LIMIT,
    LimitKind.REQUESTS_PER_DAY: Code.DAY_LIMIT,
    LimitKind.DAILY_REQUESTS: Code.DAILY_REQUESTS,
    LimitKind.DAILY_TOKENS: Code.DAILY_TOKENS,
    LimitKind.MONTHLY_TOKENS: Code.MONTHLY_TOKENS,
}
_OF_TOKENS = (LimitKind.DAILY_TOKENS, LimitKind.MONTHLY_TOKENS)


class Refused(NamedTuple):
    """Why not, and the unix second at which that changes by itself (0: it does not)."""

    code: Code
    reset_s: int = 0


class Caller(NamedTuple):
    """A key and the account that it pays with."""

    key: Key
    account: Account

    @property
    def owners(self) -> tuple[Owner, ...]:
        """Whose limits a call counts against."""
        return (self.key, *self.account.lineage)


def find_caller(state: State, account_id: bytes, key_id: bytes) -> Caller | None:
    """The caller; None when the key is unknown or another account's."""
    key = state.keys.get(key_id)
    if key is None or key.account_id != account_id:
        return None
    return Caller(key, state.accounts[account_id])


def why_refused(
    caller: Caller, opened: pb.RequestOpened, windows: Windows, time_ms: int, counted: bool
) -> Refused | None:
    """Why a call may not run at this time; None when it may. `counted`: it is not a further attempt of a request."""
    refused = standing(caller, opened.model, opened.key_secret, time_ms)
    if refused is None and counted:
        refused = _free_calls(caller.account, opened, time_ms) or _over_limit(caller, opened.model, windows)
    return refused or cover(caller.account, opened.hold_nano, opened.parent_hold_nano)


def standing(caller: Caller, model: str, secret: int, time_ms: int) -> Refused | None:
    """Why this caller may not call this model at all."""
    key, account = caller
    if key.revoked or (key.expires_ms and time_ms >= key.expires_ms) or not key.is_secret_valid(secret, time_ms):
        return Refused(Code.KEY_REFUSED)
    if key.suspended:
        return Refused(Code.KEY_SUSPENDED)
    if any(each.suspended for each in account.lineage):
        return Refused(Code.SUSPENDED)
    if key.allowed_models and not any(matches(pattern, model) for pattern in key.allowed_models):
        return Refused(Code.KEY_MODEL_REFUSED)
    for owner in caller.owners:
        if owner.blocks and any(matches(pattern, model) for pattern in owner.blocks):
            return Refused(Code.MODEL_BLOCKED)
    return None


def _free_calls(account: Account, opened: pb.RequestOpened, time_ms: int) -> Refused | None:
    if not opened.free:
        return None
    recent = [each for each in account.free_times_ms if each + DAY_MS > time_ms]
    return Refused(Code.FREE_LIMIT, -(-(recent[0] + DAY_MS) // 1000)) if len(recent) >= FREE_CALLS else None


def _over_limit(caller: Caller, model: str, windows: Windows) -> Refused | None:
    """The first limit, in the order of kinds, that the call would exceed."""
    first: LimitKind | None = None
    for owner in caller.owners:
        kind = _whole_limit(owner, windows)
        for gauge in owner.gauges_of(model):
            if kind is not None and gauge.kind >= kind:
                break
            used = gauge.used_now(windows)
            if used + (gauge.held if gauge.kind in _OF_TOKENS else 0) >= gauge.most:
                kind = gauge.kind
        if kind is not None and (first is None or kind < first):
            first = kind
    return None if first is None else Refused(_REFUSED_BY[first], window_end_s(first, windows))


def others_reach_token_limit(owners: Iterable[Owner], request: Request, windows: Windows) -> bool:
    """Is a token limit reached even without this running call? Then its hold may not grow.

    Several calls that began with small holds could together pass a limit by far more than one of them. So the one that
    crossed it may go on to its end, and no other.
    """
    return any(
        gauge.used_now(windows) + gauge.held - request.hold_tokens >= gauge.most
        for owner in owners
        for gauge in owner.gauges_of(request.model)
        if gauge.kind in _OF_TOKENS
    )


def _whole_limit(owner: Owner, windows: Windows) -> LimitKind | None:
    """Which of the limits on all models together the next call would exceed."""
    if 0 < owner.requests_per_minute <= owner.minute_requests and owner.minute == windows.minute:
        return LimitKind.REQUESTS_PER_MINUTE
    if 0 < owner.requests_per_day <= owner.day_requests and owner.day == windows.day:
        return LimitKind.REQUESTS_PER_DAY
    return None


def window_end_s(kind: LimitKind, windows: Windows) -> int:
    """Unix seconds at which a limit of this kind turns."""
    if kind is LimitKind.REQUESTS_PER_MINUTE:
        return minute_end_s(windows.minute)
    return month_end_s(windows.month) if kind is LimitKind.MONTHLY_TOKENS else day_end_s(windows.day)


def cover(account: Account, hold_nano: int, parent_hold_nano: int) -> Refused | None:
    """Why a hold cannot be taken; None when the free balances cover it."""
    if hold_nano > account.available_nano:
        return Refused(Code.HELD if hold_nano <= account.balance_nano else Code.INSUFFICIENT)
    if parent_hold_nano:
        parent = account.lineage[1]
        if parent_hold_nano > parent.available_nano:
            return Refused(Code.PARENT_HELD if parent_hold_nano <= parent.balance_nano else Code.PARENT_INSUFFICIENT)
    return None


def describe_limit(
    outcome: Outcome, account: Account, owners: Iterable[Owner], model: str, windows: Windows, reset_s: int = 0
) -> Outcome:
    """Fills in what rate-limit headers show: of the limits of requests per minute that bound calls of a model the one
    with the least left. Without a model: of those on all calls."""
    outcome.available_nano = account.available_nano
    outcome.reset_s = reset_s or minute_end_s(windows.minute)
    for owner in owners:
        if owner.requests_per_minute:
            used = owner.minute_requests if owner.minute == windows.minute else 0
            _show_tighter(outcome, owner.requests_per_minute, used)
        for gauge in owner.gauges_of(model):
            if gauge.kind is not LimitKind.REQUESTS_PER_MINUTE:
                break
            _show_tighter(outcome, gauge.most, gauge.used_now(windows))
    return outcome


def _show_tighter(outcome: Outcome, most: int, used: int) -> None:
    remaining = max(0, most - used)
    if not outcome.limit or remaining < outcome.remaining:
        outcome.limit, outcome.remaining = most, remaining
