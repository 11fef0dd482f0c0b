"""Who calls, as metadata says it: malformed, partial, within reach; and what an administrator must say of a credit."""

from typing import Any

import grpc
import pytest

from cli.client import Caller, CallFailed
from core.admin.callers import REACH_ENTRIES_MAX, caller_of
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.admin_pb2_grpc import AdminStub
from tests.admin.conftest import TOKEN, UNKNOWN_ACCOUNT, Operator

ADMINISTRATOR = Caller("ada", "administer", "*")


def within(*reach: str, access: str = "write") -> Caller:
    """Somebody who reaches these accounts."""
    return Caller("eve", access, ",".join(reach))


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (Caller("eve", "write", None), "belong together"),
        (Caller("eve", None, "*"), "belong together"),
        (Caller("", "read", "*"), "belong together"),
        (Caller("eve", "", "*"), "must be one of read, write, credit, administer"),
        (Caller("eve", "root", "*"), "must be one of"),
        (Caller("eve", "administer", UNKNOWN_ACCOUNT), "must be * for whoever administers"),
        (Caller("eve", "write", "acc_1"), "must be *, or ids of accounts"),
        (Caller("eve", "write", f"{UNKNOWN_ACCOUNT},"), "must be *, or ids of accounts"),
        (Caller("eve", "write", f"{UNKNOWN_ACCOUNT},*"), "must be *, or ids of accounts"),
        (Caller("eve", "write", f"{UNKNOWN_ACCOUNT}/*/*"), "must be *, or ids of accounts"),
        (Caller("eve", "write", f"{UNKNOWN_ACCOUNT}/"), "must be *, or ids of accounts"),
        (Caller("eve", "write", f"{UNKNOWN_ACCOUNT}/all"), "must be *, or ids of accounts"),
        (Caller("eve", "write", UNKNOWN_ACCOUNT.upper()), "must be *, or ids of accounts"),
        (Caller("eve", "write", ",".join([UNKNOWN_ACCOUNT] * (REACH_ENTRIES_MAX + 1))), "at most 1000 accounts"),
    ],
)
async def test_malformed_rights_are_no_rights(operator: Operator, caller: Caller, reason: str) -> None:
    """A word that nobody understands, or that got lost on the way, would make an operator of anybody."""
    failure = await operator.refused("ListAccounts", admin.ListAccountsRequest(), caller)
    assert failure.code == "invalid_argument"
    assert reason in failure.message


async def test_as_many_accounts_as_are_allowed_fit(operator: Operator) -> None:
    """Whoever looks after many accounts could not get in at all."""
    account = await operator.open()
    caller = within(*[UNKNOWN_ACCOUNT + "/*"] * (REACH_ENTRIES_MAX - 1), account.account_id)
    found = await operator.call("ListAccounts", admin.ListAccountsRequest(), caller)
    assert [each.account_id for each in found.accounts] == [account.account_id]


async def test_rights_that_are_given_twice_are_refused(operator: Operator) -> None:
    """The first might be checked and the second used."""
    twice = (
        ("x-onysoft-actor", "eve"),
        ("x-onysoft-access", "read"),
        ("x-onysoft-reach", ""),
        ("x-onysoft-reach", "*"),
    )
    async with grpc.aio.insecure_channel(operator.address) as channel:
        metadata: Any = (("authorization", f"Bearer {TOKEN}"), *twice)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await AdminStub(channel).GetStatus(admin.GetStatusRequest(), metadata=metadata)  # type: ignore[misc]
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_nothing_within_reach_is_nothing(operator: Operator) -> None:
    """An empty list taken for a missing one would open every account to whoever has none."""
    account = await operator.open()
    reference = admin.AccountRef(account_id=account.account_id)
    assert (await operator.refused("GetAccount", reference, within())).code == "not_found"
    assert not (await operator.call("ListAccounts", admin.ListAccountsRequest(), within())).accounts


def test_a_name_alone_is_an_operators() -> None:
    assert caller_of([("x-onysoft-actor", "usr_7"), ("user-agent", "x")]).access is None


