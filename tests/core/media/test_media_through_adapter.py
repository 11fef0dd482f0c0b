"""Catalogue, adapter and sandbox together: every model, from the obvious request to its results and its price."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from core.media.catalogue import load
from core.media.prepare import prepare, provider_request
from core.media.pricing import quote
from core.media.schema import MediaModel
from core.providers.kie.adapter import KieAI
from core.providers.tasks import Progress, TaskState
from runtime.settings import Settings
from sandbox.main import Sandbox
from tests.core.media.images import png
from tests.core.media.obvious import obvious_request

CATALOGUE = load()
PARENTS = {"market": "grok-imagine/text-to-video", "veo": "veo3-lite", "suno": "suno-v4"}
RESULTS_AT_ONCE = 16


class Bench:
    """The adapter in front of a sandbox."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self.adapter = KieAI(f"{url}/kie", f"{url}/kie", "key")

    async def control(self, **faults: Any) -> None:
        wanted = {"kie": {"task_ms": 0, "creates_per_window": 0, "refuse_unknown": True, **faults}}
        async with self._session.put(f"{self._url}/control", json=wanted) as response:
            assert response.status == 200, await response.text()

    async def run(self, model: MediaModel) -> tuple[str, Progress]:
        """Begin the obvious, and look once."""
        prepared = prepare(model, obvious_request(model))
        references = await self._references(model) if prepared.references else {}
        body = provider_request(model, prepared.filled(references=references), "http://127.0.0.1:9/cb")
        begun = await self.adapter.create(model.endpoint, body, model.at_once)
        if begun.at_once is not None:
            return "", begun.at_once
        return begun.task_id, await self.adapter.look(model.family, model.query, begun.task_id)

    async def _references(self, model: MediaModel) -> dict[str, str]:
        task_id, progress = await self.run(CATALOGUE.find(PARENTS[model.family]))
        found = {"taskId": task_id, "task_id": task_id, "audioId": progress.ids[0] if progress.ids else ""}
        return {name: value for name, value in found.items() if name in model.fields and value}

    async def status(self, url: str) -> tuple[int, str]:
        async with self._session.get(url) as response:
            await response.read()
            return response.status, response.content_type


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    server = Sandbox(Settings(sandbox_port=0))
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        found = Bench(f"http://127.0.0.1:{port}", session)
        await found.control()
        yield found
        await found.adapter.close()
    await server.stop()


async def test_every_model_gives_results_that_can_be_fetched(bench: Bench) -> None:
    for model in CATALOGUE.callable_models():
        _, progress = await bench.run(model)
        assert progress.state is TaskState.SUCCEEDED, (model.id, progress)
        if model.result == "text":
            assert progress.text, model.id
        else:
            assert progress.urls, (model.id, progress)
            for url in progress.urls[:RESULTS_AT_ONCE]:
                status, content_type = await bench.status(url)
                assert (status, content_type.partition("/")[0]) == (200, _media_of(model)), (model.id, url)
        quoted = quote(model, prepare(model, obvious_request(model)))
        assert quoted.settled_atto(progress.credits) <= quoted.cost_atto, model.id


def _media_of(model: MediaModel) -> str:
    return model.kind if model.kind in ("image", "video") else "audio"


@pytest.mark.parametrize(
    "family", ["google/imagen4", "veo3", "runway", "aleph", "suno-v4", "gpt4o-image", "flux-kontext-pro"]
)
async def test_each_family_runs_fails_and_is_forgotten(bench: Bench, family: str) -> None:
    model = CATALOGUE.find(family)
    await bench.control(task_ms=600_000)
    assert (await bench.run(model))[1].state in (TaskState.PENDING, TaskState.PROCESSING)
    await bench.control(fail_rate=1)
    assert (await bench.run(model))[1].state is TaskState.FAILED
    await bench.control(fail_rate=1, fail_code=400)
    assert (await bench.run(model))[1].state is TaskState.FAILED
    await bench.control(forget_rate=1)
    assert (await bench.run(model))[1].state is TaskState.UNKNOWN
    await bench.control(hang_rate=1)
    assert (await bench.run(model))[1].state in (TaskState.PENDING, TaskState.PROCESSING)


async def test_finished_audio_behind_an_exception_counts(bench: Bench) -> None:
    await bench.control(callback_exception_rate=1)
    for model_id in ("suno-v4", "ai-music-api/upload-and-cover-audio"):
        assert (await bench.run(CATALOGUE.find(model_id)))[1].state is TaskState.SUCCEEDED


async def test_an_embedded_image_goes_by_way_of_the_upload_service(bench: Bench) -> None:
    url = await bench.adapter.upload(png(), "kedi.png", "image/png")
    assert await bench.status(url) == (200, "image/png")
    model = CATALOGUE.find("qwen/image-to-image")
    body = provider_request(model, {"prompt": "x", "image_url": url})
    begun = await bench.adapter.create(model.endpoint, body, at_once=False)
    async with asyncio.timeout(60):
        assert (await bench.adapter.look("market", model.query, begun.task_id)).state is TaskState.SUCCEEDED
    assert await bench.adapter.credits() == 10_000_000 - 4
