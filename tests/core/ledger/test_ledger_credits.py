"""Credits that are taken back, and credits that move between accounts of one tree: rules version 2."""

import pytest

from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code
from tests.model.ledger_log import TRY, Log, credit_added, name
from tests.model.tree_log import USD, call, moved, paid, reversed_, tree


def money(log: Log, account: str = "ann") -> tuple[int, int, int]:
    """Balance, held, receivable."""
    it = log.state.accounts[name(account)]
    return it.balance_nano, it.held_nano, it.receivable_nano


def test_a_refund_takes_the_credit_back() -> None:
    """A customer would keep both the money and the credit."""
    log = tree(10 * TRY)
    outcome = log.append(reversed_(4 * TRY))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.APPLIED, 4 * TRY, 0)
    assert outcome.available_nano == 6 * TRY
    assert money(log) == (6 * TRY, 0, 0)


def test_a_chargeback_stops_at_what_is_free_and_the_rest_is_a_receivable() -> None:
    """A balance would go below zero, or running calls would lose their hold; invariant 1."""
    log = tree(10 * TRY)
    log.append(call(1, 3 * TRY))
    outcome = log.append(reversed_(12 * TRY))[0]
    assert (outcome.charged_nano, outcome.shortfall_nano, outcome.available_nano) == (7 * TRY, 5 * TRY, 0)
    assert money(log) == (3 * TRY, 3 * TRY, 5 * TRY)
    assert log.append(paid(1, 3 * TRY))[0].charged_nano == 3 * TRY
    assert money(log) == (0, 0, 5 * TRY)


def test_a_later_credit_does_not_pay_a_receivable() -> None:
    """What people collect would be collected twice."""
    log = tree(0)
    log.append(reversed_(5 * TRY), credit_added(2 * TRY, "new"))
    assert money(log) == (2 * TRY, 0, 5 * TRY)


def test_a_reversal_counts_once_for_each_reference_and_account() -> None:
    """A webhook that comes twice would take the money twice."""
    log = tree(10 * TRY)
    assert log.codes(reversed_(TRY), reversed_(TRY), reversed_(TRY, account="pro"), reversed_(TRY, "back-2")) == [
        Code.APPLIED,
        Code.EXISTS,
        Code.APPLIED,
        Code.APPLIED,
    ]
    assert (money(log)[0], money(log, "pro")[0]) == (8 * TRY, 9 * TRY)


def test_a_reason_and_an_approver_change_no_state() -> None:
    """A replica of the release before, which does not know the two, would come to another digest and stop."""
    plain, told = credit_added(2 * TRY, "new"), credit_added(2 * TRY, "new")
    told.credit_added.reason, told.credit_added.approved_by = "outage", "somebody"
    assert told.SerializeToString() != plain.SerializeToString()
    logs = tree(0), tree(0)
    for log, event in zip(logs, (plain, told), strict=True):
        log.append(event)
    assert logs[0].state.digest() == logs[1].state.digest()


def test_a_payment_and_its_refund_may_share_a_reference() -> None:
    """A refund named after its payment would be taken for the payment's retry."""
    log = tree(0)
    assert log.codes(credit_added(TRY, "p"), reversed_(TRY, "p"), credit_added(TRY, "p")) == [
        Code.APPLIED,
        Code.APPLIED,
        Code.EXISTS,
    ]


def test_reversals_that_make_no_sense_have_no_effect() -> None:
    """A negative refund would be a credit."""
    log = tree(10 * TRY)
    assert log.codes(reversed_(0), reversed_(-1), reversed_(1, ""), reversed_(1, account="nobody")) == [
        Code.INVALID,
        Code.INVALID,
        Code.INVALID,
        Code.NOT_FOUND,
    ]
    assert money(log) == (10 * TRY, 0, 0)


def test_receivables_are_counted_as_far_as_numbers_reach() -> None:
    """One absurd chargeback would stop every replica."""
    log = tree(0)
    log.append(reversed_(MAX_NANO, "r1"), reversed_(MAX_NANO, "r2"))
    assert money(log)[2] == MAX_NANO
    log.state.digest()


