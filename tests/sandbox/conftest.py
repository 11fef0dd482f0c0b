"""A sandbox of the test's own on a free port, and ways to talk to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from runtime.settings import Settings
from sandbox.main import Sandbox

DEADLINE_S = 60.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, at most DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not await holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class Client:
    """Plain HTTP to one sandbox."""

    def __init__(self, port: int, session: aiohttp.ClientSession, server: Sandbox | None = None) -> None:
        self.port = port
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    async def get(self, path: str, **query: Any) -> Any:
        async with self._session.get(self.url + path, params=query, headers=AUTHORIZED) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def status(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self._session.request(method, self.url + path, **options) as response:
            return response.status, await response.json()

    async def control(self, **wanted: Any) -> Any:
        async with self._session.put(self.url + "/control", json=wanted) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def journal(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = await self.get("/journal")
        return listed

    def chat(self, model: str = "openai/gpt-4o-mini", text: str = "Merhaba", face: str = "/api/v1", **body: Any) -> Any:
        """A call whose response is a context manager."""
        wanted = {"model": model, "messages": [{"role": "user", "content": text}], **body}
        return self._session.post(f"{self.url}{face}/chat/completions", json=wanted, headers=AUTHORIZED)

    async def answer(self, *words: Any, **body: Any) -> Any:
        async with self.chat(*words, **body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def lines(self, *words: Any, **body: Any) -> list[str]:
        """The lines of a streamed answer that are not empty."""
        async with self.chat(*words, stream=True, **body) as response:
            assert response.status == 200, await response.text()
            return [line for line in (await response.text()).split("\n") if line]

    def openai(self, face: str = "/api/v1", key: str = "sk-sandbox") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url + face, api_key=key, max_retries=0)


AUTHORIZED = {"Authorization": "Bearer sk-sandbox"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Client]:
    """A fresh sandbox whose journal is in memory."""
    server = Sandbox(Settings(sandbox_port=0))
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        yield Client(port, session, server)
    await server.stop()


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"
