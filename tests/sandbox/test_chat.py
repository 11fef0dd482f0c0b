"""Whole answers: what a client of OpenRouter, or of any OpenAI-compatible provider, must find here."""

import base64
import zlib
from decimal import Decimal
from typing import Any

import jsonschema
import openai
import orjson
import pytest

from sandbox import answers, catalogue
from tests.sandbox.conftest import AUTHORIZED, Client

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "hava_durumu",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 3},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 2, "maximum": 5},
                "place": {"$ref": "#/$defs/place"},
            },
            "required": ["city", "unit", "days", "place"],
            "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("face", ["/api/v1", "/openai/v1"])
async def test_the_openai_sdk_reads_an_answer(sandbox: Client, face: str) -> None:
    """Without it the gateway's adapters are tested against something that no SDK would accept."""
    answer = await sandbox.openai(face).chat.completions.create(
        model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Merhaba"}]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) == answer.usage.completion_tokens  # type: ignore[union-attr]
    extra = answer.usage.model_extra  # type: ignore[union-attr]
    assert ("cost" in (extra or {})) == (face == "/api/v1")


async def test_an_answer_is_the_same_every_time(sandbox: Client) -> None:
    """A benchmark or a test that compares two runs would compare noise."""
    first, second, other = [await sandbox.answer(text=text) for text in ("bir", "bir", "iki")]
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]
    assert first["choices"] != other["choices"]


@pytest.mark.parametrize("length", [1, 64, 65, 5000])
async def test_the_client_names_the_length(sandbox: Client, length: int) -> None:
    """Tests of holds need answers of a known price."""
    answer = await sandbox.answer(text=f"say [[tokens={length}]] of it")
    assert answer["usage"]["completion_tokens"] == length
    assert len(answer["choices"][0]["message"]["content"].split()) == length
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_is_kept(sandbox: Client, name: str) -> None:
    """The gateway lowers max_tokens to what a customer can pay."""
    answer = await sandbox.answer(text="[[tokens=100]]", **{name: 7})
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"
    await sandbox.control(ignore_max_tokens=True)
    answer = await sandbox.answer(text="[[tokens=100]]", **{name: 7})
    assert answer["usage"]["completion_tokens"] == 100


async def test_a_stop_sequence_ends_the_text_before_it(sandbox: Client) -> None:
    whole = (await sandbox.answer(text="[[tokens=40]]"))["choices"][0]["message"]["content"]
    stop = whole[30:38]
    answer = await sandbox.answer(text="[[tokens=40]]", stop=[stop])
    assert answer["choices"][0]["message"]["content"] == whole[: whole.index(stop)]
    assert answer["usage"]["completion_tokens"] < 40


