"""The catalogue in operation: what operators and providers change, what calls then cost, and whether that adds up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli.client import AdminClient, CallFailed
from projections.main import Projections
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.ids import REQUEST, text
from runtime.settings import Settings
from sandbox.main import Sandbox
from tests.conftest import free_port
from tests.core.conftest import House, Received, until

FIXED = "sandbox/fixed-price"
MODEL = "openai/gpt-4o-mini"
FALLBACK_PORT = free_port()


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"fallback_url": f"http://127.0.0.1:{FALLBACK_PORT}/openai/v1", "fallback_api_key": "k"}


class Operator:
    """An operator in front of one house, with a projections process beside it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._client = AdminClient([f"127.0.0.1:{house.core.admin_port}"], "t" * 32)

    async def call(self, method: str, request: Any) -> Any:
        return await asyncio.to_thread(self._client.call, method, request)

    async def sync(self, **options: Any) -> tuple[dict[str, Any], admin.SyncProgress]:
        request = admin.SyncModelsRequest(**options)
        seen = await asyncio.to_thread(lambda: list(self._client.stream("SyncModels", request)))
        return orjson.loads(seen[0].difference_json), seen[-1]

    async def settled(self, received: Received) -> dict[str, Any]:
        """The story of a call."""
        assert received.ended, received.code
        request = admin.RequestRef(request_id=text(REQUEST, received.request_id))
        story: dict[str, Any] = orjson.loads((await self.call("ShowRequest", request)).json)
        return story

    async def explained(self, received: Received) -> dict[str, Any]:
        request = admin.RequestRef(request_id=text(REQUEST, received.request_id))
        explained: dict[str, Any] = orjson.loads((await self.call("ExplainRequest", request)).json)
        assert len(explained["settlements"]) == 1
        return explained

    def close(self) -> None:
        self._client.close()


@pytest.fixture
async def operator(house: House, tmp_path: Path) -> AsyncIterator[Operator]:
    settings = house.settings.model_copy(update={"projections_dir": tmp_path / "projections"})
    projections = Projections(house.connection, settings, house.core.replica.partitions)
    await projections.start()
    made = await asyncio.to_thread(Operator, house)
    yield made
    made.close()
    await projections.close()


@pytest.fixture
async def fallback() -> AsyncIterator[Sandbox]:
    """The second provider: it speaks the plain protocol and names no cost."""
    server = Sandbox(Settings(sandbox_port=FALLBACK_PORT))
    await server.start()
    yield server
    await server.stop()


async def test_a_synchronisation_reprices_what_calls_cost(operator: Operator) -> None:
    """A provider's new prices would be paid by the house."""
    house = operator.house
    changed = {
        FIXED: {"pricing": {"request": "0.005"}},
        "openai/gpt-4o": None,
        "openai/o4-mini": {"pricing": {"completion": None}},
        "new/model": {"pricing": {"prompt": "0.000001", "completion": "0.000002"}},
    }
    await house.control(models=changed)
    found, last = await operator.sync()
    assert [change["id"] for change in found["new"]] == ["new/model"]
    assert {change["id"] for change in found["gone"]} == {"openai/gpt-4o", "openai/o4-mini"}
    (repriced,) = found["repriced"]
    (part,) = repriced["changes"]
    assert (repriced["id"], repriced["waits"]) == (FIXED, True)
    assert part == {"part": "request", "from": "0.0025", "to": "0.005", "by": "0.0025", "percent": "100.00"}
    unpriced = {entry["id"]: entry["reason"] for entry in found["unpriced"]}
    assert unpriced["openai/o4-mini"] == "no price for completion"
    assert unpriced["openrouter/auto"] == "the price for prompt varies from call to call"
    assert last.done == 0
    assert "openai/gpt-4o" in house.core.catalogue.entries, "looking changed something"
    found, last = await operator.sync(apply=True, approve_new=True, approve_repriced=True)
    assert (last.done, last.applied) == (4, 4)
    assert (await operator.sync())[0]["due"] == 0
    assert (await house.call("openai/gpt-4o")).code == "model_not_found"
    assert (await house.call("openai/o4-mini")).code == "model_not_found"
    assert (await house.call("new/model", max_tokens=1)).ended
    called = await house.call(FIXED)
    assert called.body["cost"]["amount"] == 0.2
    history = await operator.call("ShowModel", admin.ModelRef(model_id=FIXED))
    assert [orjson.loads(version.price_json)["request"] for version in history.versions] == ["0.0025", "0.005"]


