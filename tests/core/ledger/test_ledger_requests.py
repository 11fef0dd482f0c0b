"""Holds, settlements, releases, expiry, attempts: the life of a call's money."""

import pytest

from core.ledger import holds, rules
from core.ledger import state as state_module
from core.ledger.fold import ENDED_KEPT_MINUTES, LATE_SETTLEMENT_MS
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code
from core.ledger.windows import DAY_MS, MINUTE_MS, minute_of
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import (
    LEASE_MS,
    TRY,
    Log,
    account_opened,
    account_suspended,
    credit_added,
    extended,
    funded,
    key_issued,
    key_revoked,
    name,
    opened,
    released,
    replay,
    settled,
)


def amounts(log: Log, account: str = "ann") -> tuple[int, int, int, int]:
    """Balance, held, open holds, shortfall."""
    it = log.state.accounts[name(account)]
    return it.balance_nano, it.held_nano, it.open_holds, it.shortfall_nano


def test_a_hold_leaves_the_balance_and_takes_from_what_is_free() -> None:
    """Two calls would be paid with the same money."""
    log = funded(5 * TRY)
    outcome = log.append(opened(1, 2 * TRY))[0]
    assert (outcome.code, outcome.available_nano) == (Code.ADMITTED, 3 * TRY)
    assert amounts(log) == (5 * TRY, 2 * TRY, 1, 0)


