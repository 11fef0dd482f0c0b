"""What each event does: rules version 1.

Version 2 is in `rules_v2`; `versions` knows them all. A log written under version 1 replays under version 1.
Every handler keeps, for each account, `credits - charges - held >= 0`, and checks that it did.
"""

from collections.abc import Callable
from typing import Any

from core.ledger.accounts import Account, Key
from core.ledger.holds import check, release
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code, FoldStopped, Outcome
from core.ledger.requests import SETTLED_ATTEMPT, Request
from core.ledger.state import State
from core.ledger.windows import day_end_s, day_of, minute_end_s, minute_of
from proto.onysoft.v1 import ledger_pb2 as pb

CURRENCIES = (pb.TRY, pb.USD)
KINDS = (pb.USER, pb.PROJECT, pb.PARTNER, pb.PARTNER_CUSTOMER)


def _checkpoint(state: State, event: pb.Checkpoint) -> Outcome:
    mine = state.fingerprints.get(event.position)
    if mine is None:
        return Outcome(Code.UNCHECKED)
    if mine != (event.chain_hash, event.state_digest):
        what = "bytes of the log" if mine[0] != event.chain_hash else "state"
        raise ReplicasDiffer(event.position, what)
    return Outcome(Code.CHECKED)


def _fx_rate_set(state: State, event: pb.FxRateSet) -> Outcome:
    if event.rate_nano <= 0 or event.base == event.quote:
        return Outcome(Code.INVALID)
    if event.base not in CURRENCIES or event.quote not in CURRENCIES:
        return Outcome(Code.INVALID)
    state.fx_rates[event.base, event.quote] = event.rate_nano
    return Outcome(Code.APPLIED)


def _account_opened(state: State, event: pb.AccountOpened) -> Outcome:
    if event.account_id in state.accounts:
        return Outcome(Code.EXISTS)
    if len(event.account_id) != 12 or event.currency not in CURRENCIES or event.kind not in KINDS:
        return Outcome(Code.INVALID)
    account = Account(event.account_id, event.kind, event.currency, event.markup_bps)
    account.requests_per_minute = event.requests_per_minute
    account.requests_per_day = event.requests_per_day
    state.accounts[event.account_id] = account
    state.dirty_accounts.add(event.account_id)
    return Outcome(Code.APPLIED)


def _set_suspended(state: State, account_id: bytes, suspended: bool) -> Outcome:
    account = state.accounts.get(account_id)
    if account is None:
        return Outcome(Code.NOT_FOUND)
    if account.suspended == suspended:
        return Outcome(Code.EXISTS)
    account.suspended = suspended
    state.dirty_accounts.add(account_id)
    return Outcome(Code.APPLIED)


def _account_suspended(state: State, event: pb.AccountSuspended) -> Outcome:
    return _set_suspended(state, event.account_id, True)


def _account_resumed(state: State, event: pb.AccountResumed) -> Outcome:
    return _set_suspended(state, event.account_id, False)


def _credit_added(state: State, event: pb.CreditAdded) -> Outcome:
    account = state.accounts.get(event.account_id)
    if account is None:
        return Outcome(Code.NOT_FOUND)
    if event.amount_nano <= 0 or not event.reference or account.credits_nano + event.amount_nano > MAX_NANO:
        return Outcome(Code.INVALID)
    if event.reference in account.references:
        return Outcome(Code.EXISTS)
    account.add_reference(event.reference)
    account.credits_nano += event.amount_nano
    state.dirty_accounts.add(event.account_id)
    outcome = Outcome(Code.APPLIED)
    outcome.available_nano = account.available_nano
    return outcome


def _key_issued(state: State, event: pb.KeyIssued) -> Outcome:
    if event.account_id not in state.accounts:
        return Outcome(Code.NOT_FOUND)
    if len(event.key_id) != 12 or len(event.key_hash) != 32:
        return Outcome(Code.INVALID)
    if event.key_id in state.keys or event.key_hash in state.keys_by_hash:
        return Outcome(Code.EXISTS)
    key = Key(event.key_id, event.account_id, event.key_hash)
    state.keys[event.key_id] = state.keys_by_hash[event.key_hash] = key
    state.dirty_keys.add(event.key_id)
    return Outcome(Code.APPLIED)


def _key_revoked(state: State, event: pb.KeyRevoked) -> Outcome:
    key = state.keys.get(event.key_id)
    if key is None:
        return Outcome(Code.NOT_FOUND)
    if key.revoked:
        return Outcome(Code.EXISTS)
    key.revoked = True
    state.dirty_keys.add(event.key_id)
    return Outcome(Code.APPLIED)


def standing(state: State, account_id: bytes, key_id: bytes) -> Code | None:
    """Why a call by this key must be refused before money is looked at; None when nothing stands against it."""
    key = state.keys.get(key_id)
    if key is None or key.revoked or key.account_id != account_id:
        return Code.KEY_REFUSED
    if state.accounts[account_id].suspended:
        return Code.SUSPENDED
    return None


def over_limit(account: Account, time_ms: int) -> Code | None:
    """Which of the account's request limits the next new request would exceed."""
    in_minute = account.minute_requests if account.minute == minute_of(time_ms) else 0
    if 0 < account.requests_per_minute <= in_minute:
        return Code.MINUTE_LIMIT
    in_day = account.day_requests if account.day == day_of(time_ms) else 0
    if 0 < account.requests_per_day <= in_day:
        return Code.DAY_LIMIT
    return None


def cover(account: Account, hold_nano: int) -> Code | None:
    """Why a hold cannot be taken; None when the free balance covers it."""
    balance_nano = account.credits_nano - account.charges_nano
    if hold_nano <= balance_nano - account.held_nano:
        return None
    return Code.HELD if hold_nano <= balance_nano else Code.INSUFFICIENT


