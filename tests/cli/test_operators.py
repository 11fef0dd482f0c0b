"""Commands about partners, keys, limits, markups and rates: what is asked of the service, and what scripts get."""

import time
from typing import Any

import grpc
import pytest
import typer

from cli.times import duration_ms, moment_ms, shown
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.cli.conftest import FakeAdmin, Onysoft

ACCOUNT = "acc_" + "a" * 24
OTHER = "acc_" + "c" * 24
KEY = "key_" + "b" * 24
DAY_MS = 86_400_000


def asked(server: FakeAdmin) -> Any:
    """The last request."""
    return server.asked[-1][1]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("organisation", ledger.ORGANISATION),
        ("partner", ledger.PARTNER),
        ("partner-project", ledger.PARTNER_PROJECT),
        ("partner-customer", ledger.PARTNER_CUSTOMER),
    ],
)
def test_accounts_of_all_kinds(admin_server: FakeAdmin, onysoft: Onysoft, word: str, kind: int) -> None:
    admin_server.answers["OpenAccount"] = admin.Account(account_id=ACCOUNT)
    assert onysoft("account", "open", "--kind", word, "--name", "P", "--parent", OTHER).code == 0
    assert (asked(admin_server).kind, asked(admin_server).parent_id) == (kind, OTHER)
    assert not asked(admin_server).currency


