"""A ledger that switches to rules version 2 while calls run: what version 1 opened must end well under version 2."""

import pytest

from core.ledger.outcome import Code
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import (
    LEASE_MS,
    TRY,
    Log,
    account_opened,
    extended,
    funded,
    name,
    opened,
    released,
    replay,
    rules_activated,
    settled,
)
from tests.model.tree_log import call, grown, limited, paid, submitted


def switched(*events: pb.Event) -> Log:
    """Two calls are opened under version 1, then version 2 is activated and sees these events."""
    log = funded(10 * TRY, per_minute=5)
    log.append(opened(1, 2 * TRY), opened(2, TRY))
    log.append(rules_activated(2))
    log.append(*events)
    return log


def restored(log: Log) -> State:
    return State.from_snapshot(log.state.to_snapshot())


@pytest.mark.parametrize(
    "ending",
    [settled(1, TRY), released(1), opened(1, TRY, attempt=2), extended(1, TRY), grown(1, tokens=5), submitted(1)],
    ids=lambda event: event.WhichOneof("event"),
)
def test_a_call_opened_before_the_switch_goes_on_after_it(ending: pb.Event) -> None:
    """Every replica would stop at the first settlement after the switch, and so would each that starts anew."""
    log = switched(ending)
    digest = log.state.digest()
    assert digest == replay(log.messages).digest() == restored(log).digest()
    log.append(settled(1, TRY), settled(1, TRY, attempt=2), settled(2, TRY))
    account = log.state.accounts[name("ann")]
    assert (account.held_nano, account.open_holds, log.state.requests) == (0, 0, {})
    assert log.state.digest() == replay(log.messages).digest() == restored(log).digest()


def test_a_settlement_across_the_switch_charges_and_shows_the_accounts_limit() -> None:
    """The call would be free, or its response without a rate limit."""
    log = switched()
    outcome = log.append(settled(1, 3 * TRY))[0]
    assert (outcome.code, outcome.charged_nano, outcome.available_nano) == (Code.SETTLED, 3 * TRY, 6 * TRY)
    assert (outcome.limit, outcome.remaining) == (5, 3)


def test_a_hold_from_before_the_switch_expires_and_settles_late() -> None:
    """The money would be held for ever, or the late charge would be lost."""
    log = switched()
    log.later(LEASE_MS)
    assert log.state.accounts[name("ann")].held_nano == 0
    assert log.append(settled(1, TRY))[0].code is Code.SETTLED_LATE


def test_what_was_used_of_the_accounts_limits_is_kept_by_the_switch() -> None:
    """A customer would get a second minute's calls."""
    log = switched()
    assert log.codes(*(call(n) for n in range(10, 15))) == [Code.ADMITTED] * 3 + [Code.MINUTE_LIMIT] * 2


def test_the_switch_is_made_once_and_never_back() -> None:
    """Replicas would disagree about every later event."""
    log = switched()
    assert log.codes(rules_activated(2), rules_activated(1)) == [Code.APPLIED, Code.INVALID]
    assert log.state.rules_version == 2


def test_tokens_of_a_call_from_before_the_switch_count_against_nothing() -> None:
    """Its key is not known: a limit would count it on one replica and not on another."""
    log = switched(limited("key-ann", "m", daily_tokens=5), limited("ann", "m", daily_tokens=5))
    log.append(grown(1, tokens=9), paid(1, tokens=(9, 9)))
    assert log.code(call(3)) is Code.ADMITTED


def test_partner_customers_without_a_parent_pay_alone() -> None:
    """Accounts of the previous release could not be called with any more."""
    log = Log()
    alone = account_opened()
    alone.account_opened.kind = pb.PARTNER_CUSTOMER
    log.append(alone, rules_activated(2))
    assert log.state.accounts[name("ann")].payer is None
