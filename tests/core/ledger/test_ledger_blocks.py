"""Blocked models: of an account and all below it, of a key, from the position of the event on."""

import pytest

from core.ledger.outcome import Code
from core.ledger.owners import LIMITS_MAX
from tests.model.ledger_log import name
from tests.model.tree_log import blocked, call, issued, policy, tree, unblocked

BELOW = {
    "pam": {"key-pia", "key-cem", "key-can"},
    "pia": {"key-pia", "key-cem"},
    "cem": {"key-cem"},
    "can": {"key-can"},
    "org": {"key-pro", "key2-pro", "key-pri"},
    "pro": {"key-pro", "key2-pro"},
    "key-pro": {"key-pro"},
    "key2-pro": {"key2-pro"},
    "ann": {"key-ann"},
}
KEYS = sorted(set().union(*BELOW.values()))


@pytest.mark.parametrize("owner", BELOW)
def test_a_block_holds_for_all_below_and_for_nobody_else(owner: str) -> None:
    """A partner's block would not reach its customers, or would reach somebody else's."""
    log = tree()
    assert log.code(blocked(owner, "google/*")) is Code.APPLIED
    refused = {key for key in KEYS if log.code(call(key, key=key, model="google/x")) is Code.MODEL_BLOCKED}
    assert refused == BELOW[owner]
    assert {log.code(call(f"{key}2", key=key, model="openai/x")) for key in KEYS} == {Code.ADMITTED}
    assert log.code(unblocked(owner, "google/*")) is Code.APPLIED
    assert {log.code(call(f"{key}3", key=key, model="google/x")) for key in KEYS} == {Code.ADMITTED}


def test_any_matching_block_counts_and_only_its_own_pattern_lifts_it() -> None:
    """A model that is blocked twice would be open after one of them went."""
    log = tree()
    log.append(blocked("ann", "*"), blocked("ann", "a/b"), blocked("key-ann", "a/*"))
    for pattern, owner in (("*", "ann"), ("a/b", "ann")):
        assert log.code(call(pattern, model="a/b")) is Code.MODEL_BLOCKED
        assert log.code(unblocked(owner, pattern)) is Code.APPLIED
    assert log.code(call(1, model="a/b")) is Code.MODEL_BLOCKED
    assert log.code(call(2, model="b")) is Code.ADMITTED
    assert log.code(unblocked("key-ann", "a/*")) is Code.APPLIED
    assert log.code(call(3, model="a/b")) is Code.ADMITTED


def test_an_exact_block_is_exact() -> None:
    """A model's larger sister would be blocked too."""
    log = tree()
    log.append(blocked("ann", "a/b"))
    assert log.codes(call(1, model="a/b"), call(2, model="a/bc"), call(3, model="a/")) == [
        Code.MODEL_BLOCKED,
        Code.ADMITTED,
        Code.ADMITTED,
    ]


def test_a_refused_call_leaves_no_trace_and_a_further_attempt_is_refused_too() -> None:
    """A block would not hold for calls that change cores."""
    log = tree()
    log.append(call(1, 5), blocked("ann", "m"))
    outcome = log.append(call(1, 5, attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.MODEL_BLOCKED, 1)
    assert log.state.accounts[name("ann")].uses["m"].day_requests == 1
    assert log.state.accounts[name("ann")].held_nano == 0


def test_a_keys_own_models_are_asked_for_before_blocks() -> None:
    """A client would be told to ask the operator for what its own key forbids."""
    log = tree()
    log.append(issued("k", "ann", policy(models=("a",))), blocked("ann", "*"))
    assert log.codes(call(1, key="k", model="b"), call(2, key="k", model="a")) == [
        Code.KEY_MODEL_REFUSED,
        Code.MODEL_BLOCKED,
    ]


def test_blocks_that_make_no_sense_have_no_effect() -> None:
    """A typing error would block everything, or the state would grow without bound."""
    log = tree()
    assert log.codes(
        blocked("nobody"),
        unblocked("nobody"),
        blocked("ann", ""),
        blocked("ann", "a*b"),
        unblocked("ann", "a*b"),
        unblocked("ann", "a"),
        blocked("ann", "a"),
        blocked("ann", "a"),
        unblocked("ann", "a"),
        unblocked("ann", "a"),
    ) == [
        Code.NOT_FOUND,
        Code.NOT_FOUND,
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.EXISTS,
        Code.APPLIED,
        Code.EXISTS,
        Code.APPLIED,
        Code.EXISTS,
    ]
    assert set(log.codes(*(blocked("ann", f"m{n}") for n in range(LIMITS_MAX)))) == {Code.APPLIED}
    assert log.codes(blocked("ann", "one more"), unblocked("ann", "m0"), blocked("ann", "one more")) == [
        Code.INVALID,
        Code.APPLIED,
        Code.APPLIED,
    ]
