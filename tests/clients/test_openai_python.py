"""The official Python SDK, with only `base_url` and `api_key` changed."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import openai
import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from tests.clients.conftest import Control
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

MODEL = "openai/gpt-4o-mini"
FAULTY = "mistralai/mistral-nemo"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")

Messages = list[dict[str, Any]]


def says(text: str) -> Any:
    return [{"role": "user", "content": text}]


HELLO = says("[[tokens=12]] Merhaba")


def sdk(gateway: Gateway, customer: Customer, edge: int = 0, **options: Any) -> openai.OpenAI:
    options.setdefault("max_retries", 0)
    return openai.OpenAI(base_url=gateway.base_urls[edge], api_key=customer.api_key, timeout=30, **options)


@pytest.fixture(scope="module")
def client(gateway: Gateway, rich: Customer) -> openai.OpenAI:
    return sdk(gateway, rich)


def story(client: openai.OpenAI, request_id: str) -> dict[str, Any]:
    """Why was I charged."""
    told: Any = client.get(f"/requests/{request_id}", cast_to=object)
    return dict(told)


# Answers


@pytest.mark.parametrize("edge", [0, 1])
def test_a_whole_answer(gateway: Gateway, rich: Customer, edge: int) -> None:
    """The first thing that a customer tries."""
    answer = sdk(gateway, rich, edge).chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.id.startswith("req_")
    assert answer.model == MODEL
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) == 12
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.cost["currency"] == "TRY"  # type: ignore[attr-defined]


def test_what_is_shown_is_what_is_charged(gateway: Gateway, rich: Customer, client: openai.OpenAI) -> None:
    """A customer would see one price and pay another."""
    before = Decimal(gateway.balance(rich.account_id).balance)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    shown = json.loads(raw.text, parse_float=Decimal)["cost"]["amount"]
    after = wait_until(
        lambda: (found := gateway.balance(rich.account_id)).open_holds == 0 and Decimal(found.balance),
        10,
        "a settlement",
    )
    told = story(client, raw.headers["x-request-id"])
    assert before - after == shown == Decimal(told["charge"])
    cost_in_try = Decimal(told["provider_cost_usd"]) * 40 * Decimal("1.5")
    assert 0 <= shown - cost_in_try < Decimal("0.000000001")


def test_a_streamed_answer(client: openai.OpenAI) -> None:
    """A stream that loses or doubles a piece shows a wrong answer; without its end nobody knows what it cost."""
    whole = client.chat.completions.create(model=MODEL, messages=HELLO)
    chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {MODEL}
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 12
    assert last.cost == whole.cost  # type: ignore[attr-defined]


def test_the_stream_helper(client: openai.OpenAI) -> None:
    """The SDK's own accumulator is strict about ids, indexes and the order of chunks."""
    with client.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert len((final.choices[0].message.content or "").split()) == 12


async def test_async(gateway: Gateway, rich: Customer) -> None:
    """Most servers use the SDK this way, many calls at a time."""
    async with openai.AsyncOpenAI(base_url=gateway.base_urls[1], api_key=rich.api_key, max_retries=0) as client:

        async def streamed() -> str:
            stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

        async def whole() -> str:
            answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
            return answer.choices[0].message.content or ""

        texts = await asyncio.gather(*(streamed() if number % 2 else whole() for number in range(20)))
    assert len(set(texts)) == 1


def test_raw_response_has_the_headers(client: openai.OpenAI) -> None:
    """Programs pace themselves by these, and support asks for the request id."""
    for stream in (False, True):
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, stream=stream)
        assert raw.headers["x-request-id"].startswith("req_")
        assert all(raw.headers[name].isdigit() for name in LIMIT_HEADERS)
        if not stream:
            assert raw.parse().id == raw.headers["x-request-id"]  # type: ignore[union-attr]
        raw.http_response.close()


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_tools(client: openai.OpenAI) -> None:
    """Agents could not call their tools, or not go on with what the tools said."""
    asked = says("Ankara'da hava nasıl?")
    answer = client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "12 derece"}
    said: Any = message.model_dump(exclude_none=True)
    more = client.chat.completions.create(model=MODEL, messages=[*asked, said, result], tools=[WEATHER])
    assert more.choices[0].message.content


