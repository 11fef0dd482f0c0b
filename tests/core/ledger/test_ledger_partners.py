"""Trees of accounts: what may stand under what, and the two legs of a partner customer's call."""

import pytest

from core.ledger import holds
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import (
    LEASE_MS,
    TRY,
    Log,
    account_resumed,
    account_suspended,
    credit_added,
    key_issued,
    name,
    released,
    rules_activated,
)
from tests.model.tree_log import KINDS, USD, call, grown, paid, placed, submitted, tree


def money(log: Log, account: str) -> tuple[int, int, int, int]:
    """Balance, held, open holds, shortfall."""
    it = log.state.accounts[name(account)]
    return it.balance_nano, it.held_nano, it.open_holds, it.shortfall_nano


ALLOWED = {
    (pb.USER, ""),
    (pb.PARTNER, ""),
    (pb.ORGANISATION, ""),
    (pb.PROJECT, ""),
    (pb.PROJECT, "org"),
    (pb.PARTNER_PROJECT, "pam"),
    (pb.PARTNER_CUSTOMER, "pam"),
    (pb.PARTNER_CUSTOMER, "pia"),
}


@pytest.mark.parametrize("above", ["", *KINDS])
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 7])
def test_each_kind_of_account_stands_where_it_belongs(kind: int, above: str) -> None:
    """A customer's calls would be charged to somebody who is not its partner, or to nobody."""
    expected = Code.APPLIED if (kind, above) in ALLOWED else Code.INVALID
    log = tree()
    assert log.code(placed("new", kind, pb.TRY, above)) is expected
    assert (name("new") in log.state.accounts) == (expected is Code.APPLIED)


def test_accounts_that_contradict_themselves_are_not_opened() -> None:
    """An account would have no currency, or take over another's id."""
    log = tree()
    assert log.code(placed("ann")) is Code.EXISTS
    assert log.code(placed("key-ann")) is Code.EXISTS
    assert log.code(placed("new", above="nobody")) is Code.NOT_FOUND
    assert log.code(placed("new", currency=0)) is Code.INVALID
    assert log.code(placed("new", currency=3)) is Code.INVALID
    assert log.code(placed("new", markup_bps=1_000_001)) is Code.INVALID
    short = placed("new")
    short.account_opened.account_id = b"short"
    assert log.code(short) is Code.INVALID
    assert log.code(placed("new", markup_bps=1_000_000)) is Code.APPLIED


def test_the_root_and_the_payer_follow_from_the_tree() -> None:
    """Events would go to another partition, or the wrong partner would pay."""
    state = tree().state
    accounts = {label: state.accounts[name(label)] for label in KINDS}
    roots = {label: account.root_id for label, account in accounts.items()}
    assert roots == {
        "pam": name("pam"), "pia": name("pam"), "cem": name("pam"), "can": name("pam"),
        "org": name("org"), "pro": name("org"), "pri": name("org"), "ann": name("ann"),
    }  # fmt: skip
    payers = {label: account.payer.account_id for label, account in accounts.items() if account.payer is not None}
    assert payers == {"cem": name("pia"), "can": name("pam")}