def test_a_partner_gives_to_its_project_and_its_customer() -> None:
    """Money would vanish on the way, or arrive twice."""
    log = tree(10 * TRY)
    assert log.codes(moved("pam", "pia", 4 * USD, 4 * USD), moved("pam", "can", 2 * USD, 80 * TRY, "move-2")) == [
        Code.APPLIED,
        Code.APPLIED,
    ]
    assert [money(log, each)[0] for each in ("pam", "pia", "can")] == [4 * USD, 14 * USD, 90 * TRY]
    assert log.code(moved("pia", "pam", 14 * USD, 14 * USD)) is Code.APPLIED
    assert [money(log, each)[0] for each in ("pam", "pia")] == [18 * USD, 0]


def test_money_moves_only_within_one_tree() -> None:
    """One customer's money would pay another's calls."""
    log = tree(10 * TRY)
    assert (
        log.codes(
            moved("pam", "ann", USD, USD),
            moved("pro", "ann", TRY, TRY),
            moved("org", "pam", TRY, TRY),
            moved("pam", "pam", USD, USD),
            moved("nobody", "pam", USD, USD),
            moved("pam", "nobody", USD, USD),
        )
        == [Code.INVALID] * 4 + [Code.NOT_FOUND] * 2
    )
    assert log.code(moved("pro", "pri", TRY, TRY)) is Code.APPLIED


def test_money_of_one_currency_stays_the_same_amount() -> None:
    """A move would make money, or lose it."""
    log = tree(10 * TRY)
    assert log.codes(moved("pam", "pia", USD, USD + 1), moved("pam", "pia", USD, USD - 1)) == [Code.INVALID] * 2
    assert [money(log, each)[0] for each in ("pam", "pia")] == [10 * USD, 10 * USD]


def test_only_what_is_free_moves_and_all_of_it_or_nothing() -> None:
    """Running calls would lose their hold; invariant 1."""
    log = tree(10 * TRY)
    log.append(call(1, 4 * USD, key="key-pia"))
    assert log.code(moved("pia", "cem", 6 * USD + 1, TRY)) is Code.HELD
    assert log.code(moved("pia", "cem", 10 * USD, TRY)) is Code.HELD
    assert log.code(moved("pia", "cem", 10 * USD + 1, TRY)) is Code.INSUFFICIENT
    assert money(log, "cem")[0] == 10 * TRY
    assert log.code(moved("pia", "cem", 6 * USD, TRY)) is Code.APPLIED
    assert money(log, "pia")[:2] == (4 * USD, 4 * USD)


def test_a_move_counts_once_and_a_refused_one_may_be_tried_again() -> None:
    """A retry would move the money twice, or a refused one never."""
    log = tree(10 * TRY)
    assert log.codes(
        moved("pam", "pia", 11 * USD, 11 * USD),
        credit_added(USD, "more", "pam"),
        moved("pam", "pia", 11 * USD, 11 * USD),
        moved("pam", "pia", 11 * USD, 11 * USD),
        moved("pam", "pia", USD, USD),
    ) == [Code.INSUFFICIENT, Code.APPLIED, Code.APPLIED, Code.EXISTS, Code.EXISTS]
    assert [money(log, each)[0] for each in ("pam", "pia")] == [0, 21 * USD]
    assert log.code(moved("pia", "pam", USD, USD)) is Code.APPLIED  # another giver's reference


@pytest.mark.parametrize(("amount", "to_amount"), [(0, 1), (1, 0), (-1, 1), (1, -1), (1, MAX_NANO)])
def test_moves_that_make_no_sense_have_no_effect(amount: int, to_amount: int) -> None:
    """Money would be made, lost, or exceed what can be counted."""
    log = tree(10 * TRY)
    assert log.code(moved("pam", "can", amount, to_amount)) is Code.INVALID
    assert log.code(moved("pam", "can", USD, TRY, "")) is Code.INVALID
    assert [money(log, each)[0] for each in ("pam", "can")] == [10 * USD, 10 * TRY]


def test_an_account_takes_as_much_as_can_be_counted() -> None:
    """The last nano-unit would be refused, or one more would stop every replica."""
    log = tree(10 * TRY)
    most = MAX_NANO - 10 * TRY
    assert log.code(moved("pam", "can", USD, most + 1)) is Code.INVALID
    assert log.code(moved("pam", "can", USD, most)) is Code.APPLIED
    log.state.digest()
