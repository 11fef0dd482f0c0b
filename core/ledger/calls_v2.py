"""What the events of a call do under rules version 2: opened, extended, submitted as a task, settled, released.

A partner customer's call has two legs in one event: its own in its currency, its parent's in the parent's. Both must
pass, and each keeps `credits - charges - held >= 0` by itself.
"""

from core.ledger import holds
from core.ledger.accounts import Account
from core.ledger.holds import check
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code, Outcome
from core.ledger.requests import SETTLED_ATTEMPT, Request
from core.ledger.rules import Handler
from core.ledger.state import State
from core.ledger.verdicts import (
    Caller,
    cover,
    describe_limit,
    find_caller,
    others_reach_token_limit,
    why_refused,
)
from core.ledger.windows import DAY_MS
from proto.onysoft.v1 import ledger_pb2 as pb

TASK_LEASE_MS_MAX = 7 * DAY_MS
HOLD_TOKENS_MAX = 2**40
"""Tokens that one request may hold: far beyond any context, and far below what the state can store."""


def _request_opened(state: State, event: pb.RequestOpened) -> Outcome:
    account = state.accounts.get(event.account_id)
    if account is None or not _is_well_formed(event, account):
        return Outcome(Code.INVALID)
    if state.ended.last_attempt(event.request_id) >= event.attempt:
        return Outcome(Code.ALREADY_ENDED)
    before = state.requests.get(event.request_id)
    if before is not None and (before.attempt >= event.attempt or before.account_id != event.account_id or before.task):
        return Outcome(Code.STALE_ATTEMPT)
    superseded = _supersede(state, before) if before is not None else 0
    caller = find_caller(state, event.account_id, event.key_id)
    if caller is None:
        outcome = describe_limit(Outcome(Code.KEY_REFUSED), account, account.lineage, event.model, state.windows)
    else:
        outcome = _decide(state, caller, event, counted=before is None)
    outcome.superseded = superseded
    return outcome


def _is_well_formed(event: pb.RequestOpened, account: Account) -> bool:
    if len(event.request_id) != 12 or not 0 < event.attempt < SETTLED_ATTEMPT or not event.lease_ms:
        return False
    if event.hold_nano < 0 or event.parent_hold_nano < 0 or event.hold_tokens > HOLD_TOKENS_MAX:
        return False
    if account.payer is None:
        return not event.parent_hold_nano
    return bool(event.parent_hold_nano) == bool(event.hold_nano)


def _supersede(state: State, before: Request) -> int:
    """Ends the attempt before: its hold is free, and its late settlement is the house's loss."""
    if not before.expired:
        holds.release(state, before)
    del state.requests[before.request_id]
    state.ended.add(before.request_id, before.attempt, state.windows.minute)
    return before.attempt


def _decide(state: State, caller: Caller, event: pb.RequestOpened, counted: bool) -> Outcome:
    refused = why_refused(caller, event, state.windows, state.time_ms, counted)
    if refused is not None:
        outcome = Outcome(refused.code)
    else:
        outcome = Outcome(Code.ADMITTED)
        _admit(state, caller, event, counted)
    reset_s = 0 if refused is None else refused.reset_s
    return describe_limit(outcome, caller.account, caller.owners, event.model, state.windows, reset_s)


def _admit(state: State, caller: Caller, event: pb.RequestOpened, counted: bool) -> None:
    key, account = caller
    if counted:
        for owner in caller.owners:
            owner.count_request(event.model, state.windows)
        if event.free:
            recent = [each for each in account.free_times_ms if each + DAY_MS > state.time_ms]
            account.free_times_ms = [*recent, state.time_ms]
    key.last_used_ms = state.time_ms
    request = Request(
        event.request_id, event.attempt, account.account_id, event.hold_nano, state.time_ms + event.lease_ms
    )
    request.key_id, request.model = event.key_id, event.model
    request.parent_hold_nano, request.hold_tokens = event.parent_hold_nano, event.hold_tokens
    state.requests[request.request_id] = request
    state.watch_deadline(request.deadline_ms, request.request_id)
    holds.take(state, request)
    _touch_lineage(state, account, key.key_id)
    _check_legs(account)


def _touch_lineage(state: State, account: Account, key_id: bytes) -> None:
    if key_id:  # what rules version 1 opened names none
        state.dirty_keys.add(key_id)
    for each in account.lineage:
        state.dirty_accounts.add(each.account_id)


def _check_legs(account: Account) -> None:
    check(account)
    payer = account.payer
    if payer is not None:
        check(payer)