def describe_limit(outcome: Outcome, account: Account, time_ms: int) -> Outcome:
    """Fills in what rate-limit headers show."""
    minute = minute_of(time_ms)
    outcome.limit = account.requests_per_minute
    used = account.minute_requests if account.minute == minute else 0
    outcome.remaining = max(0, outcome.limit - used)
    outcome.reset_s = day_end_s(day_of(time_ms)) if outcome.code is Code.DAY_LIMIT else minute_end_s(minute)
    outcome.available_nano = account.available_nano
    return outcome


def _request_opened(state: State, event: pb.RequestOpened) -> Outcome:
    request_id, attempt, hold_nano = event.request_id, event.attempt, event.hold_nano
    account = state.accounts.get(event.account_id)
    if account is None or hold_nano < 0 or not event.lease_ms or len(request_id) != 12:
        return Outcome(Code.INVALID)
    if not 0 < attempt < SETTLED_ATTEMPT:
        return Outcome(Code.INVALID)
    if state.ended.last_attempt(request_id) >= attempt:
        return Outcome(Code.ALREADY_ENDED)
    before = state.requests.get(request_id)
    if before is not None and (before.attempt >= attempt or before.account_id != event.account_id):
        return Outcome(Code.STALE_ATTEMPT)
    superseded = _supersede(state, before) if before is not None else 0
    refusal = standing(state, event.account_id, event.key_id)
    if refusal is None and before is None:
        refusal = over_limit(account, state.time_ms)
    if refusal is None:
        refusal = cover(account, hold_nano)
    if refusal is None:
        _admit(state, account, event, counted=before is None)
    outcome = describe_limit(Outcome(refusal or Code.ADMITTED), account, state.time_ms)
    outcome.superseded = superseded
    return outcome


def _supersede(state: State, before: Request) -> int:
    """Ends the attempt before: its hold is free, and its late settlement is the house's loss."""
    if not before.expired:
        release(state, before)
    del state.requests[before.request_id]
    state.ended.add(before.request_id, before.attempt, minute_of(state.time_ms))
    return before.attempt


def _admit(state: State, account: Account, event: pb.RequestOpened, counted: bool) -> None:
    time_ms, request_id, attempt = state.time_ms, event.request_id, event.attempt
    if counted:
        minute, day = minute_of(time_ms), day_of(time_ms)
        account.minute_requests = account.minute_requests + 1 if account.minute == minute else 1
        account.minute = minute
        account.day_requests = account.day_requests + 1 if account.day == day else 1
        account.day = day
    deadline_ms = time_ms + event.lease_ms
    state.requests[request_id] = Request(request_id, attempt, account.account_id, event.hold_nano, deadline_ms)
    state.watch_deadline(deadline_ms, request_id)
    account.held_nano += event.hold_nano
    account.open_holds += 1
    state.dirty_accounts.add(account.account_id)
    check(account)


def _hold_extended(state: State, event: pb.HoldExtended) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt or request.expired:
        return Outcome(Code.NOT_OPEN)
    if event.add_nano < 0 or not event.lease_ms:
        return Outcome(Code.INVALID)
    account = state.accounts[request.account_id]
    if event.add_nano > account.available_nano:
        return Outcome(Code.EXTENSION_REFUSED)
    account.held_nano += event.add_nano
    request.hold_nano += event.add_nano
    deadline_ms = state.time_ms + event.lease_ms
    if deadline_ms > request.deadline_ms:
        request.deadline_ms = deadline_ms
        state.watch_deadline(deadline_ms, request.request_id)
    state.dirty_accounts.add(account.account_id)
    check(account)
    return Outcome(Code.EXTENDED)


def _request_settled(state: State, event: pb.RequestSettled) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt:
        return Outcome(Code.NOT_OPEN)
    if event.charge_nano < 0:
        return Outcome(Code.INVALID)
    outcome = Outcome(Code.SETTLED_LATE if request.expired else Code.SETTLED)
    account = state.accounts[request.account_id] if request.expired else release(state, request)
    outcome.charged_nano = min(event.charge_nano, account.available_nano)
    outcome.shortfall_nano = event.charge_nano - outcome.charged_nano
    account.charges_nano += outcome.charged_nano
    account.shortfall_nano = min(MAX_NANO, account.shortfall_nano + outcome.shortfall_nano)
    account.requests_settled += 1
    state.dirty_accounts.add(account.account_id)
    del state.requests[request.request_id]
    state.ended.add(request.request_id, SETTLED_ATTEMPT, minute_of(state.time_ms))
    check(account)
    return describe_limit(outcome, account, state.time_ms)


def _request_released(state: State, event: pb.RequestReleased) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt:
        return Outcome(Code.NOT_OPEN)
    if not request.expired:
        release(state, request)
    del state.requests[request.request_id]
    state.ended.add(request.request_id, request.attempt, minute_of(state.time_ms))
    return Outcome(Code.RELEASED)


class ReplicasDiffer(FoldStopped):
    """A checkpoint of another replica differs from this one: bytes were lost or changed, or a fold is wrong."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(f"the {what} at position {position} is not what the checkpoint states")


Handler = Callable[[State, Any], Outcome]

VERSION_1: dict[str, Handler] = {
    "checkpoint": _checkpoint,
    "fx_rate_set": _fx_rate_set,
    "account_opened": _account_opened,
    "account_suspended": _account_suspended,
    "account_resumed": _account_resumed,
    "credit_added": _credit_added,
    "key_issued": _key_issued,
    "key_revoked": _key_revoked,
    "request_opened": _request_opened,
    "hold_extended": _hold_extended,
    "request_settled": _request_settled,
    "request_released": _request_released,
}
