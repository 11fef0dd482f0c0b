"""Faults on demand: each must do what it says, or the gateway's fault tests prove nothing."""

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import orjson
import pytest

from sandbox.control import Control
from sandbox.readers import BadControl
from tests.sandbox.conftest import Client, until
from tests.sandbox.test_stream import events


async def test_control_is_shown_merged_over_the_defaults_and_reset(sandbox: Client) -> None:
    defaults = await sandbox.get("/control")
    shown = await sandbox.control(latency_ms=5, error_rates={"429": 0.1})
    assert shown == {**defaults, "latency_ms": 5, "error_rates": {"429": 0.1}}
    assert (await sandbox.control(missing_usage=True))["latency_ms"] == 0
    assert await sandbox.control() == defaults
    assert (await sandbox.control(require_key="sk-secret"))["require_key"] == "(set)"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"latencyms": 5}, "latencyms"),
    ({"latency_ms": "5"}, "latency_ms"),
    ({"latency_ms": -1}, "latency_ms"),
    ({"error_rates": {"200": 0.1}}, "error_rates"),
    ({"error_rates": {"500": 0.7, "429": 0.7}}, "error_rates"),
    ({"missing_usage": 1}, "missing_usage"),
    ({"wrong_content": "xml"}, "wrong_content"),
    ({"drop_after_tokens": 1.5}, "drop_after_tokens"),
    ({"only_models": "openai/gpt-4o"}, "only_models"),
    ({"drop_before_headers": 2}, "drop_before_headers"),
    ({"models": []}, "models"),
    ({"models": {"openai/gpt-4o": 5}}, "models"),
    ({"models": {"openai/gpt-4o": {"price": "1"}}}, "openai/gpt-4o"),
    ({"models": {"openai/gpt-4o": {"pricing": {"prompt": "cheap"}}}}, "openai/gpt-4o"),
]


@pytest.mark.parametrize(("wanted", "name"), BAD)
async def test_a_control_that_is_not_understood_is_refused(sandbox: Client, wanted: dict[str, Any], name: str) -> None:
    """A misspelt fault would let a test pass with no fault at all."""
    before = await sandbox.get("/control")
    status, body = await sandbox.status("PUT", "/control", json=wanted)
    assert status == 400
    assert name in body["error"]["message"]
    assert await sandbox.get("/control") == before