def test_streamed_tools(client: openai.OpenAI) -> None:
    """The pieces of a tool's arguments must arrive whole and in order."""
    with client.chat.completions.stream(model=MODEL, messages=says("Hava?"), tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert "city" in json.loads(message.tool_calls[0].function.arguments)


def test_vision(client: openai.OpenAI) -> None:
    """Pictures would be refused, or cost nothing."""
    text: Any = {"type": "text", "text": "[[tokens=12]] Ne görüyorsun?"}
    picture: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    costs = []
    for content in ([text], [text, picture]):
        answer: Any = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
        assert answer.choices[0].message.content
        costs.append(answer.cost["amount"])
    assert costs[1] > 2 * costs[0]


def test_json_schema(client: openai.OpenAI) -> None:
    """Structured answers would not parse."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, response_format=wanted)
    person = json.loads(answer.choices[0].message.content or "")
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_several_choices_and_a_limit(client: openai.OpenAI) -> None:
    """`n` and `max_tokens` are priced: they must reach the provider as they were priced."""
    answer = client.chat.completions.create(model=MODEL, messages=says("[[tokens=50]] x"), n=3, max_completion_tokens=7)
    assert [choice.finish_reason for choice in answer.choices] == ["length"] * 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 21


def test_an_image_model_answers_with_pictures(client: openai.OpenAI) -> None:
    """Fields that the SDK does not know must pass: pictures come in one."""
    answer = client.chat.completions.create(
        model="google/gemini-2.5-flash-image", messages=says("Bir kedi"), extra_body={"modalities": ["image", "text"]}
    )
    images = answer.choices[0].message.images  # type: ignore[attr-defined]
    assert images[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_large_body(client: openai.OpenAI) -> None:
    """Long documents travel in chunks; a lost chunk would be a wrong answer."""
    text = "ışık " * 200_000
    answer = client.chat.completions.create(model="google/gemini-2.5-flash", messages=says(text), max_tokens=5)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 300_000


def test_models(client: openai.OpenAI, gateway: Gateway) -> None:
    """What cannot be sold must not be listed; what is listed can be asked for by its id."""
    ids = {model.id for model in client.models.list()}
    assert len(ids) >= 20
    assert not {"sandbox/unpriced", "openrouter/auto"} & ids
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no/such-model")


def test_a_model_without_a_price_is_not_sold(client: openai.OpenAI) -> None:
    """Its calls would cost the house an unknown amount."""
    for model in ("sandbox/unpriced", "openrouter/auto"):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=model, messages=HELLO)


def test_a_streams_client_that_leaves_pays_for_what_it_took(gateway: Gateway, rich: Customer, control: Control) -> None:
    """It would pay for an answer that nobody read, or lock its balance."""
    control(tokens_per_second=50)
    client = sdk(gateway, rich)
    stream = client.chat.completions.create(model=MODEL, messages=says("[[tokens=2000]] Uzun"), stream=True)
    taken = [next(stream) for _ in range(5)]
    stream.close()
    told = wait_until(
        lambda: (found := story(client, taken[0].id))["status"] == "settled" and found, 20, "the settlement"
    )
    assert told["end"] == "cancelled"
    assert 0 < told["completion_tokens"] < 500
    assert gateway.balance(rich.account_id).open_holds == 0


def test_balance_and_requests(gateway: Gateway, rich: Customer, client: openai.OpenAI) -> None:
    """A customer asks what is left, and why something was charged, right after the call."""
    answer = client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=HELLO)
    told = story(client, answer.id)
    assert told["status"] == "settled"
    assert told["charge"] == "0.15"
    balance: Any = client.get("/balance", cast_to=object)
    assert Decimal(str(balance["balance"])) == Decimal(gateway.balance(rich.account_id).balance)


def test_another_accounts_request_is_not_found(gateway: Gateway, poor: Customer, client: openai.OpenAI) -> None:
    """What one customer asked is none of another's business."""
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        story(sdk(gateway, poor), answer.id)


# Refusals


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wrong", "error", "status", "code"),
    [
        ({"temperature": 3}, openai.BadRequestError, 400, "invalid_request"),
        ({"messages": []}, openai.BadRequestError, 400, "invalid_request"),
        ({"max_tokens": 0}, openai.BadRequestError, 400, "invalid_request"),
        ({"model": ""}, openai.BadRequestError, 400, "invalid_request"),
        ({"model": "x" * 1_000_000}, openai.BadRequestError, 400, "invalid_request"),
        ({"model": "no/such-model"}, openai.NotFoundError, 404, "model_not_found"),
        ({"messages": says("x" * 10_000_001)}, openai.APIStatusError, 413, "payload_too_large"),
    ],
    ids=["temperature", "messages", "max_tokens", "no model", "long model", "unknown model", "too large"],
)
def test_a_request_that_is_wrong(
    client: openai.OpenAI,
    wrong: dict[str, Any],
    error: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
) -> None:
    """A program decides by class and code what to do next; a person reads the message."""
    options: dict[str, Any] = {"model": MODEL, "messages": HELLO, "stream": stream, **wrong}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**options)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert str(caught.value.request_id).startswith("req_")


