"""Markups: which of an account's counts for a model."""

from core.ledger.outcome import Code
from core.ledger.owners import LIMITS_MAX
from tests.model.ledger_log import name
from tests.model.tree_log import markup_cleared, markup_set, placed, tree


def test_the_most_specific_markup_counts() -> None:
    """A customer would pay another price than the one agreed on."""
    log = tree()
    log.append(placed("new", markup_bps=5000))
    account = log.state.accounts[name("new")]
    assert account.markup_for("google/gemini") == 5000
    log.append(markup_set("new", "google/*", 3000), markup_set("new", "google/gem*", 2000))
    log.append(markup_set("new", "google/gemini", 0))
    expected = {"google/gemini": 0, "google/gemma": 2000, "google/x": 3000, "google/": 3000, "google": 5000, "x": 5000}
    assert {model: account.markup_for(model) for model in expected} == expected
    log.append(markup_set("new", "*", 1000))
    assert (account.markup_for("x"), account.markup_for("google/x")) == (1000, 3000)


def test_a_cleared_markup_gives_way_to_the_next() -> None:
    """A price that was agreed on for a while would last."""
    log = tree()
    log.append(markup_set("ann", "*", 5000), markup_set("ann", "a/*", 3000), markup_set("ann", "a/b", 1000))
    account = log.state.accounts[name("ann")]
    assert log.code(markup_cleared("ann", "a/b")) is Code.APPLIED
    assert account.markup_for("a/b") == 3000
    assert log.code(markup_cleared("ann", "a/*")) is Code.APPLIED
    assert account.markup_for("a/b") == 5000


def test_another_account_is_not_touched() -> None:
    """One customer's price would be everybody's."""
    log = tree()
    log.append(markup_set("pam", "*", 7), markup_set("pam", "m", 8))
    assert {log.state.accounts[name(each)].markup_for("m") for each in ("pia", "cem", "can", "ann")} == {0}


def test_markups_that_make_no_sense_have_no_effect() -> None:
    """A typing error would multiply a price, or leave an account without any."""
    log = tree()
    assert log.codes(
        markup_set("nobody", "*", 1),
        markup_set("ann", "", 1),
        markup_set("ann", "a*b", 1),
        markup_set("ann", "*", 1_000_001),
        markup_set("ann", "a", 1_000_000),
        markup_cleared("ann", "*"),
        markup_cleared("ann", "b"),
        markup_cleared("nobody", "a"),
    ) == [
        Code.NOT_FOUND,
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.APPLIED,
        Code.NOT_FOUND,
        Code.NOT_FOUND,
        Code.NOT_FOUND,
    ]


def test_markups_are_bounded_in_number_and_may_be_changed_when_full() -> None:
    """The state would grow without bound, or a price could not be changed any more."""
    log = tree()
    assert set(log.codes(*(markup_set("ann", f"m{n}", n) for n in range(LIMITS_MAX)))) == {Code.APPLIED}
    assert log.codes(
        markup_set("ann", "one more", 1),
        markup_set("ann", "m0", 9),
        markup_set("ann", "*", 9),
        markup_cleared("ann", "m1"),
        markup_set("ann", "one more", 1),
    ) == [Code.INVALID, Code.APPLIED, Code.APPLIED, Code.APPLIED, Code.APPLIED]
    assert log.state.accounts[name("ann")].markup_for("m0") == 9