async def test_a_list_has_what_is_within_reach(operator: Operator) -> None:
    """A partner would read who else is a customer here."""
    partner = await operator.open(kind=ledger.PARTNER)
    project = await operator.open(kind=ledger.PARTNER_PROJECT, parent_id=partner.account_id)
    customer = await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=project.account_id)
    other = await operator.open()
    await operator.open()

    async def listed(*reach: str, limit: int = 0) -> list[str]:
        request = admin.ListAccountsRequest(limit=limit)
        found = await operator.call("ListAccounts", request, within(*reach))
        return [each.account_id for each in found.accounts]

    family = [partner.account_id, project.account_id, customer.account_id]
    assert await listed(f"{partner.account_id}/*") == family
    assert await listed(f"{project.account_id}/*", other.account_id) == [*family[1:], other.account_id]
    assert await listed(partner.account_id) == family[:1]
    assert await listed(f"{partner.account_id}/*", limit=2) == family[:2]


@pytest.mark.parametrize(
    "method", ["SetLimits", "BlockModel", "UnblockModel", "ClearLimits", "SetMarkup", "ResumeAccount"]
)
async def test_nobody_sets_what_binds_themselves(operator: Operator, method: str) -> None:
    """A partner would lift the house's limits on itself, or set the price that it pays."""
    partner = await operator.open(kind=ledger.PARTNER)
    requests: dict[str, Any] = {
        "SetLimits": admin.SetLimitsRequest(owner_id=partner.account_id, requests_per_day=0),
        "SetMarkup": admin.SetMarkupRequest(account_id=partner.account_id, markup_bps=0),
        "ResumeAccount": admin.AccountRef(account_id=partner.account_id),
    }
    request = requests.get(method, admin.PatternRef(owner_id=partner.account_id))
    failure = await operator.refused(method, request, within(f"{partner.account_id}/*"))
    assert failure.code == "permission_denied"
    assert partner.account_id in failure.message


@pytest.mark.parametrize(
    ("kind", "parent"), [(ledger.PARTNER_PROJECT, ledger.PARTNER), (ledger.PROJECT, ledger.ORGANISATION)]
)
async def test_the_houses_margin_is_not_the_partners_to_set(operator: Operator, kind: int, parent: int) -> None:
    """Calls would be sold at what the provider takes for them."""
    above = await operator.open(kind=parent)
    caller = within(f"{above.account_id}/*")
    opening = admin.OpenAccountRequest(kind=kind, name="x", parent_id=above.account_id)  # type: ignore[arg-type]
    below = await operator.call("OpenAccount", opening, caller)
    setting = admin.SetMarkupRequest(account_id=below.account_id, markup_bps=0)
    assert (await operator.refused("SetMarkup", setting, caller)).code == "permission_denied"
    opening.markup_bps = 0
    assert (await operator.refused("OpenAccount", opening, caller)).code == "permission_denied"
    await operator.call("OpenAccount", opening, ADMINISTRATOR)


async def test_a_partner_sets_what_its_customers_pay(operator: Operator) -> None:
    """A partner could not do business without asking the house each time."""
    partner = await operator.open(kind=ledger.PARTNER)
    caller = within(f"{partner.account_id}/*")
    opening = admin.OpenAccountRequest(
        kind=ledger.PARTNER_CUSTOMER, name="x", parent_id=partner.account_id, markup_bps=100, requests_per_day=7
    )
    customer = await operator.call("OpenAccount", opening, caller)
    setting = admin.SetMarkupRequest(account_id=customer.account_id, markup_bps=200)
    assert (await operator.call("SetMarkup", setting, caller)).markups[0].markup_bps == 200
    clearing = admin.ClearMarkupRequest(account_id=customer.account_id, pattern="x/*")
    assert (await operator.refused("ClearMarkup", clearing, caller)).code == "not_found"


async def test_anybody_opens_an_account_as_it_comes(operator: Operator) -> None:
    """Whoever signs up would name their own price."""
    plain = admin.OpenAccountRequest(kind=ledger.USER, name="x")
    assert (await operator.call("OpenAccount", plain, within())).markup_bps == 5_000
    for more in (
        {"markup_bps": 0},
        {"requests_per_day": 0},
        {"requests_per_minute": 0},
        {"currency": ledger.USD},
        {"kind": ledger.PARTNER},
        {"kind": ledger.ORGANISATION},
    ):
        wanted = admin.OpenAccountRequest(**{"kind": ledger.USER, "name": "x", **more})  # type: ignore[arg-type]
        assert (await operator.refused("OpenAccount", wanted, within())).code == "permission_denied", more