async def test_what_was_shown_is_what_is_applied(operator: Operator) -> None:
    """Between a person's look and their yes the prices would change unseen."""
    await operator.house.control(models={FIXED: {"pricing": {"request": "0.0026"}}})
    _, seen = await operator.sync()
    await operator.house.control(models={FIXED: {"pricing": {"request": "0.0027"}}})
    with pytest.raises(CallFailed, match="look again"):
        await operator.sync(apply=True, expected=seen.digest)
    _, seen = await operator.sync()
    _, last = await operator.sync(apply=True, expected=seen.digest)
    assert last.applied == 1


async def test_an_alias_answers_under_its_own_name_at_the_models_price(operator: Operator) -> None:
    """A client that checks the answer's model would take it for a wrong one."""
    house = operator.house
    await operator.call("SetAlias", admin.Alias(alias="cheap", model_id=FIXED))
    for streamed in (False, True):
        called = await house.call("cheap", stream=streamed)
        bodies = [event for event in called.events if event != "[DONE]"] if streamed else [called.body]
        assert {body["model"] for body in bodies} == {"cheap"}
        assert bodies[-1]["cost"]["amount"] == 0.1
        assert (await operator.settled(called))["model"] == FIXED
    await operator.call("RemoveAlias", admin.Alias(alias="cheap"))
    assert (await house.call("cheap")).code == "model_not_found"
    with pytest.raises(CallFailed, match="must not be a model's id"):
        await operator.call("SetAlias", admin.Alias(alias=MODEL, model_id=FIXED))


async def test_defaults_fill_what_is_left_out_and_nothing_else(operator: Operator) -> None:
    """A limit that the operator set for a model would be ignored, or stand over the caller's own."""
    house = operator.house
    request = admin.SetModelDefaultsRequest(model_id=MODEL, defaults_json=b'{"max_tokens": 5}')
    await operator.call("SetModelDefaults", request)
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "[[tokens=50]]"}]}
    assert (await house.call(MODEL, **asked)).body["usage"]["completion_tokens"] == 5
    assert (await house.call(MODEL, max_tokens=8, **asked)).body["usage"]["completion_tokens"] == 8
    for wrong in (b"[]", b"{", b'{"messages": []}', b'{"max_tokens": "many"}', b'{"temperature": 3}'):
        with pytest.raises(CallFailed, match="defaults"):
            await operator.call("SetModelDefaults", admin.SetModelDefaultsRequest(model_id=MODEL, defaults_json=wrong))


async def test_a_call_is_settled_at_the_price_of_the_route_that_answered(operator: Operator, fallback: Sandbox) -> None:
    """The dearer second provider would be paid by the house, or the cheaper one overpaid by the customer."""
    house = operator.house
    dear = b'{"prompt":"0.00001","completion":"0.00002","request":"0.001"}'
    route = admin.SetRouteRequest(model_id=MODEL, provider="fallback", upstream_id=MODEL, order=1, price_json=dear)
    model = await operator.call("SetRoute", route)
    assert [(each.provider, each.order, each.usable) for each in model.routes] == [
        ("openrouter", 0, True),
        ("fallback", 1, True),
    ]
    first = await operator.settled(await house.call(MODEL, max_tokens=10))
    assert (first["provider"], first["basis"]) == ("openrouter", "provider_cost")
    await house.control(error_rates={"503": 1})
    called = await house.call(MODEL, max_tokens=10)
    second = await operator.settled(called)
    assert (second["provider"], second["basis"], second["shortfall"]) == ("fallback", "provider_tokens", "0.00")
    assert second["price_version"] == model.routes[1].price_version.hex() != first["price_version"]
    assert (await operator.explained(called))["equal"]
    with pytest.raises(CallFailed, match="sets the model's price"):
        await operator.call("RemoveRoute", admin.RemoveRouteRequest(model_id=MODEL, provider="openrouter"))
    await operator.call("RemoveRoute", admin.RemoveRouteRequest(model_id=MODEL, provider="fallback"))
    assert (await house.call(MODEL, max_tokens=10)).code == "provider_error"


