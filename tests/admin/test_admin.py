"""The admin service on a real log: what operators do is in the ledger, once, or is refused with a reason."""

import asyncio
import hashlib
import hmac
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bus.connection import Connection
from bus.jetstream import append
from cli.client import AdminClient, CallFailed
from core.admin import AdminService, serve_admin
from core.ledger.money import MAX_NANO, to_text
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.errors import OperatorError
from runtime.settings import Settings
from tests.admin.conftest import PEPPER, TOKEN, UNKNOWN_ACCOUNT, Operator, start_core
from tests.conftest import NatsServer


async def test_an_account_opens_with_the_documented_defaults(operator: Operator) -> None:
    """A customer would be priced or limited differently from what was promised."""
    account = await operator.open()
    assert (account.markup_bps, account.requests_per_minute, account.requests_per_day) == (5000, 60, 10000)
    assert account.currency == ledger.TRY
    assert account.balance.balance == "0.00"
    assert account.name == "Ayşe"


async def test_zero_means_no_limit_and_no_markup(operator: Operator) -> None:
    """Zero taken for "not given" would bring a markup that was waived, or a limit that was lifted."""
    account = await operator.open(markup_bps=0, requests_per_minute=0, requests_per_day=0)
    assert (account.markup_bps, account.requests_per_minute, account.requests_per_day) == (0, 0, 0)


async def test_a_credit_is_there_when_the_call_returns(operator: Operator) -> None:
    """A customer who has paid would be refused."""
    account = await operator.open()
    credit = await operator.credit(account.account_id, "5.000000001", "havale 17")
    assert credit.counted
    assert credit.balance.available == "5.000000001"
    balance = await operator.call("GetBalance", admin.AccountRef(account_id=account.account_id))
    assert (balance.balance, balance.currency, balance.credits) == ("5.000000001", "TRY", "5.000000001")
    assert balance.position == operator.replica.state.position


async def test_a_reference_counts_once(operator: Operator) -> None:
    """A payment repeated after a timeout would be credited twice."""
    account = await operator.open()
    assert (await operator.credit(account.account_id, "5.00", "R")).counted
    again = await operator.credit(account.account_id, "5.00", "R")
    assert not again.counted
    assert again.balance.balance == "5.00"


async def test_a_credit_by_hand_says_why_and_who_agreed(operator: Operator) -> None:
    """Nobody could tell afterwards why money was given away, or who had allowed it."""
    account = await operator.open()
    request = admin.CreditAccountRequest(
        account_id=account.account_id, amount="5.00", reference="R", reason=" outage of Monday ", approved_by="second"
    )
    await operator.call("CreditAccount", request)
    (entry,) = await operator.stream("TailLedger", admin.TailLedgerRequest(limit=1))
    assert entry.event.credit_added.reason == "outage of Monday"
    assert entry.event.credit_added.approved_by == "second"


async def test_only_the_keys_hash_is_stored(operator: Operator) -> None:
    """Whoever reads the log could spend every customer's money."""
    account = await operator.open()
    issued = await operator.call("IssueKey", admin.IssueKeyRequest(account_id=account.account_id, name="laptop"))
    assert len(issued.api_key) == len("sk-ony-") + 48
    expected = hmac.new(PEPPER.encode(), issued.api_key.encode(), hashlib.sha256).digest()
    assert operator.replica.state.keys_by_hash[expected].key_id.hex() == issued.key_id.removeprefix("key_")
    for entry in await operator.stream("TailLedger", admin.TailLedgerRequest(from_position=1, limit=100)):
        assert issued.api_key.encode() not in entry.SerializeToString()
        assert "laptop" not in str(entry), "names of people's things do not belong into the ledger"


async def test_a_revoked_key_is_listed_as_revoked_and_stays_so(operator: Operator) -> None:
    """A leaked key would go on spending."""
    account = await operator.open()
    issued = await operator.call("IssueKey", admin.IssueKeyRequest(account_id=account.account_id, name="leaked"))
    for _ in range(2):
        assert (await operator.call("RevokeKey", admin.KeyRef(key_id=issued.key_id))).revoked
    async with asyncio.timeout(60):
        while True:
            keys = (await operator.call("ListKeys", admin.AccountRef(account_id=account.account_id))).keys
            if keys[0].name:
                break
    assert [(key.key_id, key.name, key.revoked) for key in keys] == [(issued.key_id, "leaked", True)]


