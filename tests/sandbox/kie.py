"""Ways to talk to the sandbox's KieAI, and a listener for its webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.sandbox.conftest import AUTHORIZED, Client, until

FAST = {"task_ms": 0, "creates_per_window": 0}
SLOW = {"task_ms": 600_000, "creates_per_window": 0}
URL = "https://images.example.com/cat.png"


class Kie:
    """KieAI at one sandbox."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def control(self, **faults: Any) -> None:
        await self.client.control(kie=faults)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """The envelope; whatever its code, HTTP says 200."""
        status, answer = await self.client.status("POST", f"/kie{path}", json=body, headers=AUTHORIZED)
        assert status == 200, answer
        return dict(answer)

    async def market(self, model: str, **given: Any) -> str:
        """A market task's id."""
        answer = await self.post("/api/v1/jobs/createTask", {"model": model, "input": given})
        assert answer["code"] == 200, answer
        return str(answer["data"]["taskId"])

    async def create(self, path: str, **body: Any) -> str:
        """A task's id, of another family."""
        answer = await self.post(f"/api/v1{path}", body)
        assert answer["code"] == 200, answer
        return str(answer["data"]["taskId"])

    async def ask(self, path: str, task_id: str) -> dict[str, Any]:
        """The whole answer of a record endpoint."""
        return dict(await self.client.get(f"/kie/api/v1{path}", taskId=task_id))

    async def record(self, path: str, task_id: str) -> dict[str, Any]:
        """The `data` of a record endpoint."""
        answer = await self.ask(path, task_id)
        assert answer["code"] == 200, answer
        return dict(answer["data"])

    async def tasks(self) -> list[dict[str, Any]]:
        """The journal's tasks."""
        return list(await self.client.get("/journal", kind="tasks"))

    async def file(self, url: str) -> tuple[int, str, bytes]:
        """Status, content type and bytes."""
        async with self.client._session.get(url) as response:
            return response.status, response.content_type, await response.read()


class Listener:
    """Keeps the webhooks that arrive."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200
        self.url = ""

    async def _hear(self, request: web.Request) -> web.Response:
        self.heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.json()))
        return web.Response(status=self.status)

    async def wait(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.heard) >= count

        await until(enough)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener on a free port."""
    listener = Listener()
    app = web.Application()
    app.router.add_post("/cb", listener._hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    listener.url = f"http://127.0.0.1:{port}/cb"
    yield listener
    await runner.cleanup()


async def settle() -> None:
    """Let what is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)
