"""`onysoft models …` and `onysoft ledger show --explain`: what scripts read, and what is asked of a core."""

from typing import Any

import grpc
import orjson
import pytest
import typer

from cli import models
from proto.onysoft.v1 import admin_pb2 as admin
from tests.cli.conftest import FakeAdmin, Onysoft

MODEL = admin.Model(
    id="sandbox/fixed-price",
    name="Fixed",
    kind="chat",
    provider="openrouter",
    context_length=8192,
    max_output_tokens=4096,
    price_json=b'{"request":"0.0025"}',
    price_version=b"\x01\x02",
    active=True,
    routes=[admin.Route(provider="openrouter", upstream_id="sandbox/fixed-price", weight=1, usable=True)],
    aliases=["cheap"],
    defaults_json=b'{"temperature":0}',
)
MODEL_JSON = {
    "id": "sandbox/fixed-price",
    "name": "Fixed",
    "kind": "chat",
    "provider": "openrouter",
    "context_length": 8192,
    "max_output_tokens": 4096,
    "free": False,
    "active": True,
    "unlisted": "",
    "callable": True,
    "state": "active",
    "price_version": "0102",
    "pricing": {"request": "0.0025"},
    "usd_per_1m_prompt": "",
    "usd_per_1m_completion": "",
    "aliases": ["cheap"],
    "defaults": {"temperature": 0},
    "routes": [
        {
            "provider": "openrouter",
            "upstream_id": "sandbox/fixed-price",
            "order": 0,
            "weight": 1,
            "pricing": None,
            "usable": True,
        }
    ],
}
NOTHING: dict[str, Any] = {kind: [] for kind in ("new", "gone", "back", "repriced", "changed", "routed", "unpriced")}
DIFFERENCE: dict[str, Any] = NOTHING | {
    "provider": "openrouter",
    "listed": 3,
    "unchanged": 1,
    "new": [{"id": "new/one", "name": "One", "waits": True, "pricing": {"prompt": "0.1", "completion": "0.2"}}],
    "repriced": [
        {
            "id": "old/one",
            "name": "Old",
            "waits": False,
            "changes": [{"part": "prompt", "from": "0.1", "to": "0.11", "by": "0.01", "percent": "10.00"}],
        }
    ],
    "unpriced": [{"id": "bad/one", "reason": "no price for completion"}],
    "due": 1,
    "waiting": 1,
}
SEEN = admin.SyncProgress(due=1, difference_json=orjson.dumps(DIFFERENCE), digest=b"d" * 32)