@pytest.mark.parametrize("key", ["sk-ony-" + "0" * 48, "sk-ony-short", "sk-proj-123", "x"])
def test_a_wrong_key(gateway: Gateway, key: str) -> None:
    """Anybody could call at somebody's cost."""
    client = openai.OpenAI(base_url=gateway.base_urls[0], api_key=key, max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.code == "invalid_api_key"


def test_a_revoked_key_is_refused_at_once_on_every_edge(gateway: Gateway) -> None:
    """A stolen key must be worthless the moment it is revoked (invariant 9)."""
    customer = gateway.open_account("5")
    for edge in (0, 1):
        sdk(gateway, customer, edge).chat.completions.create(model=MODEL, messages=HELLO)
    gateway.admin("RevokeKey", admin.KeyRef(key_id=customer.key_id))
    for edge in (0, 1):
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk(gateway, customer, edge).chat.completions.create(model=MODEL, messages=HELLO)
        assert caught.value.code == "invalid_api_key"


def test_no_balance(gateway: Gateway, poor: Customer) -> None:
    """The house would pay; and a program must be able to tell this from any other refusal."""
    with pytest.raises(openai.APIStatusError) as caught:
        sdk(gateway, poor).chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_balance")


def test_suspended(gateway: Gateway) -> None:
    """An operator's suspension must hold at once, and end at once."""
    customer = gateway.open_account("5")
    ref = admin.AccountRef(account_id=customer.account_id)
    gateway.admin("SuspendAccount", ref)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        sdk(gateway, customer, 1).chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.code == "project_suspended"
    gateway.admin("ResumeAccount", ref)
    assert sdk(gateway, customer, 1).chat.completions.create(model=MODEL, messages=HELLO).id


def test_a_topup_counts_at_once(gateway: Gateway) -> None:
    """A customer who has just paid would still be refused."""
    customer = gateway.open_account("0")
    for edge in (0, 1):
        with pytest.raises(openai.APIStatusError):
            sdk(gateway, customer, edge).chat.completions.create(model=FIXED_PRICE_MODEL, messages=HELLO)
        gateway.credit(customer.account_id, "0.10", f"top-up {edge}")
        assert sdk(gateway, customer, edge).chat.completions.create(model=FIXED_PRICE_MODEL, messages=HELLO).id
    assert gateway.balance(customer.account_id).balance == "0.00"


def test_the_minute_limit_is_one_over_both_edges(gateway: Gateway) -> None:
    """A limit for each edge would be no limit."""
    customer = gateway.open_account("5", requests_per_minute=3)
    refused: list[openai.RateLimitError] = []
    for number in range(8):
        try:
            raw = sdk(gateway, customer, number % 2).chat.completions.with_raw_response.create(
                model=FIXED_PRICE_MODEL, messages=HELLO
            )
            assert raw.headers["x-ratelimit-limit"] == "3"
        except openai.RateLimitError as error:
            refused.append(error)
    assert 2 <= len(refused) <= 5, "3 calls a minute; 6 where the minute ended in between"
    headers = refused[0].response.headers
    assert refused[0].code == "rate_limit_exceeded"
    assert headers["x-ratelimit-remaining"] == "0"
    assert 1 <= int(headers["retry-after"]) <= 60


def test_the_day_limit_stops_the_sdks_retries(gateway: Gateway) -> None:
    """An SDK would repeat for a whole day what cannot succeed."""
    customer = gateway.open_account("5", requests_per_day=1)
    statuses: list[int] = []
    http = openai.DefaultHttpxClient(event_hooks={"response": [lambda answer: statuses.append(answer.status_code)]})
    client = sdk(gateway, customer, max_retries=3, http_client=http)
    assert client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=HELLO).id
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=HELLO)
    assert caught.value.code == "daily_request_limit_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("language", "message"),
    [
        (None, "Yetersiz bakiye. Lütfen bakiye yükleyin."),
        ("tr-TR,tr;q=0.9,en;q=0.8", "Yetersiz bakiye. Lütfen bakiye yükleyin."),
        ("en-US,en;q=0.9", "Insufficient balance. Please top up."),
        ("de,en;q=0.5,tr;q=0.4", "Insufficient balance. Please top up."),
    ],
)
def test_language(gateway: Gateway, poor: Customer, language: str | None, message: str) -> None:
    """A person must understand why nothing happens."""
    headers = {"accept-language": language} if language else {}
    with pytest.raises(openai.APIStatusError) as caught:
        sdk(gateway, poor).chat.completions.create(model=MODEL, messages=HELLO, extra_headers=headers)
    assert caught.value.body == {"code": "insufficient_balance", "message": message}
    assert caught.value.response.json().keys() == {"success", "error"}