@pytest.mark.parametrize(
    ("faults", "basis"),
    [({}, "provider_cost"), ({"zero_cost": True}, "provider_tokens"), ({"missing_usage": True}, "estimated")],
)
async def test_every_charge_is_explained_from_its_parts(operator: Operator, faults: dict[str, Any], basis: str) -> None:
    """Nobody could tell a customer why a call cost what it cost, least of all after the next repricing."""
    house = operator.house
    await house.control(**faults)
    calls = [await house.call(MODEL, max_tokens=20, stream=streamed) for streamed in (False, True)]
    await house.control(models={MODEL: {"pricing": {"prompt": "1", "completion": "2"}}})
    await operator.sync(apply=True, approve_repriced=True)
    for called in calls:
        explained = await operator.explained(called)
        assert explained["equal"], explained
        assert explained["settlements"][0]["basis"] == basis
        settled = await operator.settled(called)
        assert settled.get("counted_by", "").startswith("cl100k_base") == (basis == "estimated")


REFUSED: list[tuple[str, Any, str]] = [
    ("SetRoute", admin.SetRouteRequest(model_id=MODEL, provider="p", upstream_id="u", price_json=b"{"), "must be JSON"),
    ("SetRoute", admin.SetRouteRequest(model_id=MODEL, provider="p", upstream_id="u", price_json=b"[]"), "JSON object"),
    (
        "SetRoute",
        admin.SetRouteRequest(model_id=MODEL, provider="p", upstream_id="u", price_json=b'{"prompt":"1"}'),
        "no price for completion",
    ),
    ("SetRoute", admin.SetRouteRequest(model_id=MODEL, upstream_id="u"), "provider must be given"),
    ("SetRoute", admin.SetRouteRequest(model_id=MODEL, provider="p"), "upstream_id"),
    ("SetRoute", admin.SetRouteRequest(model_id="no/such", provider="p", upstream_id="u"), "there is no model"),
    ("RemoveRoute", admin.RemoveRouteRequest(model_id=MODEL, provider="p"), "no such route"),
    ("SetAlias", admin.Alias(alias="a b", model_id=MODEL), "without spaces"),
    ("SetAlias", admin.Alias(alias="a*", model_id=MODEL), "without spaces"),
    ("SetAlias", admin.Alias(alias="a", model_id="no/such"), "there is no model"),
    ("RemoveAlias", admin.Alias(alias="never-set"), "does not know"),
    ("ActivateModel", admin.ModelRef(model_id="no/such"), "there is no model"),
    ("ShowModel", admin.ModelRef(model_id="no/such"), "there is no model"),
]


async def test_what_would_break_the_catalogue_is_refused_with_a_reason(operator: Operator) -> None:
    """A slip of the operator's would sell at no price, or lose a name."""
    before = operator.house.core.replica.state.position
    for method, request, reason in REFUSED:
        with pytest.raises(CallFailed, match=reason):
            await operator.call(method, request)
    with pytest.raises(CallFailed, match="no provider elsewhere"):
        await operator.sync(provider="elsewhere")
    assert operator.house.core.replica.state.models[MODEL].set.routes[0].provider == "openrouter"
    assert operator.house.core.replica.state.position <= before + 1, "only the unknown alias was asked of the ledger"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_estimate_keeps_to_the_output_limit(operator: Operator, streamed: bool) -> None:
    """Counted with another tokenizer, a short answer in Turkish would cost more than the caller allowed."""
    house = operator.house
    await house.control(missing_usage=True)
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "[[tokens=50]]"}], "stream": streamed}
    settled = await operator.settled(await house.call(MODEL, max_tokens=12, **asked))
    assert settled["basis"] == "estimated"
    assert settled["completion_tokens"] <= 12


async def test_an_operators_withdrawal_outlasts_synchronisation(operator: Operator) -> None:
    """A model that was withdrawn, for the law's sake perhaps, would come back within minutes."""
    house = operator.house
    await operator.call("DeactivateModel", admin.ModelRef(model_id=FIXED))
    assert (await house.call(FIXED)).code == "model_not_found"
    await house.control(models={FIXED: {"pricing": {"request": "0.0026"}}})
    await operator.sync(apply=True, approve_new=True, approve_repriced=True)
    assert (await house.call(FIXED)).code == "model_not_found"
    listed = await operator.call("ListModels", admin.ListModelsRequest(search="FIXED"))
    assert not listed.models
    every = await operator.call("ListModels", admin.ListModelsRequest(search="FIXED", inactive=True))
    assert [(model.id, model.active) for model in every.models] == [(FIXED, False)]
    await operator.call("ActivateModel", admin.ModelRef(model_id=FIXED))
    await until(lambda: FIXED in house.core.catalogue.entries, "the model is back")
    assert (await house.call(FIXED)).ended
