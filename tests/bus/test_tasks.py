"""Records of tasks: two writers, and a mirror that answers polls without asking."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.connection import Connection
from bus.streams import provision
from bus.tasks import Conflict, TaskMirror, read_task, scan, write_task
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime import ids
from runtime.settings import Settings
from tests.bus.conftest import until
from tests.conftest import NatsServer


def record(request_id: bytes, **fields: object) -> TaskRecord:
    return TaskRecord(request_id=request_id, model="m", status=pb.PENDING, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def mirror(connection: Connection, settings: Settings) -> AsyncIterator[TaskMirror]:
    await provision(connection, settings)
    made = TaskMirror(connection, most=3)
    following = asyncio.create_task(made.follow())
    await until(lambda: made._tail is not None)
    yield made
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await made.stop()


async def test_of_two_writers_one_finds_out(connection: Connection, mirror: TaskMirror) -> None:
    """Else a task that has ended could be shown as running again, or be created twice."""
    request_id = ids.mint()
    position = await write_task(connection, record(request_id), 0)
    with pytest.raises(Conflict):
        await write_task(connection, record(request_id, progress=5), 0)
    newer = await write_task(connection, record(request_id, progress=5), position)
    with pytest.raises(Conflict):
        await write_task(connection, record(request_id, progress=6), position)
    assert (await read_task(connection, request_id)).position == newer
    assert await write_task(connection, record(request_id, progress=5), position) == newer, "its own retry"


async def test_polls_are_answered_from_memory(connection: Connection, mirror: TaskMirror) -> None:
    """A thousand clients polling must not become a thousand questions."""
    request_id = ids.mint()
    position = await write_task(connection, record(request_id), 0)
    await until(lambda: len(mirror) == 1)
    for _ in range(100):
        found = await mirror.find(request_id)
        assert found is not None
    await write_task(connection, record(request_id, progress=50), position)
    async with asyncio.timeout(5):
        while (found := await mirror.find(request_id)) and found.record.progress != 50:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert mirror.reads == 0


async def test_what_is_not_in_memory_is_read_once(connection: Connection, mirror: TaskMirror) -> None:
    """An edge that was just started knows tasks of before all the same; memory stays bounded."""
    tasks = [ids.mint() for _ in range(6)]
    for request_id in tasks:
        await write_task(connection, record(request_id), 0)
    await until(lambda: len(mirror) == 3 and tasks[5] in mirror._tasks)
    for _ in range(3):
        assert await mirror.find(tasks[0]) is not None
    assert mirror.reads == 1
    assert await mirror.find(ids.mint()) is None
    assert [each.request_id for each in await scan(connection)] == tasks


async def test_the_mirror_outlives_the_server(
    nats_server: NatsServer, connection: Connection, mirror: TaskMirror
) -> None:
    request_id = ids.mint()
    position = await write_task(connection, record(request_id), 0)
    nats_server.restart()
    await until(lambda: connection.connected)
    await write_task(connection, record(request_id, progress=70), position)
    async with asyncio.timeout(60):
        while (found := await mirror.find(request_id)) is None or found.record.progress != 70:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