# A provider that fails


@pytest.mark.parametrize(
    ("faults", "error", "status", "code"),
    [
        ({"error_rates": {"422": 1}}, openai.UnprocessableEntityError, 422, "model_not_supported"),
        ({"error_rates": {"500": 1}}, openai.InternalServerError, 502, "provider_error"),
        ({"error_rates": {"401": 1}}, openai.InternalServerError, 503, "service_unavailable"),
        ({"error_rates": {"402": 1}}, openai.InternalServerError, 503, "service_unavailable"),
        ({"error_rates": {"429": 1}}, openai.InternalServerError, 503, "service_unavailable"),
        ({"error_in_200": True}, openai.InternalServerError, 502, "provider_error"),
        ({"stall_after_tokens": 0}, openai.InternalServerError, 504, "provider_timeout"),
    ],
    ids=["422", "500", "401", "402", "429", "error in 200", "silence"],
)
def test_a_failing_provider_costs_nothing(
    gateway: Gateway,
    control: Control,
    faults: dict[str, Any],
    error: type[openai.APIStatusError],
    status: int,
    code: str,
) -> None:
    """A customer must not pay for the provider's trouble, nor be blamed for the house's unpaid bill."""
    customer = gateway.open_account("5")
    control(only_models=[FAULTY], **faults)
    with pytest.raises(error) as caught:
        sdk(gateway, customer).chat.completions.create(model=FAULTY, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    if status == 503:
        assert int(caught.value.response.headers["retry-after"]) >= 1
    found = wait_until(
        lambda: (each := gateway.balance(customer.account_id)).open_holds == 0 and each, 10, "the hold's end"
    )
    assert found.balance == "5.00"


def test_the_sdks_retry_succeeds_once_the_provider_is_back(gateway: Gateway, rich: Customer, control: Control) -> None:
    """With its default settings the SDK gets over a short trouble by itself."""
    control(only_models=[FAULTY], error_rates={"429": 1})
    statuses: list[int] = []

    def seen(answer: Any) -> None:
        statuses.append(answer.status_code)
        control()

    http = openai.DefaultHttpxClient(event_hooks={"response": [seen]})
    client = sdk(gateway, rich, max_retries=2, http_client=http)
    assert client.chat.completions.create(model=FAULTY, messages=HELLO).id
    assert statuses == [503, 200]


@pytest.mark.parametrize("faults", [{"error_after_tokens": 5}, {"drop_after_tokens": 5}, {"stall_after_tokens": 5}])
def test_a_stream_that_breaks_raises(
    gateway: Gateway, rich: Customer, control: Control, faults: dict[str, Any]
) -> None:
    """A program would take half an answer for a whole one."""
    control(only_models=[FAULTY], tokens_per_second=100, **faults)
    client = sdk(gateway, rich)
    stream = client.chat.completions.create(model=FAULTY, messages=says("[[tokens=30]] x"), stream=True)
    pieces: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        pieces.extend(stream)
    assert caught.value.code in ("provider_error", "provider_timeout")
    assert 1 <= len(pieces) <= 8
    told = story(client, pieces[0].id)
    assert told["status"] == "settled"
    assert told["completion_tokens"] <= 8


@pytest.mark.parametrize("faults", [{"missing_usage": True}, {"zero_cost": True}, {"usage_in_last_delta": True}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_does_not_say_what_it_cost(
    gateway: Gateway, rich: Customer, control: Control, faults: dict[str, Any], stream: bool
) -> None:
    """Unknown cost is a state, never 0: answers would be free (invariant 11)."""
    control(only_models=[FAULTY], **faults)
    client = sdk(gateway, rich)
    answer: Any = client.chat.completions.create(model=FAULTY, messages=HELLO, stream=stream)
    last = list(answer)[-1] if stream else answer
    assert last.usage.completion_tokens > 0
    assert last.cost["amount"] > 0
    basis = story(client, last.id)["basis"]
    named = {"missing_usage": "estimated", "zero_cost": "provider_tokens", "usage_in_last_delta": "provider_cost"}
    assert basis == named[next(iter(faults))]
