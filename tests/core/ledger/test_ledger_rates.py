"""Exchange rates: set, set again, proposed and confirmed."""

import pytest

from core.ledger.outcome import Code
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import TRY, Log, fx_rate_set, rules_activated
from tests.model.tree_log import rate_proposed, rate_set, tree

PAIR = (pb.USD, pb.TRY)


def test_a_rate_counts_from_its_position_with_its_time_and_source() -> None:
    """Calls would be charged at yesterday's rate, and nobody could say since when."""
    log = tree()
    assert PAIR not in log.state.fx_rates
    assert log.code(rate_set(40 * TRY, "monday")) is Code.APPLIED
    assert log.state.fx_rates == {PAIR: 40 * TRY}
    first_ms = log.now_ms
    log.now_ms += 1000
    log.append(rate_set(41 * TRY, "tuesday"))
    rate = log.state.rates[PAIR]
    assert (log.state.fx_rates[PAIR], rate.event.rate_nano, rate.set_ms) == (41 * TRY, 41 * TRY, first_ms + 1000)
    assert (rate.event.reference, rate.event.source) == ("tuesday", "manual")


def test_the_same_bulletin_again_changes_nothing() -> None:
    """Two cores that read one bulletin would each move the rate's time, and end a wait for a person."""
    log = tree()
    log.append(rate_set(40 * TRY, "monday"))
    first_ms = log.now_ms
    log.now_ms += 1000
    log.append(rate_proposed(80 * TRY, "tuesday"))
    assert log.codes(rate_set(40 * TRY, "monday"), rate_set(99 * TRY, "monday")) == [Code.EXISTS] * 2
    rate = log.state.rates[PAIR]
    assert (log.state.fx_rates[PAIR], rate.set_ms) == (40 * TRY, first_ms)
    assert rate.proposed is not None
    assert log.code(rate_set(42 * TRY, "")) is Code.APPLIED
    assert log.code(rate_set(43 * TRY, "")) is Code.APPLIED


def test_a_proposed_rate_does_not_count_until_any_rate_is_set() -> None:
    """A wrong bulletin would multiply every price."""
    log = tree()
    log.append(rate_set(40 * TRY, "monday"))
    assert log.code(rate_proposed(400 * TRY, "tuesday")) is Code.APPLIED
    rate = log.state.rates[PAIR]
    assert (log.state.fx_rates[PAIR], rate.proposed and rate.proposed.rate_nano) == (40 * TRY, 400 * TRY)
    assert log.code(rate_proposed(400 * TRY, "tuesday")) is Code.EXISTS
    assert log.code(rate_proposed(401 * TRY, "tuesday")) is Code.APPLIED
    assert log.code(rate_set(400 * TRY, "tuesday")) is Code.APPLIED
    assert (log.state.fx_rates[PAIR], rate.proposed) == (400 * TRY, None)
    assert log.code(rate_proposed(400 * TRY, "tuesday")) is Code.EXISTS
    assert rate.proposed is None


def test_a_proposal_may_come_before_the_first_rate() -> None:
    """The first bulletin could not wait for a person."""
    log = tree()
    assert log.code(rate_proposed(40 * TRY, "monday")) is Code.APPLIED
    assert (PAIR in log.state.fx_rates, log.state.rates[PAIR].set_ms) == (False, 0)
    assert (log.state.rates[PAIR].event.base, log.state.rates[PAIR].event.quote) == PAIR


def test_each_pair_has_its_own_rate() -> None:
    """Dollars would be paid in Lira."""
    log = tree()
    log.append(rate_set(40 * TRY, "monday"), rate_set(TRY // 40, "monday", pb.TRY, pb.USD))
    assert log.state.fx_rates == {PAIR: 40 * TRY, (pb.TRY, pb.USD): TRY // 40}


@pytest.mark.parametrize("proposed", [False, True])
def test_rates_that_make_no_sense_have_no_effect(proposed: bool) -> None:
    """A rate of nothing would make every call free."""
    log = tree()
    event = rate_proposed if proposed else rate_set
    bad = [event(0), event(-1), event(1, base=pb.TRY), event(1, quote=pb.USD), event(1, base=0), event(1, quote=3)]
    assert log.codes(*bad) == [Code.INVALID] * 6
    assert (log.state.fx_rates, log.state.rates) == ({}, {})


def test_a_rate_from_before_the_switch_still_counts() -> None:
    """No call could be priced after the switch."""
    log = Log()
    log.append(fx_rate_set(40 * TRY), rules_activated(2))
    assert log.state.fx_rates[PAIR] == 40 * TRY
    assert log.code(rate_set(41 * TRY, "monday")) is Code.APPLIED
