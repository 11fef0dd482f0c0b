"""The CLI's names and JSON: other people's scripts break when they change."""

import grpc
import orjson
import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.cli.conftest import FakeAdmin, Onysoft

ACCOUNT = "acc_" + "a" * 24
KEY = "key_" + "b" * 24
BALANCE = admin.Balance(
    account_id=ACCOUNT,
    balance="5.00",
    held="0.10",
    available="4.90",
    currency="TRY",
    position=7,
    credits="5.00",
    charges="0.00",
    shortfall="0.00",
    open_holds=1,
)
DETAILS = admin.Account(
    account_id=ACCOUNT,
    kind=ledger.USER,
    name="Ayşe",
    currency=ledger.TRY,
    markup_bps=5000,
    requests_per_minute=60,
    requests_per_day=10000,
    balance=BALANCE,
    partition=3,
    root_id=ACCOUNT,
    markups=[admin.Markup(pattern="*", markup_bps=5000), admin.Markup(pattern="google/*", markup_bps=100)],
    blocked_models=["x/*"],
)
BALANCE_JSON = {
    "account_id": ACCOUNT,
    "balance": "5.00",
    "held": "0.10",
    "available": "4.90",
    "currency": "TRY",
    "position": 7,
    "credits": "5.00",
    "charges": "0.00",
    "shortfall": "0.00",
    "open_holds": 1,
    "receivable": "0.00",
}
DETAILS_JSON = {
    **BALANCE_JSON,
    "kind": "user",
    "name": "Ayşe",
    "markup_bps": 5000,
    "requests_per_minute": 60,
    "requests_per_day": 10000,
    "suspended": False,
    "partition": 3,
    "parent_id": "",
    "root_id": ACCOUNT,
    "markups": {"*": 5000, "google/*": 100},
    "blocked_models": ["x/*"],
}


