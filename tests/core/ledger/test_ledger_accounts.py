"""Accounts, credits, keys, rates: what an operator does, and what doing it twice must not do."""

import pytest

from core.ledger import versions
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import (
    TRY,
    Log,
    account_opened,
    account_resumed,
    account_suspended,
    credit_added,
    funded,
    fx_rate_set,
    key_issued,
    key_revoked,
    name,
    opened,
    replay,
    rules_activated,
)


def test_an_account_is_what_its_opening_says() -> None:
    """A customer would get another's currency, markup or limits."""
    log = Log()
    assert log.code(account_opened("ann", per_minute=60, per_day=10_000)) is Code.APPLIED
    account = log.state.accounts[name("ann")]
    assert (account.kind, account.currency, account.markup_bps) == (pb.USER, pb.TRY, 5000)
    assert (account.requests_per_minute, account.requests_per_day) == (60, 10_000)
    assert (account.balance_nano, account.available_nano, account.suspended) == (0, 0, False)


def test_opening_an_account_again_keeps_its_balance() -> None:
    """A retried command would wipe a customer's balance."""
    log = funded(5 * TRY)
    assert log.code(account_opened("ann", per_minute=1)) is Code.EXISTS
    assert log.state.accounts[name("ann")].balance_nano == 5 * TRY
    assert log.state.accounts[name("ann")].requests_per_minute == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_id": b"short"},
        {"account_id": b"x" * 13},
        {"currency": 0},
        {"currency": 3},
        {"currency": 300},
        {"currency": -1},
        {"kind": 0},
        {"kind": 5},
        {"kind": 1000},
    ],
    ids=str,
)
def test_a_malformed_account_has_no_effect_and_poisons_no_digest(wrong: dict[str, object]) -> None:
    """One bad command would stop every replica for good."""
    fields = {"account_id": name("ann"), "kind": pb.USER, "currency": pb.TRY} | wrong
    log = Log()
    event = pb.Event(account_opened=pb.AccountOpened(**fields))  # type: ignore[arg-type]
    assert log.code(event) is Code.INVALID
    assert log.state.accounts == {}
    log.state.digest()


def test_dollar_accounts_of_every_kind_can_be_opened() -> None:
    """A partner could not be taken on."""
    log = Log()
    for kind in (pb.USER, pb.PROJECT, pb.PARTNER, pb.PARTNER_CUSTOMER):
        fields = pb.AccountOpened(account_id=name(kind), kind=kind, currency=pb.USD)
        assert log.code(pb.Event(account_opened=fields)) is Code.APPLIED
        assert log.state.accounts[name(kind)].kind == kind


def test_a_credit_adds_exactly_its_amount_and_reports_what_is_free() -> None:
    """A payment would be booked wrong."""
    log = Log()
    log.append(account_opened())
    outcome = log.append(credit_added(5 * TRY))[0]
    assert (outcome.code, outcome.available_nano) == (Code.APPLIED, 5 * TRY)
    assert log.append(credit_added(1, "pay-2"))[0].available_nano == 5 * TRY + 1
    assert log.state.accounts[name("ann")].credits_nano == 5 * TRY + 1


def test_a_reference_counts_once_for_each_account() -> None:
    """A payment would count twice when its webhook is delivered twice, or not at all for the second customer."""
    log = funded(5 * TRY)
    log.append(account_opened("bob"))
    assert log.code(credit_added(5 * TRY, "pay-1")) is Code.EXISTS
    assert log.code(credit_added(7 * TRY, "pay-1")) is Code.EXISTS
    assert log.code(credit_added(5 * TRY, "pay-1", "bob")) is Code.APPLIED
    assert log.state.accounts[name("ann")].balance_nano == 5 * TRY
    assert log.state.accounts[name("bob")].balance_nano == 5 * TRY


@pytest.mark.parametrize(("amount", "reference"), [(0, "r"), (-1, "r"), (TRY, "")])
def test_a_credit_that_adds_nothing_or_has_no_reference_is_invalid(amount: int, reference: str) -> None:
    """A negative credit would take a balance below zero; one without a reference would count at each retry."""
    log = funded(5 * TRY)
    assert log.code(credit_added(amount, reference)) is Code.INVALID
    assert log.state.accounts[name("ann")].balance_nano == 5 * TRY


def test_an_invalid_credit_leaves_its_reference_free() -> None:
    """The corrected payment would be ignored."""
    log = funded(1)
    assert log.code(credit_added(-5, "pay-2")) is Code.INVALID
    assert log.code(credit_added(5, "pay-2")) is Code.APPLIED


def test_credits_stop_at_int64() -> None:
    """The state could no longer be stored: every replica would stop."""
    log = funded(MAX_NANO - 1)
    assert log.code(credit_added(2, "pay-2")) is Code.INVALID
    assert log.code(credit_added(1, "pay-3")) is Code.APPLIED
    assert log.state.accounts[name("ann")].credits_nano == MAX_NANO
    log.state.digest()