def test_money_goes_back_and_across(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    balance = admin.Balance(balance="1.00", available="1.00", currency="USD", receivable="2.00")
    admin_server.answers["ReverseCredit"] = admin.Credit(
        account_id=ACCOUNT, amount="3.00", counted=True, balance=balance
    )
    assert onysoft("account", "reverse", ACCOUNT, "3.00", "--reference", "R", "--json").json["counted"]
    assert asked(admin_server) == admin.ReverseCreditRequest(account_id=ACCOUNT, amount="3.00", reference="R")
    moved = admin.Movement(
        from_account_id=ACCOUNT,
        to_account_id=OTHER,
        amount="2.00",
        to_amount="80.00",
        reference="R",
        counted=True,
        from_balance=balance,
        to_balance=admin.Balance(balance="80.00", currency="TRY"),
    )
    admin_server.answers["MoveCredit"] = moved
    assert onysoft("account", "move", ACCOUNT, OTHER, "2.00", "--reference", "R", "--json").json == {
        "from_account_id": ACCOUNT,
        "to_account_id": OTHER,
        "amount": "2.00",
        "currency": "USD",
        "to_amount": "80.00",
        "to_currency": "TRY",
        "reference": "R",
        "counted": True,
        "from_balance": "1.00",
        "to_balance": "80.00",
    }


def test_a_keys_policy(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """What is not named must stay, and a list that is emptied must be told from one that is not named."""
    admin_server.answers["IssueKey"] = admin.IssuedKey(key_id=KEY, api_key="sk-ony-1")
    options = ["--expires", "30d", "--allow-model", "a/b", "--allow-model", "google/*", "--allow-ip", "192.0.2.0/24"]
    assert onysoft("key", "issue", ACCOUNT, "--name", "n", *options).code == 0
    policy = asked(admin_server).policy
    assert (list(policy.allowed_models), list(policy.allowed_ips)) == (["a/b", "google/*"], ["192.0.2.0/24"])
    assert abs(policy.expires_ms - time.time() * 1000 - 30 * DAY_MS) < 60_000
    admin_server.answers["ChangeKey"] = admin.Key(key_id=KEY, state="active")
    assert onysoft("key", "change", KEY, "--name", "m").code == 0
    request = asked(admin_server)
    assert request.name == "m"
    assert not request.HasField("expires_ms")
    assert not request.HasField("allowed_models")
    assert not request.HasField("allowed_ips")
    assert onysoft("key", "change", KEY, "--expires", "never", "--any-model", "--allow-ip", "2001:db8::/32").code == 0
    request = asked(admin_server)
    assert request.HasField("expires_ms")
    assert request.expires_ms == 0
    assert request.HasField("allowed_models")
    assert list(request.allowed_models.patterns) == []
    assert list(request.allowed_ips.ranges) == ["2001:db8::/32"]
    assert not request.HasField("name")
    assert onysoft("key", "change", KEY, "--any-ip", "--allow-ip", "192.0.2.1").code == 2


def test_a_key_is_rotated_suspended_and_resumed(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["RotateKey"] = admin.IssuedKey(key_id=KEY, api_key="sk-ony-2")
    assert onysoft("key", "rotate", KEY, "--grace", "2h", "--json").json == {"key_id": KEY, "api_key": "sk-ony-2"}
    assert asked(admin_server).grace_ms == 2 * 3_600_000
    policy = ledger.KeyPolicy(expires_ms=1_786_710_600_000, allowed_models=["google/*"], allowed_ips=["192.0.2.1/32"])
    admin_server.answers["SuspendKey"] = admin.Key(
        key_id=KEY, account_id=ACCOUNT, state="suspended", suspended=True, policy=policy, last_used_ms=1_786_710_600_000
    )
    shape = onysoft("key", "suspend", KEY, "--json").json
    assert shape["state"] == "suspended"
    assert shape["expires"] == shape["last_used"] == "2026-08-14T15:30:00+03:00"
    assert shape["allowed_models"] == ["google/*"]
    admin_server.answers["ResumeKey"] = admin.Key(key_id=KEY, state="active")
    assert onysoft("key", "resume", KEY, "--json").json["state"] == "active"


def test_limits(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """A limit that is not named must not be removed by naming another."""
    row = admin.Limit(
        pattern="google/*", kind="daily_tokens", most=10, used=3, held=2, left=5, resets_ms=1_786_710_600_000
    )
    found = admin.LimitList(owner_id=KEY, limits=[row], blocked_models=["x"])
    admin_server.answers.update(SetLimits=found, ClearLimits=found, ListLimits=found)
    done = onysoft(
        "limits", "set", KEY, "--model", "google/*", "--daily-tokens", "10", "--requests-per-day", "0", "--json"
    )
    request = asked(admin_server)
    assert (request.owner_id, request.pattern, request.daily_tokens) == (KEY, "google/*", 10)
    assert request.HasField("requests_per_day")
    assert request.requests_per_day == 0
    for field in ("requests_per_minute", "daily_requests", "monthly_tokens"):
        assert not request.HasField(field)
    shape = {
        "owner_id": KEY,
        "limits": [
            {
                "pattern": "google/*",
                "limit": "daily_tokens",
                "most": 10,
                "used": 3,
                "held": 2,
                "left": 5,
                "resets_ms": 1_786_710_600_000,
                "turns": "2026-08-14T15:30:00+03:00",
            }
        ],
        "blocked_models": ["x"],
    }
    assert done.json == shape
    assert onysoft("limits", "show", KEY, "--json").json == shape
    assert onysoft("limits", "clear", KEY, "--model", "google/*", "--json").json == shape
    assert asked(admin_server) == admin.PatternRef(owner_id=KEY, pattern="google/*")
    assert "daily_tokens" in onysoft("limits", "show", KEY).out


def test_blocks_and_markups(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["BlockModel"] = admin.BlockList(owner_id=ACCOUNT, patterns=["google/*"])
    admin_server.answers["UnblockModel"] = admin.BlockList(owner_id=ACCOUNT)
    blocked = onysoft("models", "block", ACCOUNT, "--model", "google/*", "--json")
    assert blocked.json == {"owner_id": ACCOUNT, "blocked_models": ["google/*"]}
    assert onysoft("models", "unblock", ACCOUNT, "--model", "google/*", "--json").json["blocked_models"] == []
    assert onysoft("models", "block", ACCOUNT).code == 2, "nobody blocks everything by leaving out a word"
    found = admin.MarkupList(account_id=ACCOUNT, markups=[admin.Markup(pattern="*", markup_bps=3000)])
    admin_server.answers.update(SetMarkup=found, ClearMarkup=found, ListMarkups=found)
    shape = {"account_id": ACCOUNT, "markups": {"*": 3000}}
    assert onysoft("markup", "set", ACCOUNT, "--bps", "3000", "--json").json == shape
    assert asked(admin_server) == admin.SetMarkupRequest(account_id=ACCOUNT, pattern="*", markup_bps=3000)
    assert onysoft("markup", "clear", ACCOUNT, "--model", "a/*", "--json").json == shape
    assert onysoft("markup", "show", ACCOUNT, "--json").json == shape


def test_rates(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    waits = admin.FxRate(base="USD", quote="TRY", rate="60.00", source="tcmb", reference="2026-08-14")
    admin_server.answers["ListFxRates"] = admin.FxRateList(proposed=[waits])
    admin_server.answers["ConfirmFxRate"] = waits
    assert onysoft("fx", "show", "--json").json["proposed"][0]["rate"] == "60.00"
    assert "fx confirm USD" in onysoft("fx", "show").out
    assert onysoft("fx", "confirm", "USD", "--json").json["reference"] == "2026-08-14"


@pytest.mark.parametrize("words", [("--actor", "usr_7", "key", "revoke", KEY), ("key", "revoke", KEY, "--actor=usr_7")])
def test_who_did_it_goes_along(
    admin_server: FakeAdmin, onysoft: Onysoft, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could say afterwards who revoked a customer's key."""
    seen: list[Any] = []

    def answer(method: str, request: Any, context: grpc.ServicerContext) -> Any:
        seen.extend(context.invocation_metadata())
        return admin.Key(key_id=KEY)

    monkeypatch.setattr(admin_server, "answer", answer)
    assert onysoft(*words).code == 0
    assert ("x-onysoft-actor", "usr_7") in [tuple(pair) for pair in seen]


def test_moments_and_durations() -> None:
    """A key would expire at another moment than was meant."""
    assert duration_ms("90m") == 5_400_000
    assert moment_ms("2w", 1_000) == 1_000 + 14 * DAY_MS
    assert moment_ms("2026-08-14T15:30", 0) == moment_ms("2026-08-14T12:30Z", 0) == 1_786_710_600_000
    assert moment_ms("2026-08-15", 0) == 1_786_741_200_000, "midnight in Istanbul"
    assert shown(0) == ""
    for text in ("tomorrow", "", "5", "5y", "2026-13-01"):
        with pytest.raises(typer.BadParameter):
            moment_ms(text, 0)


def test_events_with_lists_and_parts_are_shown_whole(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """The command would fail on the first key with a policy, or the first model, and show nothing at all."""
    policy = ledger.KeyPolicy(expires_ms=5, allowed_models=["google/*"], allowed_ips=["192.0.2.0/24"])
    issued = ledger.KeyIssued(key_id=b"\xbb" * 12, account_id=b"\xaa" * 12, key_hash=b"\x01", policy=policy)
    route = ledger.ModelRoute(provider="openrouter", upstream_id="a/b", price=b'{"prompt":"0.1"}')
    model = ledger.ModelSet(model_id="a/b", price=b'{"prompt":"0.2"}', price_version=b"\x02", routes=[route])
    opened = ledger.AccountOpened(account_id=b"\xaa" * 12, parent_id=b"\xcc" * 12, kind=ledger.PARTNER_CUSTOMER)
    admin_server.answers["TailLedger"] = [
        admin.LedgerEntry(event=ledger.Event(key_issued=issued, actor="usr_7"), outcome="applied"),
        admin.LedgerEntry(event=ledger.Event(model_set=model), outcome="applied"),
        admin.LedgerEntry(event=ledger.Event(account_opened=opened), outcome="applied"),
    ]
    entries = onysoft("ledger", "tail", "--json").json["entries"]
    assert entries[0]["actor"] == "usr_7"
    assert entries[0]["event"]["policy"] == {
        "expires_ms": 5,
        "allowed_models": ["google/*"],
        "allowed_ips": ["192.0.2.0/24"],
    }
    assert entries[1]["event"] == {
        "model_id": "a/b",
        "price": {"prompt": "0.2"},
        "price_version": "02",
        "routes": [{"provider": "openrouter", "upstream_id": "a/b", "price": {"prompt": "0.1"}}],
    }
    assert entries[2]["event"] == {"account_id": ACCOUNT, "parent_id": OTHER, "kind": "partner_customer"}
    assert "by=usr_7" in onysoft("ledger", "tail").out
