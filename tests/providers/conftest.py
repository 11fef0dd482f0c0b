"""Servers for adapters: the sandbox, and one that follows a script."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from runtime.settings import Settings
from sandbox.main import Sandbox
from tests.providers.scripted import Scripted, Step

DEADLINE_S = 60.0

Script = Callable[..., Awaitable[Scripted]]


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.005)


@pytest.fixture
async def sandbox_url() -> AsyncIterator[str]:
    """A sandbox in the test's own loop."""
    sandbox = Sandbox(Settings(sandbox_port=0))
    port = await sandbox.start()
    yield f"http://127.0.0.1:{port}"
    await sandbox.stop()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """Starts servers that follow scripts."""
    servers: list[Scripted] = []

    async def start(*scripts: list[Step], tls: object = None) -> Scripted:
        server = Scripted(scripts)
        servers.append(await server.start(tls))  # type: ignore[arg-type]
        return server

    yield start
    for server in servers:
        await server.stop()
