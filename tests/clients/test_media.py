"""Media over HTTP, as a client sees it: every model once with the obvious input, every mistake named, nothing held."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from core.media.catalogue import load
from core.media.schema import MediaModel
from proto.onysoft.v1 import admin_pb2 as admin
from tests.clients.conftest import Control
from tests.core.media.images import URL, data_uri, png
from tests.core.media.obvious import obvious_request
from tests.core.media.test_media_refusals import BAD
from tests.faults.gateway import Customer, Gateway

AT_A_TIME = 16
DEADLINE_S = 200.0
QUICK = {"task_ms": 400, "creates_per_window": 0}
LIRA_A_CREDIT = Decimal("0.2")
"""0.005 USD at the demo's rate of 40, without a markup."""
BEFORE = {"suno": "suno-v4", "veo": "veo3", "runway": "runway", "market": "grok-imagine/text-to-video"}
"""Whose task an operation goes on from, by family."""


class Client:
    """One customer."""

    def __init__(self, gateway: Gateway, customer: Customer, session: aiohttp.ClientSession) -> None:
        self.base = gateway.base_urls[0]
        self.other = gateway.base_urls[-1]
        self.customer = customer
        self._session = session
        self._headers = {"authorization": f"Bearer {customer.api_key}", "accept-language": "en"}

    async def post(self, body: Any, kind: str = "image") -> tuple[int, dict[str, Any], Any]:
        """Status, JSON and headers."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(f"{self.base}/{kind}/generate", data=data, headers=self._headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def status(self, task_id: str, kind: str = "video") -> dict[str, Any]:
        """By another edge than the one that took it."""
        async with self._session.get(f"{self.other}/{kind}/status/{task_id}", headers=self._headers) as answer:
            assert answer.status == 200
            shown: dict[str, Any] = await answer.json()
            return shown

    async def done(self, task_id: str) -> dict[str, Any]:
        """Its end."""
        async with asyncio.timeout(DEADLINE_S):
            while (shown := await self.status(task_id))["status"] not in ("completed", "failed"):  # noqa: ASYNC110
                await asyncio.sleep(0.3)
        return shown

    async def get(self, url: str, **headers: str) -> tuple[int, bytes, Any]:
        """A public file."""
        async with self._session.get(url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def client(gateway: Gateway, control: Control) -> AsyncIterator[Client]:
    control(kie=QUICK)
    async with aiohttp.ClientSession() as session:
        yield Client(gateway, gateway.open_account("100000"), session)


def tasks_of(gateway: Gateway) -> list[dict[str, Any]]:
    """What the provider made."""
    return gateway.journal("tasks")


async def once(client: Client, model: MediaModel, earlier: dict[str, str]) -> str:
    """What went wrong with one model; empty: nothing."""
    status, body, _ = await client.post(obvious_request(model, earlier.get(model.family, "")))
    if status != 202:
        return f"{model.id}: {status} {body}"
    shown = await client.done(body["task_id"])
    if shown["status"] != "completed" or not (shown["urls"] or shown["text"]):
        return f"{model.id}: {shown}"
    if not 0 <= shown["cost"]["amount"] <= body["cost"]["amount"]:
        return f"{model.id}: held {body['cost']}, charged {shown['cost']}"
    for url in shown["urls"]:
        code, content, headers = await client.get(url)
        if code != 200 or not content or headers["content-type"] == "application/octet-stream":
            return f"{model.id}: {url} gives {code} {headers['content-type']}"
    return ""


@pytest.mark.slow
async def test_every_model_is_taken_with_the_obvious_input(gateway: Gateway, client: Client) -> None:
    """A model in the list that cannot be used as its name says is a customer's lost afternoon. What all of them cost is
    what the provider's journal says that they cost."""
    before = len(tasks_of(gateway))
    models = load().callable_models()
    earlier = {}
    for family, name in BEFORE.items():
        status, body, _ = await client.post({"model": name, "prompt": "uzun yol"})
        assert status == 202, body
        earlier[family] = body["task_id"]
    for task_id in earlier.values():
        assert (await client.done(task_id))["status"] == "completed"
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(model: MediaModel) -> str:
        async with places:
            return await once(client, model, earlier)

    wrong = [told for told in await asyncio.gather(*map(one, models)) if told]
    assert not wrong, "\n".join(wrong)
    balance = gateway.balance(client.customer.account_id)
    assert (balance.open_holds, balance.held) == (0, "0.00")
    taken = sum(Decimal(task["credits"]) for task in tasks_of(gateway)[before:])
    assert Decimal(balance.charges) == taken * LIRA_A_CREDIT