def test_models_are_listed_by_filters(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["ListModels"] = admin.ModelList(models=[MODEL])
    words = ("models", "list", "fix", "--kind", "chat", "--provider", "p", "--free", "--all", "--json")
    assert onysoft(*words).json == {"models": [MODEL_JSON]}
    wanted = admin.ListModelsRequest(search="fix", kind="chat", provider="p", free=True, inactive=True)
    assert admin_server.asked == [("ListModels", wanted)]


def test_a_model_is_shown_with_its_price_history(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    version = admin.ModelVersion(position=4, time_ms=0, price_json=b'{"request":"1"}', price_version=b"\x03")
    admin_server.answers["ShowModel"] = admin.ModelHistory(model=MODEL, versions=[version])
    shown = onysoft("models", "show", "cheap", "--json").json
    assert shown == MODEL_JSON | {
        "versions": [
            {
                "position": 4,
                "time": "1970-01-01T00:00:00+00:00",
                "price_version": "03",
                "pricing": {"request": "1"},
                "unlisted": "",
            }
        ]
    }


def test_a_synchronisation_shows_and_changes_nothing_unless_told(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    """Looking would reprice the shop."""
    admin_server.answers["SyncModels"] = [SEEN]
    assert onysoft("models", "sync", "--json").json == DIFFERENCE | {"applied": 0}
    done = onysoft("models", "sync")
    assert "prompt: 0.1 → 0.11" in done.out
    assert "+10.00 %" in done.out
    assert "no price for completion" in done.out
    assert not any(request.apply for _, request in admin_server.asked)


def test_what_is_applied_is_what_was_shown(
    admin_server: FakeAdmin, onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person would agree to one list of prices and get another."""
    admin_server.answers["SyncModels"] = [SEEN]
    monkeypatch.setattr(models.typer, "confirm", lambda _: False)
    assert onysoft("models", "sync", "--apply", "--approve-new").code == 0
    assert not any(request.apply for _, request in admin_server.asked)
    monkeypatch.setattr(models.typer, "confirm", lambda _: True)
    onysoft("models", "sync", "--apply", "--approve-new", "--bound-bps", "50")
    look, apply = (request for _, request in admin_server.asked[-2:])
    assert (look.apply, apply.apply, apply.expected) == (False, True, SEEN.digest)
    assert (apply.approve_new, apply.bound_bps) == (True, 50)


def test_a_script_applies_without_a_question(
    admin_server: FakeAdmin, onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typer, "confirm", lambda _: pytest.fail("asked"))
    admin_server.answers["SyncModels"] = [SEEN, admin.SyncProgress(done=1, due=1, applied=1, position=7)]
    assert onysoft("models", "sync", "--apply", "--json").json == DIFFERENCE | {"applied": 1}
    assert "1 of 1 changes had an effect" in onysoft("models", "sync", "--apply", "--yes").out


def test_a_list_that_changed_meanwhile_is_an_error(admin_server: FakeAdmin, onysoft: Onysoft) -> None:
    admin_server.answers["SyncModels"] = (grpc.StatusCode.FAILED_PRECONDITION, "look again")
    done = onysoft("models", "sync", "--apply", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "failed_precondition")


@pytest.mark.parametrize(
    ("words", "method", "request_", "answer"),
    [
        (("activate", "m"), "ActivateModel", admin.ModelRef(model_id="m"), MODEL),
        (("deactivate", "m"), "DeactivateModel", admin.ModelRef(model_id="m"), MODEL),
        (("alias", "set", "a", "m"), "SetAlias", admin.Alias(alias="a", model_id="m"), admin.Alias(alias="a")),
        (("alias", "remove", "a"), "RemoveAlias", admin.Alias(alias="a"), admin.Alias(alias="a")),
        (
            ("defaults", "m", '{"top_p": 1}'),
            "SetModelDefaults",
            admin.SetModelDefaultsRequest(model_id="m", defaults_json=b'{"top_p": 1}'),
            MODEL,
        ),
        (
            ("route", "set", "m", "--provider", "p", "--upstream", "u", "--order", "2", "--weight", "3"),
            "SetRoute",
            admin.SetRouteRequest(model_id="m", provider="p", upstream_id="u", order=2, weight=3),
            MODEL,
        ),
        (
            ("route", "set", "m", "--provider", "p", "--price", "{}"),
            "SetRoute",
            admin.SetRouteRequest(model_id="m", provider="p", upstream_id="m", weight=1, price_json=b"{}"),
            MODEL,
        ),
        (
            ("route", "remove", "m", "--provider", "p"),
            "RemoveRoute",
            admin.RemoveRouteRequest(model_id="m", provider="p"),
            MODEL,
        ),
    ],
)
def test_each_command_asks_for_what_its_words_say(
    admin_server: FakeAdmin, onysoft: Onysoft, words: tuple[str, ...], method: str, request_: Any, answer: Any
) -> None:
    admin_server.answers[method] = answer
    assert onysoft("models", *words, "--json").code == 0
    assert admin_server.asked == [(method, request_)]


def explanation(equal: bool) -> admin.RequestStory:
    step = {"step": "charge", "computed": "1", "logged": "2", "equal": equal, "lines": ["charge = 1 USD × 40"]}
    settlement = {"attempt": 1, "position": 9, "equal": equal, "steps": [step]}
    told = {"request_id": "req_1", "model": "m", "status": "settled", "equal": equal, "settlements": [settlement]}
    return admin.RequestStory(json=orjson.dumps(told))


def test_an_explanation_shows_the_arithmetic_and_its_exit_code_says_whether_it_holds(
    admin_server: FakeAdmin, onysoft: Onysoft
) -> None:
    """A wrong charge would look like a right one to whoever checks it."""
    admin_server.answers["ExplainRequest"] = explanation(equal=True)
    right = onysoft("ledger", "show", "req_1", "--explain")
    assert (right.code, "charge = 1 USD × 40" in right.out) == (0, True)
    assert onysoft("ledger", "show", "req_1", "--explain", "--json").json["equal"] is True
    admin_server.answers["ExplainRequest"] = explanation(equal=False)
    wrong = onysoft("ledger", "show", "req_1", "--explain")
    assert (wrong.code, "DIFFERS: 1 computed, 2 in the ledger" in wrong.out) == (1, True)
    assert onysoft("ledger", "show", "req_1", "--explain", "--json").code == 1