async def test_suspending_twice_is_as_good_as_once(operator: Operator) -> None:
    """A script that makes sure of something must not fail because it is so already."""
    reference = admin.AccountRef(account_id=(await operator.open()).account_id)
    for _ in range(2):
        assert (await operator.call("SuspendAccount", reference)).suspended
    for _ in range(2):
        assert not (await operator.call("ResumeAccount", reference)).suspended


async def test_accounts_are_listed_in_pages(operator: Operator) -> None:
    """An account that falls between two pages is never billed or seen."""
    opened = sorted([(await operator.open()).account_id for _ in range(5)])
    first = (await operator.call("ListAccounts", admin.ListAccountsRequest(limit=3))).accounts
    rest = (await operator.call("ListAccounts", admin.ListAccountsRequest(after=first[-1].account_id))).accounts
    assert [account.account_id for account in (*first, *rest)] == opened


async def test_a_partner_is_shown_what_is_below_it_and_nothing_else(operator: Operator) -> None:
    """A partner would see another one's customers, or miss its own."""

    async def opened(kind: ledger.AccountKind.ValueType, parent_id: str, name: str) -> str:
        request = admin.OpenAccountRequest(kind=kind, parent_id=parent_id, name=name)
        return str((await operator.call("OpenAccount", request)).account_id)

    async def found(**asked: Any) -> list[str]:
        request = admin.ListAccountsRequest(parent_id=partner, **asked)
        return [each.account_id for each in (await operator.call("ListAccounts", request)).accounts]

    partner = await opened(ledger.PARTNER, "", "partner")
    other = await opened(ledger.PARTNER, "", "other")
    foreign = await opened(ledger.PARTNER_CUSTOMER, other, "Işık Şarküteri")
    assert await found() == []
    project = await opened(ledger.PARTNER_PROJECT, partner, "project")
    shop = await opened(ledger.PARTNER_CUSTOMER, partner, "Işık Şarküteri")
    below = await opened(ledger.PARTNER_CUSTOMER, project, "below the project")
    everything = sorted([project, shop, below])
    assert await found() == everything
    assert await found(limit=2) == everything[:2]
    assert await found(after=everything[1]) == everything[2:]
    assert await found(kind=ledger.PARTNER_CUSTOMER) == sorted([shop, below])
    assert await found(account_ids=[shop, foreign, other, partner]) == [shop]
    await operator.call("SuspendAccount", admin.AccountRef(account_id=below))
    assert await found(suspended=True) == [below]
    assert await found(suspended=False) == sorted([project, shop])
    assert await found(search=shop[8:]) == [shop]
    async with asyncio.timeout(60):
        while not await found(search="isik sark"):
            continue
    assert await found(search="ışık") == await found(search="IŞIK") == [shop]
    assert await found(search="nobody") == []


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("0", "more than 0"),
        ("-5", "more than 0"),
        ("1.0000000001", "nine decimal places"),
        ("NaN", "positive decimal"),
        ("5,00", "positive decimal"),
        ("", "positive decimal"),
        ("1e30", "positive decimal"),
        ("9223372036.854775808", "too large"),
    ],
)
async def test_a_wrong_amount_is_refused_and_named(operator: Operator, amount: str, reason: str) -> None:
    """Money that was not meant would be credited."""
    account = await operator.open()
    request = admin.CreditAccountRequest(account_id=account.account_id, amount=amount, reference="R")
    failure = await operator.refused("CreditAccount", request)
    assert failure.code == "invalid_argument"
    assert failure.message.startswith("amount ")
    assert reason in failure.message
    assert operator.replica.state.accounts[bytes.fromhex(account.account_id[4:])].credits_nano == 0


