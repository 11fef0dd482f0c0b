"""The catalogue and the sandbox were written down apart from each other; what one asks for, the other must take."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from core.media.catalogue import load
from core.media.compare import compare
from core.media.prepare import prepare, provider_request
from core.media.pricing import quote
from core.media.schema import MediaModel
from runtime.settings import Settings
from sandbox.main import Sandbox
from tests.core.media.obvious import obvious_request

CATALOGUE = load()
CALLBACK = "http://127.0.0.1:9/cb"
AUTHORIZED = {"Authorization": "Bearer key"}
PARENTS = {"market": "grok-imagine/text-to-video", "veo": "veo3-lite", "suno": "suno-v4"}


class Provider:
    """A sandbox in which tasks end at once."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._songs: dict[str, str] = {}

    async def control(self, **faults: Any) -> None:
        async with self._session.put(f"{self._url}/control", json={"kie": faults}) as response:
            assert response.status == 200, await response.text()

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(self._url + path, params=query, headers=AUTHORIZED) as response:
            return await response.json()

    async def submit(self, model: MediaModel) -> dict[str, Any]:
        """The answer to the create call of the obvious request."""
        prepared = prepare(model, obvious_request(model))
        references = await self._references(model) if prepared.references else {}
        body = provider_request(model, prepared.filled(references=references), CALLBACK)
        async with self._session.post(f"{self._url}/kie{model.endpoint}", json=body, headers=AUTHORIZED) as response:
            return dict(await response.json())

    async def _references(self, model: MediaModel) -> dict[str, str]:
        parent = CATALOGUE.find(PARENTS[model.family])
        task_id = (await self.submit(parent))["data"]["taskId"]
        record = (await self.get(f"/kie{parent.query}", taskId=task_id))["data"]
        found = {"taskId": task_id, "task_id": task_id}
        if model.family == "suno":
            found["audioId"] = record["response"]["sunoData"][0]["id"]
        return {name: value for name, value in found.items() if name in model.fields}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    server = Sandbox(Settings(sandbox_port=0))
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        found = Provider(f"http://127.0.0.1:{port}", session)
        await found.control(task_ms=0, creates_per_window=0, refuse_unknown=True)
        yield found
    await server.stop()


async def test_every_model_is_accepted_and_costs_what_was_quoted(provider: Provider) -> None:
    for model in CATALOGUE.callable_models():
        answer = await provider.submit(model)
        assert answer["code"] == 200, (model.id, answer)
        quoted = quote(model, prepare(model, obvious_request(model)))
        charged = Decimal((await provider.get("/journal", kind="tasks"))[-1]["credits"])
        ours = Decimal(quoted.units["credits"])
        assert charged == ours if quoted.exact else charged <= ours, model.id
        if not model.at_once:
            record = await provider.get(f"/kie{model.query}", taskId=answer["data"]["taskId"])
            assert record["code"] == 200, (model.id, record)


async def test_the_catalogue_agrees_with_what_the_provider_lists(provider: Provider) -> None:
    listed = (await provider.get("/kie/api/v1/models"))["data"]["models"]
    found = compare(CATALOGUE, listed)
    assert (found.unlisted, found.doubts) == ((), ())
    off = {model.id for model in CATALOGUE.models.values() if not model.callable}
    assert set(found.unknown) <= off