async def test_money_moves_only_where_both_sides_are_looked_after(operator: Operator) -> None:
    """A customer would help itself from its partner's balance."""
    partner = await operator.open(kind=ledger.PARTNER)
    await operator.call("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate="40"))
    await operator.credit(partner.account_id, "10.00", "first")
    customer = await operator.open(kind=ledger.PARTNER_CUSTOMER, parent_id=partner.account_id)
    request = admin.MoveCreditRequest(
        from_account_id=partner.account_id, to_account_id=customer.account_id, amount="1.00", reference="R"
    )
    failure = await operator.refused("MoveCredit", request, within(customer.account_id))
    assert (failure.code, failure.message) == ("not_found", f"there is no account {partner.account_id}")
    both = within(customer.account_id, partner.account_id)
    assert (await operator.refused("MoveCredit", request, both)).code == "permission_denied"
    await operator.call("MoveCredit", request, within(f"{partner.account_id}/*"))


async def test_the_most_that_is_said_of_an_account_counts(operator: Operator) -> None:
    """Whoever is a member twice would lose the better half, depending on the order."""
    account = await operator.open()
    reference, own = admin.AccountRef(account_id=account.account_id), account.account_id
    failure = await operator.refused("SuspendAccount", reference, within(f"{own}/keys"))
    assert (failure.code, failure.message) == ("permission_denied", f"only who looks after {own} may do this")
    for reach in ((own, f"{own}/keys"), (f"{own}/keys", own)):
        assert (await operator.call("SuspendAccount", reference, within(*reach))).suspended


async def test_support_looks_at_a_sync_and_does_not_apply_it(operator: Operator) -> None:
    """Whoever only looks would change every price of the catalogue."""
    request = admin.SyncModelsRequest(provider="x", apply=True)
    with pytest.raises(CallFailed, match="needs access to administer") as failure:
        await operator.stream("SyncModels", request, Caller("sue", "read", "*"))
    assert failure.value.code == "permission_denied"


def credit(account: admin.Account, amount: str, **more: str) -> admin.CreditAccountRequest:
    return admin.CreditAccountRequest(account_id=account.account_id, amount=amount, reference=f"R {amount}", **more)


@pytest.mark.parametrize(
    ("amount", "more", "code", "text"),
    [
        ("1.00", {}, "invalid_argument", "reason must have"),
        ("1.00", {"reason": "  "}, "invalid_argument", "reason must have"),
        ("1.00", {"reason": "x" * 201}, "invalid_argument", "reason must have"),
        ("1.00", {"reason": "refund to ada@example.com"}, "invalid_argument", "personal data"),
        ("1.00", {"reason": "TCKN 10000000146"}, "invalid_argument", "personal data"),
        ("1.00", {"reason": "outage", "approved_by": "ada"}, "failed_precondition", "somebody other"),
        ("1000.000000001", {"reason": "outage"}, "failed_precondition", "more than 1000.00 needs a second person"),
        ("2000.00", {"reason": "outage", "approved_by": "ada"}, "failed_precondition", "somebody other"),
    ],
)
async def test_a_credit_by_hand_that_nobody_could_defend_is_refused(
    operator: Operator, amount: str, more: dict[str, str], code: str, text: str
) -> None:
    """One person alone could give away the house's money, and nobody would know why."""
    account = await operator.open()
    failure = await operator.refused("CreditAccount", credit(account, amount, **more), ADMINISTRATOR)
    assert failure.code == code
    assert text in failure.message
    assert operator.replica.state.accounts[bytes.fromhex(account.account_id[4:])].credits_nano == 0


async def test_a_credit_by_hand_with_reason_and_second_person_counts(operator: Operator) -> None:
    account = await operator.open()
    await operator.call("CreditAccount", credit(account, "1000.00", reason="invoice ONY2026000000017"), ADMINISTRATOR)
    await operator.call("CreditAccount", credit(account, "5000.00", reason="outage", approved_by="bob"), ADMINISTRATOR)
    entry = (await operator.stream("TailLedger", admin.TailLedgerRequest(limit=1)))[0]
    added = entry.event.credit_added
    assert (entry.event.actor, added.reason, added.approved_by) == ("ada", "outage", "bob")


async def test_payments_and_operators_need_no_second_person(operator: Operator) -> None:
    """A customer who has paid by card would wait for two administrators."""
    account = await operator.open()
    await operator.call("CreditAccount", credit(account, "5000.00"), Caller("console:cashier", "credit", "*"))
    await operator.call("CreditAccount", credit(account, "6000.00"))
    assert (await operator.call("GetBalance", admin.AccountRef(account_id=account.account_id))).balance == "11000.00"