async def test_credits_never_exceed_what_can_be_counted(operator: Operator) -> None:
    """An overflow would turn a rich account into an indebted one."""
    account = await operator.open()
    await operator.credit(account.account_id, to_text(MAX_NANO), "all")
    request = admin.CreditAccountRequest(account_id=account.account_id, amount="0.000000001", reference="more")
    assert (await operator.refused("CreditAccount", request)).code == "invalid_argument"


@pytest.mark.parametrize(
    ("method", "request_", "code", "field"),
    [
        ("OpenAccount", admin.OpenAccountRequest(kind=ledger.USER, name=" "), "invalid_argument", "name"),
        ("OpenAccount", admin.OpenAccountRequest(kind=ledger.USER, name="x" * 201), "invalid_argument", "name"),
        ("OpenAccount", admin.OpenAccountRequest(name="x"), "invalid_argument", "kind"),
        (
            "OpenAccount",
            admin.OpenAccountRequest(kind=ledger.USER, name="x", markup_bps=100_001),
            "invalid_argument",
            "markup_bps",
        ),
        ("GetBalance", admin.AccountRef(account_id="acc_1"), "invalid_argument", "account_id"),
        ("GetBalance", admin.AccountRef(account_id=UNKNOWN_ACCOUNT), "not_found", UNKNOWN_ACCOUNT),
        ("IssueKey", admin.IssueKeyRequest(account_id=UNKNOWN_ACCOUNT, name="x"), "not_found", UNKNOWN_ACCOUNT),
        ("RevokeKey", admin.KeyRef(key_id="key_" + "0" * 24), "not_found", "key_"),
        ("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate="0"), "invalid_argument", "rate"),
        ("SetFxRate", admin.SetFxRateRequest(base=ledger.TRY, rate="1"), "invalid_argument", "base"),
        ("ShowRequest", admin.RequestRef(request_id="req_" + "0" * 24), "unavailable", "projections"),
    ],
)
async def test_a_mistake_is_refused_by_name(
    operator: Operator, method: str, request_: Any, code: str, field: str
) -> None:
    """An operator would not know what to correct, or the ledger would hold nonsense for ever."""
    before = operator.replica.state.position
    failure = await operator.refused(method, request_)
    assert failure.code == code
    assert field in failure.message
    assert operator.replica.state.position == before


async def test_without_the_token_nothing_is_served(operator: Operator) -> None:
    """Anyone on the network could credit themselves."""
    account = await operator.open()
    for token in ("", "wrong", TOKEN + "x"):
        client = await asyncio.to_thread(AdminClient, [operator.address], token)
        with pytest.raises(CallFailed) as failure:
            await asyncio.to_thread(client.call, "GetBalance", admin.AccountRef(account_id=account.account_id))
        assert failure.value.code == "unauthenticated"
        with pytest.raises(CallFailed) as failure:
            await asyncio.to_thread(next, client.stream("TailLedger", admin.TailLedgerRequest(limit=1)))
        assert failure.value.code == "unauthenticated"
        client.close()


@pytest.mark.parametrize("secret", ["admin_token", "key_pepper"])
async def test_a_core_without_secrets_does_not_listen(settings: Settings, secret: str) -> None:
    """An empty token lets everybody in; an empty pepper makes stolen hashes worth trying."""
    with pytest.raises(OperatorError, match=f"ONYSOFT_{secret.upper()}"):
        await serve_admin(cast(AdminService, None), settings.model_copy(update={secret: SecretStr("")}))


async def test_another_cores_credit_is_seen_at_once(
    operator: Operator, settings: Settings, nats_server: NatsServer
) -> None:
    """An operator who credits through one core and looks through another would credit again."""
    other_connection = await Connection.open(settings, "other")
    replica, server, other = await start_core(other_connection, settings)
    account = await operator.open()
    for number in range(10):
        await operator.credit(account.account_id, "1.00", f"R{number}")
        balance = await other.call("GetBalance", admin.AccountRef(account_id=account.account_id))
        assert balance.balance == f"{number + 1}.00"
    other.close()
    await server.stop(0)
    await replica.close()
    await other_connection.close()


async def test_every_look_waits_for_what_is_in_the_log(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wait an operator now and then sees the state before another core's write."""
    account_id = (await operator.open()).account_id
    key_id = (await operator.call("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="k"))).key_id
    waits: list[str] = []
    fresh = operator.replica.fresh

    async def counted() -> None:
        waits.append("waited")
        await fresh()

    monkeypatch.setattr(operator.replica, "fresh", counted)
    looks: list[tuple[str, Any]] = [
        ("GetAccount", admin.AccountRef(account_id=account_id)),
        ("GetBalance", admin.AccountRef(account_id=account_id)),
        ("ListAccounts", admin.ListAccountsRequest()),
        ("ListKeys", admin.AccountRef(account_id=account_id)),
        ("RevokeKey", admin.KeyRef(key_id=key_id)),
        ("GetStatus", admin.GetStatusRequest()),
    ]
    for number, (method, request) in enumerate(looks, 1):
        await operator.call(method, request)
        assert len(waits) == number, method


async def test_a_write_without_the_log_is_in_doubt_not_done(
    operator: Operator, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator told "credited" would have told the customer so."""
    account = await operator.open()
    nats_server.kill()
    request = admin.CreditAccountRequest(account_id=account.account_id, amount="5.00", reference="R")
    with monkeypatch.context() as hurried:
        hurried.setattr("core.admin.desk.APPEND_TIMEOUT_S", 0.5)
        failure = await operator.refused("CreditAccount", request)
    assert failure.code == "unavailable"
    assert "not known" in failure.message
    nats_server.start()
    again = await operator.credit(account.account_id, "5.00", "R")
    assert again.balance.balance == "5.00", "the reference makes the repetition safe"


async def test_the_newest_events_are_shown_with_their_outcomes(operator: Operator) -> None:
    """A person who asks what just happened would see something else."""
    account = await operator.open()
    await operator.credit(account.account_id, "1.00", "R")
    await operator.credit(account.account_id, "1.00", "R")
    newest = await operator.stream("TailLedger", admin.TailLedgerRequest(limit=2))
    assert [(entry.event.WhichOneof("event"), entry.outcome) for entry in newest] == [
        ("credit_added", "applied"),
        ("credit_added", "exists"),
    ]
    first = await operator.stream("TailLedger", admin.TailLedgerRequest(from_position=1, limit=1))
    assert [entry.event.WhichOneof("event") for entry in first] == ["rules_activated"]


async def test_following_shows_what_comes(operator: Operator) -> None:
    """A watcher would sit before a silent screen while money moves."""
    account = await operator.open()
    start = operator.replica.state.position + 1
    client = AdminClient([operator.address], TOKEN)
    following = client.stream("TailLedger", admin.TailLedgerRequest(from_position=start))
    first = asyncio.create_task(asyncio.to_thread(next, following))
    await operator.credit(account.account_id, "1.00", "R")
    assert (await asyncio.wait_for(first, 10)).event.credit_added.reference == "R"
    client.close()


async def test_a_sound_ledger_verifies_to_the_same_digest(operator: Operator) -> None:
    """Nobody could show that the balances follow from the log."""
    account = await operator.open()
    for number in range(20):
        await operator.credit(account.account_id, "1.00", f"R{number}")
    *_, last = await operator.stream("VerifyLedger", admin.VerifyLedgerRequest())
    assert (last.done, last.ok, last.problem) == (True, True, "")
    assert (last.position, last.events) == (operator.replica.state.position, 22)
    assert last.state_digest == operator.replica.state.digest()
    assert last.chain_hash == operator.replica.state.chain_hash


async def test_a_broken_ledger_does_not_verify(operator: Operator) -> None:
    """Silent loss or forgery in the log would pass for a good statement."""
    await operator.open()
    forged = ledger.LedgerBatch(writer=bytes(8), number=1)
    forged.events.add().checkpoint.CopyFrom(ledger.Checkpoint(position=1, chain_hash=bytes(32), state_digest=b""))
    forged.events.add()
    await append(operator.connection, "ledger.0", forged.SerializeToString(), "forged")
    *_, last = await operator.stream("VerifyLedger", admin.VerifyLedgerRequest())
    assert (last.done, last.ok) == (True, False)
    assert last.problem