async def test_n_choices_are_all_counted(sandbox: Client) -> None:
    answer = await sandbox.answer(text="[[tokens=10]]", n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 30


async def test_a_tool_is_called_with_arguments_that_fit(sandbox: Client) -> None:
    """An agent's loop through the gateway could not be tried."""
    answer = await sandbox.answer(tools=[WEATHER], n=1)
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    call = choice["message"]["tool_calls"][0]
    assert call["function"]["name"] == "hava_durumu"
    jsonschema.validate(orjson.loads(call["function"]["arguments"]), WEATHER["function"]["parameters"])


async def test_after_a_tool_answered_there_is_text(sandbox: Client) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "hava_durumu", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hava?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "22"},
    ]
    answer = await sandbox.answer(messages=messages, tools=[WEATHER])
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_tool_choice_none_is_text(sandbox: Client) -> None:
    answer = await sandbox.answer(tools=[WEATHER], tool_choice="none")
    assert answer["choices"][0]["message"]["content"]


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"const": 3}}, "required": ["a", "b"]},
    {"type": "array", "items": {"anyOf": [{"type": "integer", "multipleOf": 7}]}, "minItems": 3},
    {"type": "object", "properties": {"at": {"type": "string", "format": "date-time", "maxLength": 40}}},
    {"allOf": [{"properties": {"x": {"type": "boolean"}}, "required": ["x"]}, {"type": "object"}]},
    {"type": "object", "required": ["free"]},
    {"type": "number", "exclusiveMinimum": 4, "maximum": 5},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "null"}},
                "required": ["v"],
            }
        },
        "$ref": "#/$defs/node",
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_json_schema_is_met(sandbox: Client, schema: dict[str, Any]) -> None:
    """Structured outputs through the gateway could not be tried."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    answer = await sandbox.answer(response_format=wanted)
    jsonschema.validate(orjson.loads(answer["choices"][0]["message"]["content"]), schema)


async def test_json_object(sandbox: Client) -> None:
    answer = await sandbox.answer(response_format={"type": "json_object"})
    assert isinstance(orjson.loads(answer["choices"][0]["message"]["content"]), dict)


async def test_a_picture_is_real(sandbox: Client) -> None:
    """Image models answer within the chat; the gateway must carry and bill that."""
    answer = await sandbox.answer(model="google/gemini-2.5-flash-image", modalities=["image", "text"])
    url = answer["choices"][0]["message"]["images"][0]["image_url"]["url"]
    picture = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    data = picture[picture.index(b"IDAT") + 4 : picture.index(b"IEND") - 8]
    assert len(zlib.decompress(data)) == 16 * (1 + 16 * 3)
    usage = answer["usage"]
    assert usage["completion_tokens_details"]["image_tokens"] == answers.PICTURE_TOKENS
    text = usage["completion_tokens"] - answers.PICTURE_TOKENS
    expected = usage["prompt_tokens"] * Decimal("0.0000003") + text * Decimal("0.0000025") + 1290 * Decimal("0.00003")
    assert Decimal(repr(usage["cost"])) == expected


async def test_pictures_sent_are_counted(sandbox: Client) -> None:
    parts = [
        {"type": "text", "text": "ne var?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    messages = [{"role": "user", "content": parts}]
    priced = await sandbox.answer(messages=messages)
    plain = await sandbox.answer(text="ne var?")
    assert priced["usage"]["cost_details"]["upstream_inference_prompt_cost"] == pytest.approx(
        plain["usage"]["cost_details"]["upstream_inference_prompt_cost"] + 0.000217
    )
    counted = await sandbox.answer(model="openai/gpt-4.1", messages=messages)
    assert counted["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"] + 765


async def test_reasoning_is_shown_and_billed(sandbox: Client) -> None:
    answer = await sandbox.answer(model="openai/gpt-5", text="[[tokens=10]]", reasoning={"effort": "low"})
    assert answer["choices"][0]["message"]["reasoning"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 8
    assert answer["usage"]["completion_tokens"] == 18
    hidden = await sandbox.answer(
        model="openai/gpt-5", text="[[tokens=10]]", reasoning={"effort": "low", "exclude": True}
    )
    assert hidden["choices"][0]["message"]["reasoning"] is None
    assert hidden["usage"]["completion_tokens"] == 18


PRICES = [
    ("openai/gpt-4o-mini", "0.00000015", "0.0000006", "0"),
    ("sandbox/fixed-price", "0", "0", "0.0025"),
    ("perplexity/sonar", "0.000001", "0.000001", "0.005"),
    ("meta-llama/llama-3.3-70b-instruct:free", "0", "0", "0"),
    ("sandbox/discounted", "0.0000009", "0.0000018", "0"),
]


@pytest.mark.parametrize(("model", "prompt", "completion", "request_price"), PRICES)
async def test_the_cost_is_the_catalogues_exactly(
    sandbox: Client, model: str, prompt: str, completion: str, request_price: str
) -> None:
    """Every test of charges stands on this number."""
    usage = (await sandbox.answer(model=model, text="kaç para? [[tokens=33]]"))["usage"]
    expected = usage["prompt_tokens"] * Decimal(prompt) + 33 * Decimal(completion) + Decimal(request_price)
    assert Decimal(repr(usage["cost"])) == expected
    entry = (await sandbox.journal())[-1]
    assert Decimal(entry["cost_usd"]) == expected


async def test_a_long_prompt_costs_the_dearer_tier(sandbox: Client) -> None:
    usage = (await sandbox.answer(model="sandbox/tiered-price", text="x" * 4000 + "[[tokens=10]]"))["usage"]
    assert usage["prompt_tokens"] >= 1000
    assert Decimal(repr(usage["cost"])) == usage["prompt_tokens"] * Decimal("0.000002") + 10 * Decimal("0.000004")


async def test_caches_are_read_and_written_at_their_prices(sandbox: Client) -> None:
    """A hold that forgets cache writes is too low."""
    system = {"role": "system", "content": "k" * 8000}
    read = await sandbox.answer(messages=[system, {"role": "user", "content": "[[tokens=1]]"}])
    cached = read["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached == 1920
    plain = read["usage"]["prompt_tokens"] - cached
    expected = plain * Decimal("0.00000015") + cached * Decimal("0.000000075") + Decimal("0.0000006")
    assert Decimal(repr(read["usage"]["cost"])) == expected
    part = {"type": "text", "text": "k" * 4000, "cache_control": {"type": "ephemeral"}}
    written = await sandbox.answer(
        model="anthropic/claude-sonnet-4", messages=[{"role": "user", "content": [part]}], max_tokens=1
    )
    assert written["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 1000
    rest = written["usage"]["prompt_tokens"] - 1000
    expected = 1000 * Decimal("0.00000375") + rest * Decimal("0.000003") + Decimal("0.000015")
    assert Decimal(repr(written["usage"]["cost"])) == expected


BAD = [
    ({"messages": []}, 400),
    ({"messages": "x"}, 400),
    ({"messages": [{"role": "boss", "content": "x"}]}, 400),
    ({"messages": [{"role": "user", "content": 7}]}, 400),
    ({"model": "nobody/nothing"}, 400),
    ({"model": 7}, 400),
    ({"max_tokens": 0}, 400),
    ({"max_tokens": "many"}, 400),
    ({"n": 1000}, 400),
    ({"stop": 5}, 400),
    ({"model": "google/gemma-3-27b-it", "tools": [WEATHER]}, 404),
    ({"model": "openai/gpt-3.5-turbo", "text": "x" * 80_000}, 400),
]


@pytest.mark.parametrize(("body", "status"), BAD)
async def test_bad_calls_are_refused_as_openrouter_does(sandbox: Client, body: dict[str, Any], status: int) -> None:
    """The core reads these shapes; and nothing may be billed for them."""
    async with sandbox.chat(**body) as response:
        assert response.status == status
        error = (await response.json())["error"]
    assert error["code"] == status
    assert error["message"]
    assert await sandbox.journal() == []


async def test_a_body_that_is_not_json(sandbox: Client) -> None:
    status, body = await sandbox.status("POST", "/api/v1/chat/completions", data=b"{", headers=AUTHORIZED)
    assert (status, body["error"]["code"]) == (400, 400)


async def test_the_generic_face_refuses_as_openai_does(sandbox: Client) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await sandbox.openai("/openai/v1").chat.completions.create(
            model="no/such", messages=[{"role": "user", "content": "x"}]
        )
    assert caught.value.code == "model_not_found"


async def test_keys(sandbox: Client) -> None:
    """The operator's key trouble must be tellable from a customer's."""
    status, body = await sandbox.status("POST", "/api/v1/chat/completions", json={})
    assert (status, body["error"]["code"]) == (401, 401)
    await sandbox.control(require_key="sk-right")
    with pytest.raises(openai.AuthenticationError):
        await sandbox.openai(key="sk-wrong").chat.completions.create(
            model="openai/gpt-4o", messages=[{"role": "user", "content": "x"}]
        )


async def test_models(sandbox: Client) -> None:
    """The gateway's catalogue is read from here."""
    listed = await sandbox.get("/api/v1/models")
    every = await sandbox.get("/api/v1/models", output_modalities="image")
    rows = {row["id"]: row for row in listed["data"]}
    assert listed["total_count"] == len(rows) >= 24
    assert [row["id"] for row in every["data"]] == ["google/gemini-2.5-flash-image"]
    assert rows["openai/gpt-4o"]["pricing"]["prompt"] == "0.0000025"
    assert rows["openrouter/auto"]["pricing"]["prompt"] == "-1"
    assert "completion" not in rows["sandbox/unpriced"]["pricing"]
    assert rows["anthropic/claude-sonnet-4"]["pricing"]["overrides"][0]["min_prompt_tokens"] == 200000
    found = await sandbox.get("/api/v1/models/openai/gpt-4o/endpoints")
    assert found["data"]["endpoints"][0]["pricing"] == rows["openai/gpt-4o"]["pricing"]
    generic = [model.id async for model in sandbox.openai("/openai/v1").models.list()]
    assert generic == list(catalogue.load())


async def test_a_router_answers_as_another_model(sandbox: Client) -> None:
    assert (await sandbox.answer(model="openrouter/auto"))["model"] == "openai/gpt-4o-mini"


async def test_generation_credits_and_key(sandbox: Client) -> None:
    """Interrupted streams are reconciled through these."""
    answer = await sandbox.answer(model="sandbox/fixed-price")
    record = (await sandbox.get("/api/v1/generation", id=answer["id"]))["data"]
    assert record["total_cost"] == 0.0025
    assert record["native_tokens_completion"] == answer["usage"]["completion_tokens"]
    assert record["cancelled"] is False
    assert (await sandbox.get("/api/v1/credits"))["data"]["total_usage"] == 0.0025
    assert (await sandbox.get("/api/v1/key"))["data"]["usage"] == 0.0025
    status, _ = await sandbox.status("GET", "/api/v1/generation?id=gen-none", headers=AUTHORIZED)
    assert status == 404
    await sandbox.control(generation_404_ms=60_000)
    status, _ = await sandbox.status("GET", f"/api/v1/generation?id={answer['id']}", headers=AUTHORIZED)
    assert status == 404