def test_a_customers_call_holds_and_charges_both_legs() -> None:
    """The partner would not pay for its customer's calls, or the customer would pay the partner's price."""
    log = tree(100 * TRY)
    opening = log.append(call(1, 10 * TRY, USD, key="key-cem"))[0]
    assert (opening.code, opening.available_nano) == (Code.ADMITTED, 90 * TRY)
    assert money(log, "cem") == (100 * TRY, 10 * TRY, 1, 0)
    assert money(log, "pia") == (100 * USD, USD, 0, 0)
    assert money(log, "pam") == (100 * USD, 0, 0, 0)
    log.append(grown(1, 5 * TRY, USD // 2))
    assert (money(log, "cem")[1], money(log, "pia")[1]) == (15 * TRY, 3 * USD // 2)
    outcome = log.append(paid(1, 8 * TRY, USD // 5))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.SETTLED, 8 * TRY, 0)
    assert (outcome.parent_charged_nano, outcome.parent_shortfall_nano) == (USD // 5, 0)
    assert outcome.available_nano == 92 * TRY
    assert money(log, "cem") == (92 * TRY, 0, 0, 0)
    assert money(log, "pia") == (100 * USD - USD // 5, 0, 0, 0)
    assert log.state.accounts[name("cem")].requests_settled == 1
    assert log.state.accounts[name("pia")].requests_settled == 0


def test_both_legs_must_be_covered() -> None:
    """A customer would run on a partner's empty balance, or a partner on its customer's."""
    log = tree(10 * TRY)
    assert log.code(call(1, 10 * TRY + 1, 1, key="key-can")) is Code.INSUFFICIENT
    assert log.code(call(2, 1, 10 * USD + 1, key="key-can")) is Code.PARENT_INSUFFICIENT
    assert log.code(call(3, 10 * TRY + 1, 10 * USD + 1, key="key-can")) is Code.INSUFFICIENT
    assert log.code(call(4, 6 * TRY, 10 * USD, key="key-can")) is Code.ADMITTED
    assert log.code(call(5, 5 * TRY, 1, key="key-can")) is Code.HELD
    assert log.code(call(6, 4 * TRY, 1, key="key-can")) is Code.PARENT_HELD
    assert log.code(call(7, 4 * TRY, 10 * USD + 1, key="key-can")) is Code.PARENT_INSUFFICIENT
    assert log.code(released(4)) is Code.RELEASED
    assert (money(log, "can"), money(log, "pam")) == ((10 * TRY, 0, 0, 0), (10 * USD, 0, 0, 0))
    assert log.code(call(8, 10 * TRY, 10 * USD, key="key-can")) is Code.ADMITTED


def test_an_extension_must_be_covered_on_both_legs() -> None:
    """A growing answer would be paid with money that is not there."""
    log = tree(10 * TRY)
    log.append(call(1, 5 * TRY, 5 * USD, key="key-cem"))
    assert log.code(grown(1, 5 * TRY + 1, 1)) is Code.EXTENSION_REFUSED
    assert log.code(grown(1, 1, 5 * USD + 1)) is Code.EXTENSION_REFUSED
    assert (money(log, "cem")[1], money(log, "pia")[1]) == (5 * TRY, 5 * USD)
    assert log.code(grown(1, 5 * TRY, 5 * USD)) is Code.EXTENDED
    assert (money(log, "cem")[1], money(log, "pia")[1]) == (10 * TRY, 10 * USD)


def test_each_leg_takes_what_is_free_and_no_more() -> None:
    """A balance would go below zero, or one leg's loss would be charged to the other; invariants 1 and 3."""
    log = tree(10 * TRY)
    log.append(call(1, TRY, USD, key="key-cem"), call(2, 3 * TRY, 4 * USD, key="key-cem"))
    outcome = log.append(paid(1, 20 * TRY, 30 * USD))[0]
    assert (outcome.charged_nano, outcome.shortfall_nano) == (7 * TRY, 13 * TRY)
    assert (outcome.parent_charged_nano, outcome.parent_shortfall_nano) == (6 * USD, 24 * USD)
    assert money(log, "cem") == (3 * TRY, 3 * TRY, 1, 13 * TRY)
    assert money(log, "pia") == (4 * USD, 4 * USD, 0, 24 * USD)


def test_both_holds_expire_together_and_a_late_charge_takes_what_is_free() -> None:
    """The partner's money would stay held for ever, or a late charge would take another call's hold."""
    log = tree(10 * TRY)
    log.append(call(1, 6 * TRY, 6 * USD, key="key-cem"))
    log.later(LEASE_MS)
    assert (money(log, "cem")[1], money(log, "pia")[1]) == (0, 0)
    log.append(call(2, 9 * TRY, 8 * USD, key="key-cem"))
    outcome = log.append(paid(1, 6 * TRY, 6 * USD))[0]
    assert (outcome.code, outcome.charged_nano, outcome.shortfall_nano) == (Code.SETTLED_LATE, TRY, 5 * TRY)
    assert (outcome.parent_charged_nano, outcome.parent_shortfall_nano) == (2 * USD, 4 * USD)


def test_a_superseded_attempt_gives_both_holds_back() -> None:
    """The second attempt would find no money."""
    log = tree(10 * TRY)
    log.append(call(1, 9 * TRY, 9 * USD, key="key-cem"))
    outcome = log.append(call(1, 10 * TRY, 10 * USD, key="key-cem", attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.ADMITTED, 1)
    assert (money(log, "cem")[1:3], money(log, "pia")[1:3]) == ((10 * TRY, 1), (10 * USD, 0))


def test_only_a_customers_call_has_a_second_leg() -> None:
    """A user's call would move somebody else's balance, or a customer's would not move its partner's."""
    log = tree()
    assert log.code(call(1, TRY, 1)) is Code.INVALID
    assert log.code(call(2, TRY, 0, key="key-cem")) is Code.INVALID
    assert log.code(call(3, 0, 1, key="key-cem")) is Code.INVALID
    assert log.code(call(4, TRY, 1, key="key-pro")) is Code.INVALID
    assert log.code(call(5, USD, 1, key="key-pia")) is Code.INVALID
    assert log.code(call(6, 0, 0, key="key-cem")) is Code.ADMITTED
    assert log.codes(call(7, TRY), grown(7, 0, 1), paid(7, 0, 1), paid(7, 1)) == [
        Code.ADMITTED,
        Code.INVALID,
        Code.INVALID,
        Code.SETTLED,
    ]
    assert all(money(log, each)[1] == 0 for each in ("pam", "pia", "org"))


def test_negative_amounts_on_either_leg_have_no_effect() -> None:
    """A core's bad arithmetic would give money away."""
    log = tree()
    assert log.code(call(1, -1, 1, key="key-cem")) is Code.INVALID
    assert log.code(call(1, 1, -1, key="key-cem")) is Code.INVALID
    log.append(call(1, TRY, USD, key="key-cem"))
    assert log.codes(grown(1, -1, 0), grown(1, 0, -1), paid(1, -1, 0), paid(1, 0, -1)) == [Code.INVALID] * 4
    assert (money(log, "cem")[1], money(log, "pia")[1]) == (TRY, USD)


def test_a_suspended_account_takes_all_below_it_along() -> None:
    """A partner that was switched off would go on through its customers."""
    log = tree()
    keys = ("key-pia", "key-cem", "key-can", "key-pro", "key-ann")

    def codes() -> list[Code]:
        return [log.code(call(f"{log.state.position} {key}", key=key)) for key in keys]

    admitted, suspended = Code.ADMITTED, Code.SUSPENDED
    log.append(account_suspended("pia"))
    assert codes() == [suspended, suspended, admitted, admitted, admitted]
    log.append(account_suspended("pam"), account_resumed("pia"))
    assert codes() == [suspended, suspended, suspended, admitted, admitted]
    log.append(account_resumed("pam"), account_suspended("cem"))
    assert codes() == [admitted, suspended, admitted, admitted, admitted]


def test_a_running_call_ends_although_its_partner_was_suspended() -> None:
    """An answer that was given would not be paid for."""
    log = tree()
    log.append(call(1, TRY, USD, key="key-cem"), account_suspended("pam"))
    assert log.codes(grown(1, TRY, USD), paid(1, 2 * TRY, 2 * USD)) == [Code.EXTENDED, Code.SETTLED]
    assert log.state.accounts[name("pia")].charges_nano == 2 * USD


def test_a_key_of_one_account_cannot_pay_with_another() -> None:
    """A customer could spend its partner's balance."""
    log = tree()
    assert log.code(call(1, key="key-cem", account="pia")) is Code.KEY_REFUSED
    assert log.code(call(1, key="key-pia", account="pam")) is Code.KEY_REFUSED
    assert log.code(call(1, key="nobody", account="ann")) is Code.KEY_REFUSED
    assert log.code(call(1, key="nobody", account="nobody")) is Code.INVALID


def test_openings_that_contradict_themselves_are_invalid() -> None:
    """A request would have no id, no end, or a hold beyond what can be stored."""
    log = tree()
    bad = call(1)
    bad.request_opened.request_id = b"short"
    assert log.codes(bad, call(1, attempt=0), call(1, attempt=255), call(1, lease_ms=0)) == [Code.INVALID] * 4
    assert log.codes(call(1, tokens=2**40 + 1), call(1, tokens=2**64 - 1)) == [Code.INVALID] * 2
    assert log.code(call(1, tokens=2**40, attempt=254)) is Code.ADMITTED
    assert log.codes(grown(1, tokens=1, attempt=254), grown(1, tokens=2**64 - 1, attempt=254)) == [Code.INVALID] * 2
    assert log.code(grown(1, lease_ms=0, attempt=254)) is Code.INVALID
    log.state.digest()


def test_an_attempt_meets_what_came_before_it() -> None:
    """A request would be charged twice, or opened by another account."""
    log = tree()
    assert log.codes(call(1), call(1), call(1, key="key-pro", attempt=2)) == [
        Code.ADMITTED,
        Code.STALE_ATTEMPT,
        Code.STALE_ATTEMPT,
    ]
    assert log.code(call(1, attempt=3)) is Code.ADMITTED
    assert log.codes(paid(1), grown(1), released(1), submitted(1)) == [Code.NOT_OPEN] * 4
    assert log.codes(call(1, attempt=2), paid(1, attempt=3), call(1, attempt=4)) == [
        Code.STALE_ATTEMPT,
        Code.SETTLED,
        Code.ALREADY_ENDED,
    ]
    assert log.codes(call(2), released(2), call(2), call(2, attempt=2)) == [
        Code.ADMITTED,
        Code.RELEASED,
        Code.ALREADY_ENDED,
        Code.ADMITTED,
    ]


def test_a_superseded_attempt_is_gone_even_if_the_next_is_refused() -> None:
    """Its money would stay held although no core works on it."""
    log = tree(10 * TRY)
    log.append(call(1, TRY))
    outcome = log.append(call(1, 11 * TRY, attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.INSUFFICIENT, 1)
    assert log.codes(paid(1), call(1, attempt=1)) == [Code.NOT_OPEN, Code.ALREADY_ENDED]
    assert money(log, "ann") == (10 * TRY, 0, 0, 0)
    outcome = log.append(call(2, TRY), call(2, key="key-revoked", account="ann", attempt=2))[1]
    assert (outcome.code, outcome.superseded) == (Code.KEY_REFUSED, 1)


def test_an_expired_attempt_that_is_superseded_gives_nothing_back_twice() -> None:
    """The account would hold less than nothing."""
    log = tree(10 * TRY)
    log.append(call(1, TRY, 1, key="key-cem", tokens=5))
    log.later(LEASE_MS)
    outcome = log.append(call(1, TRY, 1, key="key-cem", tokens=5, attempt=2))[0]
    assert (outcome.code, outcome.superseded) == (Code.ADMITTED, 1)
    assert (money(log, "cem")[1:3], money(log, "pia")[1]) == ((TRY, 1), 1)


def test_a_lease_is_never_shortened() -> None:
    """A call that runs would lose its hold."""
    log = tree()
    log.append(call(1, TRY, lease_ms=60_000), grown(1, lease_ms=1000))
    assert log.state.next_deadline_ms() == log.now_ms + 60_000
    log.append(grown(1, lease_ms=90_000))
    assert log.state.next_deadline_ms() == log.now_ms + 90_000


def test_a_released_late_call_is_gone() -> None:
    """It could be settled a second time."""
    log = tree()
    log.append(call(1, TRY, USD, key="key-cem"))
    log.later(LEASE_MS)
    assert log.codes(grown(1), released(1), paid(1, TRY, USD)) == [Code.NOT_OPEN, Code.RELEASED, Code.NOT_OPEN]
    assert (money(log, "cem"), money(log, "pia")) == ((100 * TRY, 0, 0, 0), (100 * USD, 0, 0, 0))


def test_losses_are_counted_as_far_as_numbers_reach() -> None:
    """One absurd charge would stop every replica."""
    log = tree(TRY)
    for n in range(2):
        log.append(call(n, key="key-cem"), paid(n, MAX_NANO, MAX_NANO))
    assert (money(log, "cem")[3], money(log, "pia")[3]) == (MAX_NANO, MAX_NANO)
    log.state.digest()


def test_an_account_below_zero_stops_the_fold() -> None:
    """A defect of the rules would go on charging."""
    log = tree()
    log.append(call(1, TRY, USD, key="key-cem"))
    log.state.accounts[name("pia")].credits_nano = 0
    with pytest.raises(holds.InvariantBroken):
        log.append(grown(1, TRY, 0))


def test_a_tree_may_be_opened_and_used_in_one_batch() -> None:
    """Onboarding a partner would need a pause between its steps."""
    log = Log()
    codes = log.codes(
        rules_activated(2),
        placed("pam", pb.PARTNER, pb.USD),
        placed("cem", pb.PARTNER_CUSTOMER, pb.TRY, "pam"),
        key_issued("key-cem", "cem"),
        credit_added(TRY, account="pam"),
        credit_added(TRY, account="cem"),
        call(1, TRY, TRY, key="key-cem"),
        paid(1, TRY, TRY),
    )
    assert codes == [Code.APPLIED] * 6 + [Code.ADMITTED, Code.SETTLED]
    assert (money(log, "cem")[0], money(log, "pam")[0]) == (0, 0)
