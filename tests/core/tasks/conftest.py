"""A core with media tasks, in front of a provider that a test directs; the test plays the edge."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from bus.frames import answer_subject
from bus.tasks import read_task
from files.local import LocalStore
from proto.onysoft.v1 import work_pb2
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime import ids
from tests.core.conftest import DEADLINE_S, House, Received, _take
from tests.core.tasks.kie import FakeKie

MODEL = "google/imagen4"
PRICE = 1_600_000_000
"""Nano-lira: 8 credits, 0.04 USD, at rate 40 and markup 0."""


@dataclass
class Studio:
    """The house, its provider of media, and its files."""

    house: House
    kie: FakeKie
    store: LocalStore

    async def generate(self, model: str = MODEL, attempt: int = 1, request_id: bytes = b"", **fields: Any) -> Received:
        """One generate call to its answer."""
        request_id = request_id or ids.mint()
        pending = self.house.inbox.open(request_id)
        pending.begin(attempt)
        self.send(request_id, model, attempt, **fields)
        received = Received(request_id)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not received.ended and not received.code:
                    frame = await pending.next()
                    assert frame is not None
                    _take(received, frame)
        finally:
            pending.close()
        return received

    def send(self, request_id: bytes, model: str = MODEL, attempt: int = 1, **fields: Any) -> None:
        """Only ask."""
        house = self.house
        work = work_pb2.WorkRequest(
            request_id=request_id,
            attempt=attempt,
            account_id=house.account_id,
            key_id=house.key_id,
            edge=house.inbox.edge,
            model=model,
            body=orjson.dumps({"model": model, "prompt": "a red kite", **fields}),
        )
        assert house.connection.send(
            "work.00.media", work.SerializeToString(), answer_subject(house.inbox.edge, request_id)
        )

    async def record(self, request_id: bytes) -> TaskRecord:
        """What stands in the stream."""
        return (await read_task(self.house.connection, request_id)).record

    async def shown(self, request_id: bytes) -> dict[str, Any]:
        """What its customer sees."""
        shown: dict[str, Any] = orjson.loads((await self.record(request_id)).shown)
        return shown

    async def ends(self, request_id: bytes, status: str = "completed") -> dict[str, Any]:
        """Wait until it is so."""
        async with asyncio.timeout(DEADLINE_S):
            while (shown := await self.shown(request_id))["status"] != status:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return shown


@pytest.fixture
async def kie() -> AsyncIterator[FakeKie]:
    """The provider."""
    fake = FakeKie()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def media_settings() -> dict[str, Any]:
    """Settings that a test module may override."""
    return {}


@pytest.fixture
def core_settings(kie: FakeKie, tmp_path: Path, media_settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "kie_url": kie.url,
        "kie_upload_url": kie.url,
        "kie_api_key": "k",
        "callback_private_addresses": True,
        "files_dir": tmp_path / "files",
        "task_poll_s": 0.1,
        "task_poll_max_s": 0.3,
        "public_url": "https://api.example.com",
        "kie_creates_per_10s": 1000,
        **media_settings,
    }


@pytest.fixture
async def studio(house: House, kie: FakeKie, tmp_path: Path) -> Studio:
    """Everything running, 5 lira on the account."""
    return Studio(house, kie, LocalStore(tmp_path / "files"))
