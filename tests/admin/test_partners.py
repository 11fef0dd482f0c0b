"""Partners, organisations and what is below them: opened, paid, suspended, priced."""

from typing import Any, cast

import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.admin.conftest import Operator


async def partner(operator: Operator, usd: str = "10.00") -> str:
    """A partner with dollars; its id."""
    account = await operator.open(kind=ledger.PARTNER)
    await operator.credit(account.account_id, usd, "first")
    return account.account_id


async def set_rate(operator: Operator, rate: str = "40.00") -> None:
    await operator.call("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate=rate))


async def move(operator: Operator, giver: str, taker: str, amount: str, reference: str = "R") -> admin.Movement:
    request = admin.MoveCreditRequest(from_account_id=giver, to_account_id=taker, amount=amount, reference=reference)
    return cast(admin.Movement, await operator.call("MoveCredit", request))


@pytest.mark.parametrize(
    ("kind", "parent", "currency", "markup_bps"),
    [
        (ledger.USER, None, ledger.TRY, 5_000),
        (ledger.ORGANISATION, None, ledger.TRY, 5_000),
        (ledger.PROJECT, None, ledger.TRY, 5_000),
        (ledger.PROJECT, ledger.ORGANISATION, ledger.TRY, 5_000),
        (ledger.PARTNER, None, ledger.USD, 5_000),
        (ledger.PARTNER_PROJECT, ledger.PARTNER, ledger.USD, 5_000),
        (ledger.PARTNER_CUSTOMER, ledger.PARTNER, ledger.TRY, 3_000),
    ],
)
async def test_each_kind_opens_with_its_defaults(
    operator: Operator, kind: int, parent: int | None, currency: int, markup_bps: int
) -> None:
    """A partner would be billed in the wrong currency, or its customers at the wrong price."""
    parent_id = (await operator.open(kind=parent)).account_id if parent else ""
    account = await operator.open(kind=kind, parent_id=parent_id)
    assert (account.kind, account.currency, account.markup_bps) == (kind, currency, markup_bps)
    assert account.parent_id == parent_id
    assert account.root_id == (parent_id or account.account_id)
    if parent_id:
        root = await operator.call("GetAccount", admin.AccountRef(account_id=parent_id))
        assert account.partition == root.partition, "one event must be able to move both balances"


async def test_a_partners_project_may_have_customers_of_its_own(operator: Operator) -> None:
    """Three levels: their calls are still the partner's to settle."""
    root = await partner(operator)
    project = await operator.open(kind=ledger.PARTNER_PROJECT, parent_id=root)
    customer = await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=project.account_id)
    assert (customer.parent_id, customer.root_id) == (project.account_id, root)


@pytest.mark.parametrize(
    ("kind", "parent", "reason"),
    [
        (ledger.USER, ledger.PARTNER, "a user stands alone"),
        (ledger.PARTNER, ledger.PARTNER, "a partner stands alone"),
        (ledger.PROJECT, ledger.PARTNER, "must be of kind organisation"),
        (ledger.PARTNER_PROJECT, ledger.ORGANISATION, "is of kind organisation"),
        (ledger.PARTNER_CUSTOMER, ledger.USER, "must be of kind partner or partner-project"),
        (ledger.PARTNER_PROJECT, None, "the partner of the partner-project"),
        (ledger.PARTNER_CUSTOMER, None, "the partner or partner-project of the partner-customer"),
    ],
)
async def test_what_does_not_belong_together_is_refused(
    operator: Operator, kind: int, parent: int | None, reason: str
) -> None:
    """An account that hangs in the wrong place charges somebody who never agreed to pay."""
    parent_id = (await operator.open(kind=parent)).account_id if parent else ""
    before = operator.replica.state.position
    failure = await operator.refused(
        "OpenAccount",
        admin.OpenAccountRequest(kind=kind, name="x", parent_id=parent_id),  # type: ignore[arg-type]
    )
    assert failure.code == "invalid_argument"
    assert failure.message.startswith("parent_id ")
    assert reason in failure.message
    assert operator.replica.state.position == before


async def test_money_moves_within_a_partner_at_the_logged_rate(operator: Operator) -> None:
    """Lira would be made out of dollars, or lost on the way."""
    giver = await partner(operator)
    await set_rate(operator, "41.25")
    taker = (await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=giver)).account_id
    moved = await move(operator, giver, taker, "2.00")
    assert moved.counted
    assert (moved.amount, moved.to_amount) == ("2.00", "82.50")
    assert (moved.from_balance.balance, moved.to_balance.balance) == ("8.00", "82.50")
    assert not (await move(operator, giver, taker, "2.00")).counted, "a repeated click"
    back = await move(operator, taker, giver, "82.50")
    assert (back.to_amount, back.from_balance.balance, back.to_balance.balance) == ("2.00", "0.00", "10.00")


