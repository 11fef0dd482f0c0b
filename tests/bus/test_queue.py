"""The work queue: a task that is lost here is a customer's video that nobody fetches, and a hold that stays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.queue import Delivery, WorkQueue
from bus.streams import TASKS, provision
from runtime.settings import Settings
from tests.bus.conftest import until
from tests.conftest import NatsServer


class Taker:
    """Takes from the queue and keeps what it was given."""

    def __init__(self, connection: Connection, capacity: int = 100) -> None:
        self.deliveries: list[Delivery] = []
        self.queue = WorkQueue(connection, TASKS, "takers", "tasks.*", capacity, self.deliveries.append)

    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.deliveries]


@pytest.fixture
async def streams(connection: Connection, settings: Settings) -> None:
    await provision(connection, settings)


@pytest.fixture
async def taker(connection: Connection, streams: None) -> AsyncIterator[Taker]:
    made = Taker(connection)
    await made.queue.start()
    yield made
    await made.queue.stop()


async def put(connection: Connection, *payloads: bytes) -> None:
    for payload in payloads:
        await jetstream.append(connection, "tasks.03", payload, connection.new_inbox())


async def left(connection: Connection) -> int:
    state: dict[str, Any] = await jetstream.stream_state(connection, TASKS)
    return int(state["messages"])


async def test_what_is_done_does_not_come_again(connection: Connection, taker: Taker) -> None:
    await put(connection, b"a", b"b")
    await until(lambda: len(taker.deliveries) == 2)
    for delivery in taker.deliveries:
        delivery.done()
        delivery.done()
    async with asyncio.timeout(5):
        while await left(connection):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert taker.queue.open == 0


async def test_what_is_put_off_comes_again_later_and_counts_its_deliveries(
    connection: Connection, taker: Taker
) -> None:
    """Polling a provider too early costs nothing but its patience; never polling costs the customer's video."""
    await put(connection, b"a")
    loop = asyncio.get_running_loop()
    await until(lambda: len(taker.deliveries) == 1)
    put_off_at = loop.time()
    taker.deliveries[0].again(0.5)
    await until(lambda: len(taker.deliveries) == 2)
    assert loop.time() - put_off_at >= 0.45
    assert taker.deliveries[1].deliveries == 2
    taker.deliveries[1].done()


async def test_no_more_is_taken_than_there_is_room_for(connection: Connection, streams: None) -> None:
    taker = Taker(connection, capacity=2)
    await taker.queue.start()
    await put(connection, *(b"%d" % number for number in range(5)))
    await until(lambda: len(taker.deliveries) == 2)
    await asyncio.sleep(0.2)
    assert len(taker.deliveries) == 2
    for number in range(5):
        await until(lambda number=number: len(taker.deliveries) > number)  # type: ignore[misc]
        taker.deliveries[number].done()
    assert sorted(taker.payloads()) == [b"0", b"1", b"2", b"3", b"4"]
    await taker.queue.stop()


async def test_two_processes_share_the_work(settings: Settings, connection: Connection, taker: Taker) -> None:
    other_connection = await Connection.open(settings, "other")
    other = Taker(other_connection)
    await other.queue.start()
    await asyncio.sleep(0.3)
    await put(connection, *(b"%d" % number for number in range(40)))
    await until(lambda: len(taker.deliveries) + len(other.deliveries) == 40)
    assert len(set(taker.payloads() + other.payloads())) == 40
    for delivery in taker.deliveries + other.deliveries:
        delivery.done()
    await other.queue.stop()
    await other_connection.close()


async def test_nothing_is_lost_when_the_server_is_killed(
    nats_server: NatsServer, connection: Connection, taker: Taker
) -> None:
    """A message that was put off must outlive the server that was to bring it again."""
    await put(connection, b"a", b"b")
    await until(lambda: len(taker.deliveries) == 2)
    taker.deliveries[0].again(1.0)
    await asyncio.sleep(0.2)
    nats_server.restart()
    await until(lambda: connection.connected)
    await put(connection, b"c")
    await until(lambda: {b"a", b"c"} <= set(taker.payloads()[2:]), 45)
    for delivery in taker.deliveries:
        delivery.done()