def _hold_extended(state: State, event: pb.HoldExtended) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt or request.expired:
        return Outcome(Code.NOT_OPEN)
    account = state.accounts[request.account_id]
    if event.add_nano < 0 or event.add_parent_nano < 0 or not event.lease_ms:
        return Outcome(Code.INVALID)
    if request.hold_tokens + event.add_tokens > HOLD_TOKENS_MAX:
        return Outcome(Code.INVALID)
    if account.payer is None and event.add_parent_nano:
        return Outcome(Code.INVALID)
    if cover(account, event.add_nano, event.add_parent_nano) is not None:
        return Outcome(Code.EXTENSION_REFUSED)
    if event.add_tokens and others_reach_token_limit(holds.owners_of(state, request), request, state.windows):
        return Outcome(Code.EXTENSION_REFUSED)
    request.hold_nano += event.add_nano
    request.parent_hold_nano += event.add_parent_nano
    request.hold_tokens += event.add_tokens
    holds.extend(state, request, event.add_nano, event.add_parent_nano, event.add_tokens)
    _lengthen(state, request, event.lease_ms)
    _touch_lineage(state, account, request.key_id)
    _check_legs(account)
    return Outcome(Code.EXTENDED)


def _lengthen(state: State, request: Request, lease_ms: int) -> None:
    deadline_ms = state.time_ms + lease_ms
    if deadline_ms > request.deadline_ms:
        request.deadline_ms = deadline_ms
        state.watch_deadline(deadline_ms, request.request_id)


def _task_submitted(state: State, event: pb.TaskSubmitted) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt or request.expired:
        return Outcome(Code.NOT_OPEN)
    if not event.provider or not event.provider_task_id or not 0 < event.lease_ms <= TASK_LEASE_MS_MAX:
        return Outcome(Code.INVALID)
    if request.task:
        return Outcome(Code.EXISTS)
    request.task = True
    _lengthen(state, request, event.lease_ms)
    return Outcome(Code.SUBMITTED)


def _request_settled(state: State, event: pb.RequestSettled) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt:
        return Outcome(Code.NOT_OPEN)
    if event.charge_nano < 0 or event.parent_charge_nano < 0:
        return Outcome(Code.INVALID)
    account = state.accounts[request.account_id]
    if account.payer is None and event.parent_charge_nano:
        return Outcome(Code.INVALID)
    outcome = Outcome(Code.SETTLED_LATE if request.expired else Code.SETTLED)
    if not request.expired:
        holds.release(state, request)
    # A task that the gateway has told its customer is over is not charged any more.
    given_up = request.expired and request.task
    _charge(account, event.charge_nano, given_up, outcome)
    payer = account.payer
    if payer is not None:
        leg = _charge(payer, event.parent_charge_nano, given_up, Outcome(outcome.code))
        outcome.parent_charged_nano, outcome.parent_shortfall_nano = leg.charged_nano, leg.shortfall_nano
    account.requests_settled += 1
    _count_tokens(state, request, event.prompt_tokens + event.completion_tokens)
    _end(state, request, SETTLED_ATTEMPT)
    _touch_lineage(state, account, request.key_id)
    _check_legs(account)
    owners = tuple(holds.owners_of(state, request)) or account.lineage
    return describe_limit(outcome, account, owners, request.model, state.windows)


def _charge(account: Account, charge_nano: int, given_up: bool, outcome: Outcome) -> Outcome:
    """Invariant 3: a charge takes what is free at most; the rest is the house's loss."""
    outcome.charged_nano = 0 if given_up else min(charge_nano, account.available_nano)
    outcome.shortfall_nano = charge_nano - outcome.charged_nano
    account.charges_nano += outcome.charged_nano
    account.shortfall_nano = min(MAX_NANO, account.shortfall_nano + outcome.shortfall_nano)
    return outcome


def _count_tokens(state: State, request: Request, tokens: int) -> None:
    if tokens:
        for owner in holds.owners_of(state, request):
            owner.count_tokens(request.model, tokens, state.windows)


def _end(state: State, request: Request, last_attempt: int) -> None:
    del state.requests[request.request_id]
    state.ended.add(request.request_id, last_attempt, state.windows.minute)


def _request_released(state: State, event: pb.RequestReleased) -> Outcome:
    request = state.requests.get(event.request_id)
    if request is None or request.attempt != event.attempt:
        return Outcome(Code.NOT_OPEN)
    if not request.expired:
        holds.release(state, request)
    _end(state, request, request.attempt)
    return Outcome(Code.RELEASED)


CALLS: dict[str, Handler] = {
    "request_opened": _request_opened,
    "hold_extended": _hold_extended,
    "task_submitted": _task_submitted,
    "request_settled": _request_settled,
    "request_released": _request_released,
}