def test_exactly_the_calls_that_the_balance_covers_are_admitted() -> None:
    """100 calls at 0.10 on 5.00: more than 50 would run, or the last kuruş could not be spent."""
    log = funded(5 * TRY)
    codes = log.codes(*(opened(n, TRY // 10) for n in range(100)))
    assert codes == [Code.ADMITTED] * 50 + [Code.HELD] * 50
    assert set(log.codes(*(settled(n, TRY // 10) for n in range(50)))) == {Code.SETTLED}
    assert amounts(log) == (0, 0, 0, 0)
    assert log.code(opened(200, 1)) is Code.INSUFFICIENT


def test_a_refusal_names_whether_running_calls_hold_the_money() -> None:
    """A client would be told to top up when waiting is enough, or to wait when it must top up."""
    log = funded(5 * TRY)
    assert log.code(opened(1, 5 * TRY + 1)) is Code.INSUFFICIENT
    assert log.code(opened(2, 3 * TRY)) is Code.ADMITTED
    assert log.code(opened(3, 5 * TRY)) is Code.HELD
    assert log.code(opened(4, 5 * TRY + 1)) is Code.INSUFFICIENT
    assert log.code(opened(5, 2 * TRY)) is Code.ADMITTED


def test_a_free_call_runs_on_an_empty_balance() -> None:
    """Free models would need money."""
    log = Log()
    log.append(account_opened(), key_issued())
    assert log.codes(opened(1, 0), settled(1, 0)) == [Code.ADMITTED, Code.SETTLED]


def test_a_refused_request_leaves_no_trace() -> None:
    """A refusal would hold money or use up a limit."""
    log = funded(TRY, per_minute=2, per_day=2)
    for _ in range(3):
        assert log.code(opened("big", 2 * TRY)) is Code.INSUFFICIENT
    assert (log.state.requests, log.state.deadlines, len(log.state.ended)) == ({}, [], 0)
    assert amounts(log) == (TRY, 0, 0, 0)
    outcome = log.append(opened(1, 1))[0]
    assert (outcome.code, outcome.limit, outcome.remaining) == (Code.ADMITTED, 2, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": b"short"},
        {"request_id": b"x" * 13},
        {"attempt": 0},
        {"attempt": 255},
        {"attempt": 300},
        {"hold_nano": -1},
        {"lease_ms": 0},
        {"account_id": name("nobody")},
    ],
    ids=str,
)
def test_a_malformed_opening_has_no_effect(wrong: dict[str, object]) -> None:
    """A negative hold would mint money; a hold with no lease or id would never end."""
    log = funded()
    event = opened(1)
    for field, value in wrong.items():
        setattr(event.request_opened, field, value)
    assert log.code(event) is Code.INVALID
    assert log.state.requests == {}
    log.state.digest()


def test_the_highest_attempt_is_admitted() -> None:
    """A client would lose the last retry that the edge may make."""
    assert funded().code(opened(1, attempt=254)) is Code.ADMITTED


def test_refusals_come_in_the_documented_order() -> None:
    """A client would be told to top up a key that is revoked."""
    log = funded(TRY, per_minute=1, per_day=1)
    assert log.code(opened(1, 1)) is Code.ADMITTED
    assert log.code(opened(2, 5 * TRY)) is Code.MINUTE_LIMIT
    log.later(MINUTE_MS)
    assert log.code(opened(2, 5 * TRY)) is Code.DAY_LIMIT
    log.append(account_suspended())
    assert log.code(opened(2, 5 * TRY)) is Code.SUSPENDED
    log.append(key_revoked())
    assert log.code(opened(2, 5 * TRY)) is Code.KEY_REFUSED


def test_a_settlement_charges_and_frees_the_rest_of_the_hold() -> None:
    """A customer would pay the worst case for each call."""
    log = funded(5 * TRY)
    log.append(opened(1, 2 * TRY))
    outcome = log.append(settled(1, TRY))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.SETTLED, TRY, 0)
    assert outcome.available_nano == 4 * TRY
    assert amounts(log) == (4 * TRY, 0, 0, 0)
    assert log.state.accounts[name("ann")].requests_settled == 1
    assert log.state.requests == {}


def test_a_charge_over_its_hold_takes_what_is_free_and_no_more() -> None:
    """A balance would go below zero, or another call's hold would be spent; invariants 1 and 3."""
    log = funded(10 * TRY)
    log.append(opened(1, 2 * TRY), opened(2, 5 * TRY))
    outcome = log.append(settled(1, 9 * TRY))[0]
    assert (outcome.charged_nano, outcome.shortfall_nano, outcome.available_nano) == (5 * TRY, 4 * TRY, 0)
    assert amounts(log) == (5 * TRY, 5 * TRY, 1, 4 * TRY)
    assert log.append(settled(2, 5 * TRY))[0].shortfall_nano == 0
    assert amounts(log) == (0, 0, 0, 4 * TRY)


def test_a_charge_equal_to_hold_and_free_balance_has_no_shortfall() -> None:
    """The house would book a loss that it does not have."""
    log = funded(10 * TRY)
    log.append(opened(1, 2 * TRY))
    outcome = log.append(settled(1, 10 * TRY))[0]
    assert (outcome.charged_nano, outcome.shortfall_nano) == (10 * TRY, 0)


def test_losses_saturate_instead_of_stopping_every_replica() -> None:
    """Two absurd charges by a broken core would make the state impossible to store."""
    log = funded(TRY)
    log.append(opened(1, 0), opened(2, 0))
    log.append(settled(1, MAX_NANO), settled(2, MAX_NANO))
    assert amounts(log) == (0, 0, 0, MAX_NANO)
    log.state.to_snapshot()


def test_a_negative_charge_changes_nothing() -> None:
    """A broken core would pay a customer."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    assert log.code(settled(1, -1)) is Code.INVALID
    assert amounts(log) == (5 * TRY, TRY, 1, 0)
    assert log.code(settled(1, 1)) is Code.SETTLED


@pytest.mark.parametrize("first", [settled(1, TRY), released(1)], ids=["settled", "released"])
@pytest.mark.parametrize("second", [settled(1, TRY), released(1), extended(1, 1)], ids=["settled", "released", "more"])
def test_an_ended_request_does_not_end_again(first: pb.Event, second: pb.Event) -> None:
    """A call would be charged twice, or its hold given back twice; invariant 2."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY), first)
    before = amounts(log)
    assert log.code(second) is Code.NOT_OPEN
    assert amounts(log) == before


def test_an_outcome_of_a_request_that_never_opened_changes_nothing() -> None:
    """A charge would come for a call that was refused."""
    log = funded(5 * TRY)
    assert log.codes(settled(1, TRY), released(1), extended(1, TRY)) == [Code.NOT_OPEN] * 3
    assert amounts(log) == (5 * TRY, 0, 0, 0)


def test_a_settlement_after_suspension_and_revocation_still_counts() -> None:
    """The house would pay for calls that ran; money facts outlive verdicts."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY), opened(2, TRY), account_suspended(), key_revoked())
    assert log.codes(settled(1, TRY), extended(2, TRY), released(2)) == [Code.SETTLED, Code.EXTENDED, Code.RELEASED]
    assert amounts(log) == (4 * TRY, 0, 0, 0)


def test_a_release_gives_back_the_whole_hold() -> None:
    """A failed call would cost money."""
    log = funded(5 * TRY)
    log.append(opened(1, 2 * TRY), extended(1, TRY))
    assert amounts(log) == (5 * TRY, 3 * TRY, 1, 0)
    assert log.code(released(1)) is Code.RELEASED
    assert amounts(log) == (5 * TRY, 0, 0, 0)
    assert log.state.accounts[name("ann")].requests_settled == 0


def test_a_settled_request_cannot_be_opened_again_by_any_attempt() -> None:
    """A client whose edge retried too late would pay twice."""
    log = funded()
    log.append(opened(1), settled(1, TRY))
    assert log.codes(opened(1, attempt=1), opened(1, attempt=2)) == [Code.ALREADY_ENDED] * 2
    assert log.code(opened(1, attempt=254)) is Code.ALREADY_ENDED


def test_a_released_attempt_stays_ended_but_the_next_may_open() -> None:
    """A retry after a failed provider would be refused, or a duplicate would run."""
    log = funded()
    log.append(opened(1, attempt=2), released(1, attempt=2))
    assert log.codes(opened(1, attempt=1), opened(1, attempt=2)) == [Code.ALREADY_ENDED] * 2
    assert log.code(opened(1, attempt=3)) is Code.ADMITTED


def test_the_same_attempt_twice_holds_once() -> None:
    """A duplicate would hold a customer's money twice."""
    log = funded(5 * TRY)
    assert log.codes(opened(1), opened(1)) == [Code.ADMITTED, Code.STALE_ATTEMPT]
    assert amounts(log) == (5 * TRY, TRY, 1, 0)


def test_a_later_attempt_supersedes_the_open_one() -> None:
    """After a core's death both attempts would hold money, or both would be charged."""
    log = funded(5 * TRY)
    log.append(opened(1, 3 * TRY))
    outcome = log.append(opened(1, 4 * TRY, attempt=2))[0]
    assert (outcome.code, outcome.superseded, outcome.available_nano) == (Code.ADMITTED, 1, TRY)
    assert amounts(log) == (5 * TRY, 4 * TRY, 1, 0)
    assert log.codes(settled(1, TRY), released(1), extended(1, TRY)) == [Code.NOT_OPEN] * 3
    assert log.codes(opened(1, attempt=1), opened(1, attempt=2)) == [Code.ALREADY_ENDED, Code.STALE_ATTEMPT]
    assert log.code(settled(1, 2 * TRY, attempt=2)) is Code.SETTLED
    assert amounts(log) == (3 * TRY, 0, 0, 0)


def test_an_attempt_that_came_late_does_not_run_beside_a_later_one() -> None:
    """The provider would be paid for two answers of which one reaches nobody."""
    log = funded()
    assert log.codes(opened(1, attempt=2), opened(1, attempt=1)) == [Code.ADMITTED, Code.STALE_ATTEMPT]


def test_a_refused_attempt_still_supersedes() -> None:
    """The dead core's hold would stay although its edge has given it up."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    outcome = log.append(opened(1, 6 * TRY, attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.INSUFFICIENT, 1)
    assert amounts(log) == (5 * TRY, 0, 0, 0)
    assert log.code(settled(1, TRY)) is Code.NOT_OPEN


def test_a_later_attempt_is_not_counted_against_the_limits_again() -> None:
    """A core's death would use up a customer's requests, or refuse a call half-way."""
    log = funded(per_minute=1, per_day=1)
    assert log.codes(opened(1), opened(1, attempt=2)) == [Code.ADMITTED, Code.ADMITTED]
    account = log.state.accounts[name("ann")]
    assert (account.minute_requests, account.day_requests) == (1, 1)


def test_another_account_cannot_supersede_a_request() -> None:
    """A customer could end another's call by guessing its id."""
    log = funded()
    log.append(account_opened("bob"), credit_added(TRY, account="bob"), key_issued("key-bob", "bob"), opened(1))
    assert log.code(opened(1, attempt=2, account="bob")) is Code.STALE_ATTEMPT
    assert amounts(log) == (10 * TRY, TRY, 1, 0)


def test_a_hold_expires_at_its_deadline_in_the_logs_time() -> None:
    """A dead core would keep a customer's money; or a running call would lose its hold early. Invariant 6."""
    log = funded(5 * TRY)
    log.append(opened(1, 2 * TRY))
    log.later(LEASE_MS - 1)
    assert amounts(log) == (5 * TRY, 2 * TRY, 1, 0)
    log.later(1)
    assert amounts(log) == (5 * TRY, 0, 0, 0)
    assert log.state.requests[name(1)].expired
    log.later(1)
    assert amounts(log) == (5 * TRY, 0, 0, 0)


def test_an_expired_hold_is_free_for_the_event_that_passes_the_deadline() -> None:
    """The first call after a crash would be refused."""
    log = funded(5 * TRY)
    log.append(opened(1, 5 * TRY))
    log.now_ms += LEASE_MS
    assert log.code(opened(2, 5 * TRY)) is Code.ADMITTED


def test_a_late_settlement_takes_only_what_is_free() -> None:
    """A late charge would spend another call's hold; or the house would lose all of it. Invariant 3."""
    log = funded(5 * TRY)
    log.append(opened(1, 4 * TRY))
    log.later(LEASE_MS)
    log.append(opened(2, 3 * TRY))
    outcome = log.append(settled(1, 4 * TRY))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.SETTLED_LATE, 2 * TRY, 2 * TRY)
    assert amounts(log) == (3 * TRY, 3 * TRY, 1, 2 * TRY)
    assert log.code(settled(1, 4 * TRY)) is Code.NOT_OPEN
    assert log.code(opened(1, attempt=2)) is Code.ALREADY_ENDED


def test_an_expired_request_can_be_released_but_not_extended() -> None:
    """The hold would be given back twice, or grow on an account that no longer holds it."""
    log = funded(5 * TRY)
    log.append(opened(1, 4 * TRY))
    log.later(LEASE_MS)
    assert log.codes(extended(1, TRY), released(1)) == [Code.NOT_OPEN, Code.RELEASED]
    assert amounts(log) == (5 * TRY, 0, 0, 0)
    assert log.state.requests == {}


def test_an_expired_request_can_be_superseded() -> None:
    """Its hold would be given back twice: money from nowhere."""
    log = funded(5 * TRY)
    log.append(opened(1, 4 * TRY))
    log.later(LEASE_MS)
    outcome = log.append(opened(1, TRY, attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.ADMITTED, 1)
    assert amounts(log) == (5 * TRY, TRY, 1, 0)


def test_a_settlement_is_late_for_a_day_then_the_houses_loss() -> None:
    """A customer would be charged for last week's call; or memory would grow with each crash."""
    for wait_ms, code in ((LATE_SETTLEMENT_MS, Code.SETTLED_LATE), (LATE_SETTLEMENT_MS + MINUTE_MS, Code.NOT_OPEN)):
        log = funded(5 * TRY)
        log.append(opened(1))
        log.later(LEASE_MS)
        log.later(wait_ms)
        assert log.code(settled(1, TRY)) is code
        assert log.state.requests == {}


def test_an_extension_adds_to_the_hold_and_moves_the_deadline() -> None:
    """A long answer would be cut, or run without cover."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    log.later(LEASE_MS // 2)
    assert log.code(extended(1, TRY)) is Code.EXTENDED
    assert amounts(log) == (5 * TRY, 2 * TRY, 1, 0)
    log.later(LEASE_MS - 1)
    assert amounts(log) == (5 * TRY, 2 * TRY, 1, 0)
    log.later(1)
    assert amounts(log) == (5 * TRY, 0, 0, 0)


def test_an_extension_takes_all_that_is_free_and_no_more() -> None:
    """A balance would go below zero, or the last kuruş could not be spent."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    assert log.code(extended(1, 4 * TRY + 1)) is Code.EXTENSION_REFUSED
    assert amounts(log) == (5 * TRY, TRY, 1, 0)
    assert log.code(extended(1, 4 * TRY)) is Code.EXTENDED
    assert amounts(log) == (5 * TRY, 5 * TRY, 1, 0)


def test_a_refused_extension_leaves_the_deadline() -> None:
    """A call that must end would keep its hold."""
    log = funded(TRY)
    log.append(opened(1, TRY))
    log.later(LEASE_MS // 2)
    assert log.code(extended(1, 1)) is Code.EXTENSION_REFUSED
    log.later(LEASE_MS // 2)
    assert amounts(log) == (TRY, 0, 0, 0)


def test_an_extension_by_nothing_moves_only_the_deadline() -> None:
    """A slow call would lose its hold while it runs."""
    log = funded(TRY)
    log.append(opened(1, TRY))
    log.later(LEASE_MS - 1)
    assert log.code(extended(1, 0)) is Code.EXTENDED
    log.later(LEASE_MS - 1)
    assert amounts(log) == (TRY, TRY, 1, 0)


def test_a_shorter_lease_never_moves_a_deadline_back() -> None:
    """A call would lose its hold before the time it was promised."""
    log = funded(TRY)
    log.append(opened(1, TRY))
    assert log.code(extended(1, 0, lease_ms=1)) is Code.EXTENDED
    log.later(LEASE_MS - 1)
    assert amounts(log) == (TRY, TRY, 1, 0)
    log.later(1)
    assert amounts(log) == (TRY, 0, 0, 0)


@pytest.mark.parametrize(("add", "lease"), [(-1, LEASE_MS), (0, 0), (1, 0)])
def test_a_malformed_extension_changes_nothing(add: int, lease: int) -> None:
    """A negative extension would free money that a running call needs."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    assert log.code(extended(1, add, lease_ms=lease)) is Code.INVALID
    assert amounts(log) == (5 * TRY, TRY, 1, 0)


def test_many_holds_expire_in_their_own_order() -> None:
    """One crash would free some holds and forget the others."""
    log = funded(100 * TRY)
    for n in range(20):
        log.append(opened(n, TRY, lease_ms=1000 * (20 - n)))
    for left in range(19, -1, -1):
        log.later(1000)
        assert amounts(log)[2] == left
    assert amounts(log) == (100 * TRY, 0, 0, 0)


def test_stale_deadlines_free_nothing() -> None:
    """A deadline of an attempt that has ended would end the one that runs."""
    log = funded(100 * TRY)
    log.append(opened(1, TRY, lease_ms=1000), opened(2, TRY, lease_ms=1000), opened(3, TRY, lease_ms=1000))
    log.append(settled(1, 0), opened(2, 2 * TRY, attempt=2, lease_ms=5000), extended(3, 0, lease_ms=5000))
    log.later(1000)
    assert amounts(log) == (100 * TRY, 3 * TRY, 2, 0)
    log.later(4000)
    assert amounts(log) == (100 * TRY, 0, 0, 0)


def test_the_next_deadline_is_that_of_an_open_request() -> None:
    """A core would not move the log's time, and a hold would outlive its deadline."""
    log = funded(100 * TRY)
    assert log.state.next_deadline_ms() is None
    log.append(opened(1, lease_ms=1000), opened(2, lease_ms=2000), opened(3, lease_ms=3000))
    assert log.state.next_deadline_ms() == log.now_ms + 1000
    log.append(settled(1, 0), extended(2, 0, lease_ms=9000), opened(3, attempt=2, lease_ms=8000))
    assert log.state.next_deadline_ms() == log.now_ms + 8000
    log.append(released(3, attempt=2), released(2))
    assert log.state.next_deadline_ms() is None


def test_deadlines_of_ended_requests_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core's memory would grow with its speed times the lease."""
    monkeypatch.setattr(state_module, "STALE_DEADLINES_MAX", 20)
    log = funded(100 * TRY)
    log.append(opened("open", TRY, lease_ms=DAY_MS), opened("gone", TRY, lease_ms=1000))
    log.later(1000)
    for n in range(20):
        log.append(*(opened(f"{n}-{m}", 0, lease_ms=DAY_MS) for m in range(10)))
        log.append(*(settled(f"{n}-{m}", 0) for m in range(10)))
    assert len(log.state.deadlines) <= 20 + 2 * 12
    assert log.state.next_deadline_ms() == log.now_ms - 1000 + DAY_MS
    assert amounts(log) == (100 * TRY, TRY, 1, 0)
    log.later(DAY_MS)
    assert amounts(log) == (100 * TRY, 0, 0, 0)


def test_ended_requests_are_remembered_for_minutes_then_forgotten() -> None:
    """A late duplicate would run again; or memory would grow for ever."""
    log = funded()
    log.now_ms -= log.now_ms % MINUTE_MS
    log.now_ms += MINUTE_MS
    log.append(opened(1), settled(1, 0))
    log.later((ENDED_KEPT_MINUTES + 1) * MINUTE_MS - 1)
    assert log.code(opened(1, attempt=2)) is Code.ALREADY_ENDED
    log.later(1)
    assert len(log.state.ended) == 0
    assert log.state.ended.weight == 0
    assert log.code(opened(1, attempt=2)) is Code.ADMITTED


def test_a_request_that_ends_again_is_remembered_from_then_on() -> None:
    """The first ending's minute would make the second one forgotten too early."""
    log = funded()
    log.append(opened(1), released(1))
    log.later(3 * MINUTE_MS)
    log.append(opened(1, attempt=2), released(1, attempt=2))
    log.later(3 * MINUTE_MS)
    assert log.code(opened(1, attempt=2)) is Code.ALREADY_ENDED
    assert [len(ids) for minute, ids in log.state.ended.buckets() if minute == minute_of(log.now_ms) - 3] == [1]
    log.later(3 * MINUTE_MS)
    assert log.code(opened(1, attempt=2)) is Code.ADMITTED


def test_a_request_opened_anew_after_a_long_time_gets_a_full_day_for_its_settlement() -> None:
    """Two replicas, one of them from a snapshot, would disagree about a late charge; invariant 5."""
    log = funded()
    log.append(opened(1, lease_ms=1000))
    log.later(1000)
    log.append(released(1))
    log.later(10 * MINUTE_MS)
    log.append(opened(1, lease_ms=1000))
    log.later(1000)
    kept = len(log.messages)
    snapshot = log.state.to_snapshot()
    log.later(LATE_SETTLEMENT_MS - 5 * MINUTE_MS)
    assert log.code(settled(1, TRY)) is Code.SETTLED_LATE
    restored = replay(log.messages[kept:], type(log.state).from_snapshot(snapshot))
    assert restored.digest() == log.state.digest()


def test_the_fold_stops_rather_than_take_a_balance_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the rules would show as a customer's debt."""
    monkeypatch.setattr(rules, "cover", lambda account, hold_nano: None)
    log = funded(TRY)
    with pytest.raises(holds.InvariantBroken):
        log.append(opened(1, 2 * TRY))


def test_the_fold_stops_rather_than_free_a_hold_twice() -> None:
    """A defect of the rules would let money be spent twice."""
    log = funded(TRY)
    log.append(opened(1, TRY))
    log.state.accounts[name("ann")].held_nano = 0
    with pytest.raises(holds.InvariantBroken):
        log.append(settled(1, 0))


def test_a_hold_whose_deadline_is_noted_twice_ends_once() -> None:
    """A request opened anew with its old deadline would have its hold given back twice: money from nowhere."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY, lease_ms=12 * MINUTE_MS), opened(2, TRY, lease_ms=30 * MINUTE_MS), released(1))
    log.later(10 * MINUTE_MS)
    assert log.code(opened(1, TRY, lease_ms=2 * MINUTE_MS)) is Code.ADMITTED
    log.later(2 * MINUTE_MS)
    assert amounts(log) == (5 * TRY, TRY, 1, 0)


def test_an_expired_attempt_is_forgotten_even_if_the_one_before_had_its_deadline() -> None:
    """Memory would grow with each crash, and a replica from a snapshot would decide otherwise."""
    log = funded(5 * TRY)
    log.append(opened(1), opened(1, attempt=2))
    log.later(LEASE_MS)
    log.later(LATE_SETTLEMENT_MS + MINUTE_MS)
    assert log.state.requests == {}
    assert not log.state.expired


def test_a_superseded_expired_attempt_is_not_dropped_in_its_successors_place() -> None:
    """A running call would lose its hold a day after its first attempt had died."""
    log = funded(5 * TRY)
    log.append(opened(1))
    log.later(LEASE_MS)
    log.append(opened(1, TRY, attempt=2, lease_ms=2 * DAY_MS))
    log.later(LATE_SETTLEMENT_MS + MINUTE_MS)
    assert amounts(log) == (5 * TRY, TRY, 1, 0)
    assert log.code(settled(1, TRY, attempt=2)) is Code.SETTLED