@pytest.mark.slow
async def test_every_mistake_is_named_and_holds_nothing(gateway: Gateway, client: Client) -> None:
    """Seventy ways to be wrong: each is a 4xx that says what to change, and none costs or begins anything."""
    before = len(tasks_of(gateway))
    listed = [(model, fields) for model, fields, _ in BAD if "nan" not in str(fields)]  # JSON has no such number
    wrong: list[Any] = [{"model": model, **({"prompt": "x"} if fields else {}), **fields} for model, fields in listed]
    i2i = {"model": "seedream/4.5-edit", "prompt": "x"}
    wrong += [
        b"",
        b"[]",
        b"{",
        {"prompt": "x"},
        {"model": 5},
        {"model": "no/such-model", "prompt": "x"},
        {"model": "openai/gpt-4o-mini", "prompt": "x"},
        {**i2i, "image_url": URL, "callback_url": "http://169.254.169.254/"},
        {**i2i, "image_url": URL, "callback_url": "http://localhost:1/"},
        {**i2i, "image_url": URL, "callback_url": "gopher://example.com/"},
        {"model": "runway/extend", "prompt": "x"},
        {"model": "ai-music-api/convert-to-wav-format", "task_id": "vtask_" + "0" * 24},
        {"model": "ai-music-api/convert-to-wav-format", "task_id": "not-a-task"},
    ]
    for body in wrong:
        status, said, _ = await client.post(body)
        assert 400 <= status < 500, (body, status, said)
        assert set(said) == {"success", "error"}, said
        assert said["error"]["message"]
    assert len(wrong) >= 50
    huge = {**i2i, "image_url": "data:image/png;base64," + base64.b64encode(bytes(11_000_000)).decode()}
    async with aiohttp.ClientSession() as session:
        refused = Client(gateway, client.customer, session)
        status, said, _ = await refused.post(huge)
        assert (status, said["error"]["code"]) == (413, "payload_too_large")
    balance = gateway.balance(client.customer.account_id)
    assert (balance.balance, balance.held, balance.open_holds) == ("100000.00", "0.00", 0)
    assert len(tasks_of(gateway)) == before


async def test_an_embedded_image_reaches_the_provider_as_a_file(gateway: Gateway, client: Client) -> None:
    """The sandbox fetches it from the gateway and refuses what is no image."""
    status, body, _ = await client.post(
        {"model": "google/nano-banana-edit", "prompt": "x", "image_url": data_uri(png())}
    )
    assert status == 202, body
    shown = await client.done(body["task_id"])
    assert shown["status"] == "completed"
    code, part, headers = await client.get(shown["url"], range="bytes=0-7")
    assert (code, part, headers["content-type"]) == (206, b"\x89PNG\r\n\x1a\n", "image/png")


async def test_what_fails_at_the_provider_costs_nothing_and_says_so(
    gateway: Gateway, client: Client, control: Control
) -> None:
    control(kie={**QUICK, "fail_rate": 1.0})
    status, body, _ = await client.post({"model": "veo3", "prompt": "x"}, "video")
    assert status == 202
    shown = await client.done(body["task_id"])
    assert (shown["status"], shown["error"]["code"], shown["cost"]["amount"]) == ("failed", "generation_failed", 0)
    assert gateway.balance(client.customer.account_id).available == "100000.00"


async def test_a_request_tells_the_whole_story_of_a_task(gateway: Gateway, client: Client) -> None:
    """Why was I charged: hold, submission, price's conditions, settlement."""
    status, body, headers = await client.post({"model": "google/nano-banana-2-1k", "prompt": "x"})
    assert status == 202
    await client.done(body["task_id"])
    story = json.loads(gateway.admin("ShowRequest", admin.RequestRef(request_id=headers["x-request-id"]), 30).json)
    (attempt,) = story["attempts"]
    assert {"opened", "submitted", "settled"} <= set(attempt)
    assert json.loads(story["quantities"])["resolution"] == "1K"
    assert story["basis"] == "catalogue_price"


async def test_media_models_are_listed_with_prices(client: Client) -> None:
    async with aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {client.customer.api_key}"}
        async with session.get(f"{client.base}/models", headers=headers) as answer:
            listed = {model["id"]: model for model in (await answer.json())["data"]}
        async with session.get(f"{client.base}/models/veo3", headers=headers) as answer:
            assert (await answer.json())["type"] == "video"
    assert listed["google/imagen4"]["pricing"]["prices"][0]["price"] == "1.6"
    assert "openai/gpt-4o-mini" in listed


async def test_operators_find_a_task_and_have_it_looked_at_again(
    gateway: Gateway, client: Client, control: Control
) -> None:
    """What support does when a customer asks: results that died at the provider are said to be so."""
    control(kie={**QUICK, "dead_results_rate": 1.0})
    status, body, _ = await client.post({"model": "google/imagen4", "prompt": "x"})
    assert status == 202
    shown = await client.done(body["task_id"])
    assert "/v1/files/" not in shown["url"], "copying failed: the provider's address is given"
    account = client.customer.account_id
    listed = gateway.admin("ListTasks", admin.ListTasksRequest(account_id=account, status="completed")).tasks
    assert [(task.task_id, task.uncopied) for task in listed] == [(body["task_id"], 1)]
    ref = admin.TaskRef(task_id=body["task_id"])
    assert gateway.admin("RetryTask", ref).status == "completed"
    found = gateway.admin("ShowTask", ref)
    assert (found.account_id, found.charged, found.callback) == (account, "1.60", "none")