async def test_a_conversion_makes_nothing(operator: Operator) -> None:
    """Rounding up would let anyone grow money by moving it to and fro."""
    giver = await partner(operator)
    await set_rate(operator, "3.00")
    taker = (await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=giver)).account_id
    await move(operator, giver, taker, "1.00", "1")
    moved = await move(operator, taker, giver, "1.00", "2")
    assert moved.to_amount == "0.333333333"


async def test_only_what_is_free_moves_and_only_within_the_family(operator: Operator) -> None:
    """A partner could spend what it does not have, or what is another's."""
    giver = await partner(operator)
    project = (await operator.open(kind=ledger.PARTNER_PROJECT, parent_id=giver)).account_id
    customer = (await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=giver)).account_id
    stranger = await partner(operator)

    async def refused(taker: str, amount: str) -> tuple[str, str]:
        request = admin.MoveCreditRequest(from_account_id=giver, to_account_id=taker, amount=amount, reference="R")
        failure = await operator.refused("MoveCredit", request)
        return failure.code, failure.message

    assert await refused(project, "10.01") == ("failed_precondition", "the balance does not cover it")
    assert (await refused(stranger, "1.00"))[0] == "invalid_argument"
    assert (await refused(giver, "1.00"))[0] == "invalid_argument"
    assert "exchange rate" in (await refused(customer, "1.00"))[1]
    assert (await move(operator, giver, project, "10.00")).from_balance.balance == "0.00"


async def test_a_reversal_stops_at_what_is_free(operator: Operator) -> None:
    """A chargeback of money that was spent would push a balance below zero."""
    account = await operator.open()
    await operator.credit(account.account_id, "5.00", "card 1")
    request = admin.ReverseCreditRequest(account_id=account.account_id, amount="7.00", reference="card 1")
    reversed_ = await operator.call("ReverseCredit", request)
    assert reversed_.counted
    assert (reversed_.balance.balance, reversed_.balance.receivable) == ("0.00", "2.00")
    assert not (await operator.call("ReverseCredit", request)).counted
    shown = await operator.call("GetAccount", admin.AccountRef(account_id=account.account_id))
    assert shown.balance.receivable == "2.00"


async def test_markups_by_pattern(operator: Operator) -> None:
    """A price that was agreed on for some models would be lost, or hold for all."""
    account_id = (await operator.open()).account_id

    async def markups(method: str, request: Any) -> dict[str, int]:
        found = await operator.call(method, request)
        return {each.pattern: each.markup_bps for each in found.markups}

    wanted = admin.SetMarkupRequest(account_id=account_id, pattern="google/*", markup_bps=100)
    assert await markups("SetMarkup", wanted) == {"*": 5_000, "google/*": 100}
    assert await markups("SetMarkup", admin.SetMarkupRequest(account_id=account_id, markup_bps=0)) == {
        "*": 0,
        "google/*": 100,
    }
    cleared = admin.ClearMarkupRequest(account_id=account_id, pattern="google/*")
    assert await markups("ClearMarkup", cleared) == {"*": 0}
    assert (await operator.refused("ClearMarkup", cleared)).code == "not_found"
    assert await markups("ListMarkups", admin.AccountRef(account_id=account_id)) == {"*": 0}
    for pattern in ("*", ""):
        request = admin.ClearMarkupRequest(account_id=account_id, pattern=pattern)
        assert (await operator.refused("ClearMarkup", request)).code == "invalid_argument"
    too_much = admin.SetMarkupRequest(account_id=account_id, markup_bps=100_001)
    assert "markup_bps" in (await operator.refused("SetMarkup", too_much)).message


@pytest.mark.parametrize("kind", [ledger.PARTNER, ledger.ORGANISATION])
async def test_keys_belong_to_who_calls(operator: Operator, kind: int) -> None:
    """A partner's own key would be none of the four kinds of key."""
    account = await operator.open(kind=kind)
    failure = await operator.refused("IssueKey", admin.IssueKeyRequest(account_id=account.account_id, name="x"))
    assert failure.code == "invalid_argument"
    assert "project" in failure.message


async def test_who_did_it_stands_in_the_ledger(operator: Operator) -> None:
    """Nobody could say afterwards who had suspended a partner."""
    account_id = await partner(operator)
    operator.act_as("usr_42")
    await operator.call("SuspendAccount", admin.AccountRef(account_id=account_id))
    entries = await operator.stream("TailLedger", admin.TailLedgerRequest(from_position=1, limit=100))
    actors = {entry.event.WhichOneof("event"): entry.event.actor for entry in entries}
    assert actors["account_opened"] == "operator"
    assert actors["account_suspended"] == "usr_42"
    operator.act_as("x" * 101)
    assert (
        await operator.refused("SuspendAccount", admin.AccountRef(account_id=account_id))
    ).code == "invalid_argument"