def test_what_names_no_account_or_key_is_not_found() -> None:
    """Money or a key would appear out of nowhere."""
    log = Log()
    events = (account_suspended(), account_resumed(), credit_added(1), key_issued(), key_revoked())
    assert log.codes(*events) == [Code.NOT_FOUND] * 5
    assert (log.state.accounts, log.state.keys, log.state.keys_by_hash) == ({}, {}, {})


def test_suspending_stops_new_calls_until_resumed() -> None:
    """An operator could not stop an abuser, or could not let them back."""
    log = funded()
    assert log.code(account_suspended()) is Code.APPLIED
    assert log.code(account_suspended()) is Code.EXISTS
    assert log.code(opened(1)) is Code.SUSPENDED
    assert log.code(account_resumed()) is Code.APPLIED
    assert log.code(account_resumed()) is Code.EXISTS
    assert log.code(opened(1)) is Code.ADMITTED


def test_a_revoked_key_is_refused_from_its_position_on() -> None:
    """Whoever found a lost key would go on spending; invariant 9."""
    log = funded()
    assert log.codes(opened(1), key_revoked(), opened(2)) == [Code.ADMITTED, Code.APPLIED, Code.KEY_REFUSED]
    assert log.code(key_revoked()) is Code.EXISTS
    assert log.state.keys[name("key-ann")].revoked


def test_a_key_opens_only_its_own_account() -> None:
    """One customer would pay for another's calls."""
    log = funded()
    log.append(account_opened("bob"), credit_added(TRY, account="bob"), key_issued("key-bob", "bob"))
    assert log.code(opened(1, account="ann", key="key-bob")) is Code.KEY_REFUSED
    assert log.code(opened(2, account="ann", key="nobody's")) is Code.KEY_REFUSED
    assert log.code(opened(3, account="bob", key="key-bob")) is Code.ADMITTED


def test_a_key_id_or_hash_is_issued_once() -> None:
    """A second account could take over somebody's key."""
    log = funded()
    log.append(account_opened("bob"))
    taken = log.state.keys[name("key-ann")].key_hash
    assert log.code(key_issued("key-ann", "bob", b"h" * 32)) is Code.EXISTS
    assert log.code(key_issued("key-bob", "bob", taken)) is Code.EXISTS
    assert log.state.keys_by_hash[taken].account_id == name("ann")


def test_a_malformed_key_is_invalid() -> None:
    """A key could never be found by its hash, or the digest could not tell two keys apart."""
    log = funded()
    short = pb.KeyIssued(key_id=b"short", account_id=name("ann"), key_hash=b"h" * 32)
    assert log.code(pb.Event(key_issued=short)) is Code.INVALID
    assert log.code(key_issued("key-2", key_hash=b"h" * 31)) is Code.INVALID
    assert len(log.state.keys) == len(log.state.keys_by_hash) == 1


def test_a_rate_replaces_the_one_before() -> None:
    """Calls would be priced at an old rate."""
    log = Log()
    assert log.codes(fx_rate_set(40 * TRY), fx_rate_set(41 * TRY)) == [Code.APPLIED, Code.APPLIED]
    assert log.state.fx_rates == {(pb.USD, pb.TRY): 41 * TRY}


@pytest.mark.parametrize(
    ("rate", "base", "quote"),
    [(0, 2, 1), (-1, 2, 1), (1, 1, 1), (1, 0, 1), (1, 2, 0), (1, 3, 1), (1, 1000, 1), (1, 2, 300), (1, -1, 1)],
)
def test_a_rate_that_makes_no_sense_is_invalid_and_poisons_no_digest(rate: int, base: int, quote: int) -> None:
    """Calls would be free, or every replica would stop for good."""
    log = Log()
    assert log.code(fx_rate_set(rate, base, quote)) is Code.INVALID
    assert log.state.fx_rates == {}
    log.state.digest()


def test_activating_the_rules_that_are_in_force_changes_nothing() -> None:
    """A harmless event would stop the gateway."""
    log = Log()
    assert log.code(rules_activated(1)) is Code.APPLIED
    assert log.state.rules_version == 1


def test_rules_never_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two semantics would alternate, and no statement could be explained."""
    monkeypatch.setitem(versions.HANDLERS, 2, versions.HANDLERS[1])
    log = Log()
    assert log.codes(rules_activated(2), rules_activated(1)) == [Code.APPLIED, Code.INVALID]
    assert log.state.rules_version == 2
    assert replay(log.messages).digest() == log.state.digest()


def test_new_rules_hold_from_the_next_event_of_the_same_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two releases would disagree about the events that share a batch with the switch."""
    monkeypatch.setitem(
        versions.HANDLERS, 2, versions.HANDLERS[1] | {"account_opened": lambda *_: pytest.fail("rules 2")}
    )
    log = Log()
    with pytest.raises(pytest.fail.Exception, match="rules 2"):
        log.append(account_opened("ann"), rules_activated(2), account_opened("bob"))
    assert list(log.state.accounts) == [name("ann")]