def test_account_open(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["OpenAccount"] = DETAILS
    done = onysoft("account", "open", "--kind", "user", "--name", "Ayşe", "--json")
    assert (done.code, done.json) == (0, {"account_id": ACCOUNT})
    ((_, request),) = admin_server.asked
    assert (request.kind, request.name, request.parent_id) == (ledger.USER, "Ayşe", "")
    assert not request.currency, "the service knows the defaults"
    assert not request.HasField("markup_bps")
    assert not request.HasField("requests_per_minute")


def test_account_open_passes_every_option_on_zero_included(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["OpenAccount"] = DETAILS
    options = ["--markup-bps", "0", "--currency", "USD", "--requests-per-minute", "0", "--requests-per-day", "7"]
    assert onysoft("account", "open", "--kind", "project", "--name", "P", *options).code == 0
    ((_, request),) = admin_server.asked
    assert (request.kind, request.currency) == (ledger.PROJECT, ledger.USD)
    assert request.HasField("markup_bps")
    assert request.HasField("requests_per_minute")
    assert (request.markup_bps, request.requests_per_minute, request.requests_per_day) == (0, 0, 7)


def test_account_credit(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["CreditAccount"] = admin.Credit(
        account_id=ACCOUNT, amount="5.00", reference="R", counted=True, balance=BALANCE
    )
    done = onysoft("--json", "account", "credit", ACCOUNT, "5.00", "--reference", "R", "--reason", "outage")
    assert done.json == {
        "account_id": ACCOUNT,
        "amount": "5.00",
        "reference": "R",
        "counted": True,
        "balance": "5.00",
        "available": "4.90",
        "currency": "TRY",
        "position": 7,
    }
    ((_, request),) = admin_server.asked
    assert (request.account_id, request.amount, request.reference) == (ACCOUNT, "5.00", "R")
    assert request.reason == "outage"


def test_account_show_and_list(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["GetAccount"] = DETAILS
    admin_server.answers["ListAccounts"] = admin.AccountList(accounts=[DETAILS])
    assert onysoft("account", "show", ACCOUNT, "--json").json == DETAILS_JSON
    assert onysoft("account", "list", "--json").json == {"accounts": [DETAILS_JSON]}


@pytest.mark.parametrize(("word", "method"), [("suspend", "SuspendAccount"), ("resume", "ResumeAccount")])
def test_account_suspend_and_resume(admin_server: FakeAdmin, onysoft: Onysoft, word: str, method: str) -> None:
    admin_server.answers[method] = DETAILS
    assert onysoft("account", word, ACCOUNT, "--json").json == DETAILS_JSON
    assert admin_server.asked == [(method, admin.AccountRef(account_id=ACCOUNT))]


@pytest.mark.parametrize(
    "words", [("balance", ACCOUNT, "--json"), ("balance", "--json", ACCOUNT), ("--json", "balance", ACCOUNT)]
)
def test_balance_with_json_in_any_place(admin_server: FakeAdmin, onysoft: Onysoft, words: tuple[str, ...]) -> None:
    admin_server.answers["GetBalance"] = BALANCE
    done = onysoft(*words)
    assert (done.code, done.json, done.err) == (0, BALANCE_JSON, "")


def test_keys(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    key = admin.Key(key_id=KEY, account_id=ACCOUNT, name="laptop", revoked=True)
    shape = {
        "key_id": KEY,
        "account_id": ACCOUNT,
        "name": "laptop",
        "state": "",
        "revoked": True,
        "suspended": False,
        "expires": "",
        "last_used": "",
        "allowed_models": [],
        "allowed_ips": [],
        "blocked_models": [],
        "rotations": 0,
        "old_secret_until": "",
    }
    admin_server.answers["IssueKey"] = admin.IssuedKey(key_id=KEY, api_key="sk-ony-1")
    admin_server.answers["RevokeKey"] = key
    admin_server.answers["ListKeys"] = admin.KeyList(keys=[key])
    issued = onysoft("key", "issue", ACCOUNT, "--name", "laptop", "--json")
    assert issued.json == {"key_id": KEY, "api_key": "sk-ony-1"}
    assert onysoft("key", "revoke", KEY, "--json").json == shape
    assert onysoft("key", "list", ACCOUNT, "--json").json == {"keys": [shape]}


def test_fx_set(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["SetFxRate"] = admin.FxRate(base="USD", quote="TRY", rate="40.00", position=9)
    done = onysoft("fx", "set", "USD", "40.00", "--json")
    shown = {"base": "USD", "quote": "TRY", "rate": "40.00", "position": 9}
    assert done.json == {**shown, "source": "", "reference": "", "set": "", "stale": False}
    assert admin_server.asked == [("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate="40.00"))]


def opened_entry() -> admin.LedgerEntry:
    event = ledger.RequestOpened(
        request_id=bytes(range(12)), attempt=1, account_id=b"\xaa" * 12, model="m", hold_nano=1_500_000_000
    )
    return admin.LedgerEntry(
        position=4, time_ms=1_700_000_000_000, index=2, event=ledger.Event(request_opened=event), outcome="admitted"
    )


ENTRY_JSON = {
    "position": 4,
    "index": 2,
    "time_ms": 1_700_000_000_000,
    "partition": 0,
    "type": "request_opened",
    "outcome": "admitted",
    "actor": "",
    "event": {
        "request_id": "req_000102030405060708090a0b",
        "attempt": 1,
        "account_id": ACCOUNT,
        "model": "m",
        "hold": "1.50",
    },
}


def test_ledger_tail(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["TailLedger"] = [opened_entry()]
    assert onysoft("ledger", "tail", "--limit", "5", "--json").json == {"entries": [ENTRY_JSON]}
    followed = onysoft("ledger", "tail", "--follow", "--from", "4", "--json")
    assert [orjson.loads(line) for line in followed.out.splitlines()] == [ENTRY_JSON]
    assert [request for _, request in admin_server.asked] == [
        admin.TailLedgerRequest(limit=5),
        admin.TailLedgerRequest(from_position=4),
    ]


def test_ledger_show(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["ShowRequest"] = admin.RequestStory(json=b'{"request_id":"req_1","charge":"0.10"}')
    assert onysoft("ledger", "show", "req_1", "--json").json == {"request_id": "req_1", "charge": "0.10"}


def test_ledger_verify(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    progress = admin.VerifyProgress(position=5, last_position=10)
    sound = admin.VerifyProgress(
        position=10, last_position=10, done=True, ok=True, events=12, checkpoints=2, state_digest=b"\x01"
    )
    admin_server.answers["VerifyLedger"] = [progress, sound]
    done = onysoft("ledger", "verify", "--json")
    assert done.code == 0
    assert done.json["ok"] is True
    assert (done.json["position"], done.json["events"], done.json["checkpoints"]) == (10, 12, 2)
    assert done.json["state_digest"] == "01"


def test_a_broken_ledger_fails_the_command(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """A nightly script that only looks at the exit code would sleep on."""
    broken = admin.VerifyProgress(position=5, last_position=10, done=True, problem="position 7 follows 5")
    admin_server.answers["VerifyLedger"] = [broken]
    done = onysoft("ledger", "verify", "--json")
    assert done.code == 1
    assert (done.json["ok"], done.json["problem"]) == (False, "position 7 follows 5")
    assert onysoft("ledger", "verify").code == 1


def test_status(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["GetStatus"] = admin.Status(core="core-1", position=9, partitions=16, models=24)
    shape = onysoft("status", "--json").json
    assert (shape["core"], shape["position"], shape["partitions"], shape["models"]) == ("core-1", 9, 16, 24)


def test_config_masks_secrets_and_names_sources(onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch) -> None:
    """A screenshot of the configuration must not give the admin token away."""
    monkeypatch.setenv("ONYSOFT_ADMIN_TOKEN", "very secret")
    monkeypatch.setenv("ONYSOFT_EDGE_PORT", "9000")
    done = onysoft("config", "--json")
    assert "very secret" not in done.out + onysoft("config").out
    settings = {setting["name"]: setting for setting in done.json["settings"]}
    assert settings["admin_token"]["value"] == "********"
    assert (settings["edge_port"]["value"], settings["edge_port"]["source"]) == (9000, "environment")
    assert (settings["partitions"]["value"], settings["partitions"]["source"]) == (16, "default")
    assert settings["key_pepper"]["value"] == "", "an unset secret must be seen to be unset"


@pytest.mark.parametrize(
    ("words", "method", "answer", "shown"),
    [
        (("balance", ACCOUNT), "GetBalance", BALANCE, "4.90"),
        (("account", "show", ACCOUNT), "GetAccount", DETAILS, "Ayşe"),
        (("account", "list"), "ListAccounts", admin.AccountList(accounts=[DETAILS]), ACCOUNT),
        (("ledger", "tail"), "TailLedger", [opened_entry()], "hold=1.50"),
        (("ledger", "tail", "-f"), "TailLedger", [opened_entry()], "hold=1.50"),
        (("key", "issue", ACCOUNT, "--name", "n"), "IssueKey", admin.IssuedKey(api_key="sk-ony-1"), "sk-ony-1"),
    ],
)
def test_people_get_tables(
    admin_server: FakeAdmin, onysoft: Onysoft, words: tuple[str, ...], method: str, answer: object, shown: str
) -> None:
    admin_server.answers[method] = answer
    done = onysoft(*words)
    assert done.code == 0
    assert shown in done.out


def test_a_refusal_is_one_json_document_and_exit_code_1(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """A script must be able to tell "no such account" from "no connection"."""
    admin_server.answers["GetBalance"] = (grpc.StatusCode.NOT_FOUND, f"there is no account {ACCOUNT}")
    done = onysoft("balance", ACCOUNT, "--json")
    assert done.code == 1
    assert done.json == {"error": {"code": "not_found", "message": f"there is no account {ACCOUNT}"}}
    plain = onysoft("balance", ACCOUNT)
    assert (plain.code, plain.out) == (1, "")
    assert f"there is no account {ACCOUNT}" in plain.err


def test_a_wrong_token_is_said(admin_server: FakeAdmin, onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONYSOFT_ADMIN_TOKEN", "wrong")
    done = onysoft("balance", ACCOUNT, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "unauthenticated")


@pytest.mark.parametrize(
    "words", [("balance",), ("balance", ACCOUNT, "--nonsense"), ("nonsense",), ("fx", "set", "EUR", "1"), ("account",)]
)
def test_words_that_are_not_understood_exit_with_2(onysoft: Onysoft, words: tuple[str, ...]) -> None:
    """A typing mistake must not look like success to a script."""
    done = onysoft(*words, "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "usage")


def test_help_is_no_error(onysoft: Onysoft) -> None:
    done = onysoft("--help")
    assert done.code == 0
    for word in ("account", "key", "balance", "fx", "models", "ledger", "config", "edge", "core", "sandbox"):
        assert word in done.out
    assert onysoft().out == done.out
