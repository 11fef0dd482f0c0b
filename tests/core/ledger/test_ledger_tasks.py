"""Media tasks: a request that goes on without a core until it is settled, released, or its time is over."""

from core.ledger.calls_v2 import TASK_LEASE_MS_MAX
from core.ledger.outcome import Code
from tests.model.ledger_log import LEASE_MS, TRY, name, released
from tests.model.tree_log import USD, call, grown, paid, submitted, tree

HOUR_MS = 3_600_000


def test_a_task_outlives_its_core_and_is_charged_at_its_end() -> None:
    """A video that takes an hour would be lost, or free."""
    log = tree()
    log.append(call(1, 10 * TRY, USD, key="key-cem"))
    assert log.code(submitted(1, HOUR_MS)) is Code.SUBMITTED
    log.later(HOUR_MS - 1)
    assert log.state.accounts[name("cem")].held_nano == 10 * TRY
    outcome = log.append(paid(1, 9 * TRY, USD))[0]
    assert (outcome.code, outcome.charged_nano, outcome.parent_charged_nano) == (Code.SETTLED, 9 * TRY, USD)


def test_a_failed_task_gives_its_hold_back() -> None:
    """A customer would pay for what failed."""
    log = tree()
    log.append(call(1, 10 * TRY, USD, key="key-cem"), submitted(1), released(1))
    assert {log.state.accounts[name(each)].available_nano for each in ("cem", "pia")} == {100 * TRY}


def test_a_task_whose_time_is_over_is_not_charged_any_more() -> None:
    """A customer who was told that it failed would pay for it."""
    log = tree()
    log.append(call(1, 10 * TRY, USD, key="key-cem", tokens=7), submitted(1, HOUR_MS))
    log.later(HOUR_MS)
    outcome = log.append(paid(1, 9 * TRY, USD, tokens=(3, 4)))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.SETTLED_LATE, 0, 9 * TRY)
    assert (outcome.parent_charged_nano, outcome.parent_shortfall_nano) == (0, USD)
    cem = log.state.accounts[name("cem")]
    assert (cem.balance_nano, cem.shortfall_nano, cem.requests_settled) == (100 * TRY, 9 * TRY, 1)


def test_a_task_is_submitted_once() -> None:
    """A retry would lengthen its time without end."""
    log = tree()
    log.append(call(1))
    assert log.codes(submitted(1, HOUR_MS), submitted(1, 2 * HOUR_MS)) == [Code.SUBMITTED, Code.EXISTS]
    assert log.state.next_deadline_ms() == log.now_ms + HOUR_MS


def test_no_attempt_supersedes_a_task() -> None:
    """Two videos would be made, and one of them lost."""
    log = tree()
    log.append(call(1, TRY), submitted(1, HOUR_MS))
    assert log.code(call(1, TRY, attempt=2)) is Code.STALE_ATTEMPT
    log.later(HOUR_MS)
    assert log.code(call(1, TRY, attempt=2)) is Code.STALE_ATTEMPT
    assert log.codes(released(1), call(1, TRY, attempt=2)) == [Code.RELEASED, Code.ADMITTED]


def test_a_tasks_lease_is_extended_and_never_shortened() -> None:
    """A task that is still made would lose its hold."""
    log = tree()
    log.append(call(1, lease_ms=90_000), submitted(1, 1000))
    assert log.state.next_deadline_ms() == log.now_ms + 90_000
    assert log.code(grown(1, lease_ms=HOUR_MS)) is Code.EXTENDED
    assert log.state.next_deadline_ms() == log.now_ms + HOUR_MS


def test_submissions_that_make_no_sense_have_no_effect() -> None:
    """A task would hold money for years, or nobody could ask the provider for it."""
    log = tree()
    log.append(call(1), call(2), call(3), paid(2))
    unnamed = submitted(1)
    unnamed.task_submitted.provider = ""
    assert (
        log.codes(
            submitted(1, 0),
            submitted(1, TASK_LEASE_MS_MAX + 1),
            submitted(1, 2**64 - 1),
            submitted(1, task=""),
            unnamed,
            submitted(1, attempt=2),
            submitted(2),
            submitted("nobody"),
        )
        == [Code.INVALID] * 5 + [Code.NOT_OPEN] * 3
    )
    assert not log.state.requests[name(1)].task
    assert log.code(submitted(1, TASK_LEASE_MS_MAX)) is Code.SUBMITTED
    log.later(LEASE_MS)
    assert log.code(submitted(3)) is Code.NOT_OPEN