def test_failures_follow_the_seed_and_the_rates() -> None:
    """A run with a seed must be repeatable, and a rate of ten per cent must be that."""
    drawn = []
    for seed in (1, 1, 2):
        control = Control()
        control.put({"error_rates": {"429": 0.1, "500": 0.05}, "drop_before_headers": 0.05, "seed": seed})
        drawn.append([control.failure(control.faults_for("m")) for _ in range(4000)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert 320 < drawn[0].count(429) < 480
    assert 140 < drawn[0].count(500) < 260
    assert 140 < drawn[0].count(-1) < 260


def test_a_control_with_a_bad_value_changes_nothing() -> None:
    control = Control()
    control.put({"byok": True})
    with pytest.raises(BadControl):
        control.put({"byok": False, "seed": "x"})
    assert control.shown()["byok"] is True


@pytest.mark.parametrize("stream", [False, True])
async def test_statuses_come_before_any_generation(sandbox: Client, stream: bool) -> None:
    await sandbox.control(error_rates={"429": 1}, retry_after_s=7)
    async with sandbox.chat(stream=stream) as response:
        assert response.status == 429
        assert response.headers["retry-after"] == "7"
        error = (await response.json())["error"]
    assert error["code"] == 429
    assert error["metadata"]["provider_name"] == "OpenAI"
    assert await sandbox.journal() == []


async def test_a_drop_before_the_headers(sandbox: Client) -> None:
    await sandbox.control(drop_before_headers=1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.answer()
    assert await sandbox.journal() == []


async def test_faults_may_hit_some_models_only(sandbox: Client) -> None:
    """Failover is tested with one route broken and the other whole."""
    await sandbox.control(error_rates={"503": 1}, only_models=["openai/gpt-4o"])
    async with sandbox.chat(model="openai/gpt-4o") as response:
        assert response.status == 503
    assert await sandbox.answer(model="openai/gpt-4o-mini")


async def test_an_error_in_the_middle_of_a_stream(sandbox: Client) -> None:
    await sandbox.control(error_after_tokens=5)
    lines = await sandbox.lines(text="[[tokens=20]]")
    last = events(lines)[-1]
    assert last["error"]["message"]
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["usage"]["completion_tokens"] == 5
    assert "data: [DONE]" not in lines
    entry = (await sandbox.journal())[0]
    assert (entry["status"], entry["fault"], entry["completion_tokens"]) == ("failed", "error_after_tokens", 5)


async def test_a_socket_closed_in_the_middle_of_a_stream(sandbox: Client) -> None:
    await sandbox.control(drop_after_tokens=5)
    received = b""
    async with sandbox.chat(text="[[tokens=20]]", stream=True) as response:
        with pytest.raises(aiohttp.ClientPayloadError):  # noqa: PT012 - what came before the cut is looked at
            while True:
                received += await response.content.readany()
    assert received.count(b'"content"') >= 5
    assert (await sandbox.journal())[0]["completion_tokens"] == 5


async def test_a_socket_closed_in_the_middle_of_a_body(sandbox: Client) -> None:
    await sandbox.control(drop_after_tokens=5)
    with pytest.raises(aiohttp.ClientPayloadError):
        await sandbox.answer()
    assert (await sandbox.journal())[0]["status"] == "failed"


async def test_no_fault_when_the_answer_ends_first(sandbox: Client) -> None:
    await sandbox.control(drop_after_tokens=50)
    assert (await sandbox.lines(text="[[tokens=20]]"))[-1] == "data: [DONE]"
    assert (await sandbox.journal())[0]["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_lasts_until_the_client_leaves(sandbox: Client, stream: bool) -> None:
    await sandbox.control(stall_after_tokens=3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5), sandbox.chat(text="[[tokens=20]]", stream=stream) as response:
            await response.read()

    async def aborted() -> bool:
        return bool((await sandbox.journal())[0]["aborted"])

    await until(aborted)
    assert (await sandbox.journal())[0]["completion_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["not_json", "truncated", "html", "empty"])
async def test_wrong_content(sandbox: Client, kind: str, stream: bool) -> None:
    await sandbox.control(wrong_content=kind)
    async with sandbox.chat(text="[[tokens=20]]", stream=stream) as response:
        assert response.status == 200
        data = await response.read()
    assert b"[DONE]" not in data
    if kind == "empty":
        assert data == b""
    elif kind == "html":
        assert response.content_type == "text/html"
    else:
        last = [line for line in data.split(b"\n") if line][-1]
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(last.removeprefix(b"data: "))
    entry = (await sandbox.journal())[0]
    assert (entry["status"], entry["fault"]) == ("failed", kind)
    assert Decimal(entry["cost_usd"]) > 0


async def test_an_error_within_a_200(sandbox: Client) -> None:
    await sandbox.control(error_in_200=True)
    answer = await sandbox.answer()
    assert answer["error"]["code"] == 502
    assert (await sandbox.journal())[0]["cost_usd"] == "0"


async def test_usage_may_be_missing_and_cost_zero_while_the_journal_knows(sandbox: Client) -> None:
    """What the provider does not tell is still owed to it."""
    await sandbox.control(missing_usage=True)
    assert "usage" not in await sandbox.answer()
    assert not any("usage" in chunk for chunk in events(await sandbox.lines()))
    await sandbox.control(zero_cost=True)
    assert (await sandbox.answer())["usage"]["cost"] == 0
    assert all(Decimal(entry["cost_usd"]) > 0 for entry in await sandbox.journal())


async def test_byok_splits_the_cost(sandbox: Client) -> None:
    """The one case in which the upstream's cost is added to `cost`."""
    await sandbox.control(byok=True)
    usage = (await sandbox.answer(model="sandbox/fixed-price"))["usage"]
    assert usage["is_byok"] is True
    assert usage["cost"] == 0.000125
    assert usage["cost_details"]["upstream_inference_cost"] == 0.0025
    assert (await sandbox.journal())[0]["cost_usd"] == "0.002625"


async def test_latency_and_jitter_delay_the_answer(sandbox: Client) -> None:
    await sandbox.control(latency_ms=80, jitter_ms=40)
    await asyncio.gather(sandbox.answer(), sandbox.lines())
    for entry in await sandbox.journal():
        assert entry["finished_at"] - entry["started_at"] >= 79


async def test_what_is_sold_changes_in_the_list_and_in_what_calls_cost(sandbox: Client) -> None:
    """A gateway's synchronisation could be tested against a list that never changes only."""
    before = {model["id"]: model for model in (await sandbox.get("/api/v1/models"))["data"]}
    await sandbox.control(
        models={
            "sandbox/fixed-price": {"pricing": {"request": "0.005"}},
            "openai/gpt-4o": None,
            "openai/o4-mini": {"pricing": {"completion": None}},
            "openai/gpt-5": {"pricing": None},
            "new/model": {"pricing": {"prompt": "0", "completion": "0", "request": "0.01", "discount": 0.5}},
            "new/windowed": {
                "pricing": {
                    "prompt": "0",
                    "completion": "0",
                    "overrides": [{"utc_start": "20:00", "utc_end": "22:00", "request": "0.02"}],
                }
            },
        }
    )
    listed = {model["id"]: model for model in (await sandbox.get("/api/v1/models"))["data"]}
    assert set(listed) == set(before) - {"openai/gpt-4o"} | {"new/model", "new/windowed"}
    assert "completion" not in listed["openai/o4-mini"]["pricing"]
    assert listed["openai/gpt-5"]["pricing"] is None
    costs = [
        (await sandbox.answer(model=model))["usage"]["cost"]
        for model in ("sandbox/fixed-price", "new/model", "new/windowed")
    ]
    assert costs == [0.005, 0.005, 0.02]
    async with sandbox.chat(model="openai/gpt-4o") as response:
        assert response.status == 400
    await sandbox.control()
    assert {model["id"]: model for model in (await sandbox.get("/api/v1/models"))["data"]} == before


async def test_output_modalities_choose_what_is_listed(sandbox: Client) -> None:
    """A synchronisation that asks for all would miss what does not put out text."""
    await sandbox.control(models={"new/embeddings": {"output": ["embeddings"], "pricing": {"prompt": "0.1"}}})
    every = {model["id"] for model in (await sandbox.get("/api/v1/models", output_modalities="all"))["data"]}
    text = {model["id"] for model in (await sandbox.get("/api/v1/models"))["data"]}
    assert every - text == {"new/embeddings"}
