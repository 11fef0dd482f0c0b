"""The server is killed and started again under writers and tails: nothing acknowledged by the fold may be missing,
nothing may count twice, and all who read the log must agree on its bytes."""

import asyncio
import random

import pytest

from bus import writer as writer_module
from bus.connection import Connection
from bus.jetstream import stream_state
from bus.streams import LEDGER, provision
from bus.writer import LedgerWriter
from runtime.settings import Settings
from tests.bus.conftest import Proxy
from tests.bus.ledger import Follower, event
from tests.conftest import NatsServer

PARTITIONS = 4


async def append_randomly(writer: LedgerWriter, name: str, dice: random.Random, stop: asyncio.Event) -> list[str]:
    """Append bursts until `stop`; the outcomes, in the order of the appends."""
    futures = []
    while not stop.is_set():
        for _ in range(dice.randint(1, 40)):
            partition = dice.randrange(PARTITIONS)
            futures.append(writer.append(partition, event(f"{name}-{partition}-{len(futures)}", dice.randint(0, 200))))
        await asyncio.sleep(dice.random() * 0.01)
        if writer.pending > 2_000:
            await asyncio.wait(futures[-1:], timeout=0.2)
    return [(await future).outcome for future in futures]


def in_order(names: list[str], writer: str, partition: int) -> list[int]:
    """Numbers of a writer's events in a partition, in the log's order."""
    words = [name.rstrip(".").split("-") for name in names if name.startswith(f"{writer}-{partition}-")]
    return [int(number) for _, _, number in words]


async def check(followers: list[Follower], outcomes: list[list[str]]) -> None:
    """Every append has its own outcome, every event is applied once, order holds, and all followers agree."""
    for follower in followers:
        await asyncio.wait_for(follower.tail.caught_up(), 60)
        assert follower.names == followers[0].names
        assert follower.digest == followers[0].digest
        assert follower.times == sorted(follower.times)
    names = followers[0].names
    assert len(names) == len(set(names))
    assert set(names) == {name for each in outcomes for name in each}
    for writer in {name.partition("-")[0] for name in names}:
        for partition in range(PARTITIONS):
            numbers = in_order(names, writer, partition)
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_server_is_killed_again_and_again(nats_server: NatsServer, settings: Settings, seed: int) -> None:
    dice = random.Random(seed)
    connections = [await Connection.open(settings, f"core-{i}") for i in range(3)]
    await provision(connections[0], settings.model_copy(update={"partitions": PARTITIONS}))
    writers = [LedgerWriter(connection, PARTITIONS) for connection in connections[:2]]
    followers = [Follower(connections[i], writers[i] if i < 2 else None) for i in range(3)]
    for follower in followers:
        await follower.tail.start()
    for writer in writers:
        await writer.start()
    stop = asyncio.Event()
    appending = [
        asyncio.create_task(append_randomly(writer, f"w{i}", random.Random(seed * 10 + i), stop))
        for i, writer in enumerate(writers)
    ]
    for _ in range(4):
        await asyncio.sleep(dice.uniform(0.1, 0.5))
        nats_server.kill()
        await asyncio.sleep(dice.uniform(0.0, 0.3))
        await asyncio.to_thread(nats_server.start)
    stop.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*appending), 60)
    for i, each in enumerate(outcomes):
        assert [int(name.rstrip(".").rsplit("-", 1)[1]) for name in each] == list(range(len(each))), f"writer {i}"
    replay = Follower(connections[2])
    await replay.tail.start()
    await check([*followers, replay], outcomes)
    assert sum(len(each) for each in outcomes) > 500
    for follower in [*followers, replay]:
        await follower.tail.stop()
    for writer in writers:
        await writer.close()
    for connection in connections:
        await connection.close()


async def test_the_network_is_cut_again_and_again(
    nats_server: NatsServer, proxy: Proxy, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.1)
    through = Settings(nats_url=proxy.url)
    connections = [await Connection.open(through, "a"), await Connection.open(through, "b")]
    direct = await Connection.open(settings, "c")
    await provision(direct, settings.model_copy(update={"partitions": PARTITIONS}))
    writers = [LedgerWriter(connection, PARTITIONS) for connection in connections]
    followers = [Follower(connections[0], writers[0]), Follower(connections[1], writers[1]), Follower(direct)]
    for follower in followers:
        await follower.tail.start()
    for writer in writers:
        await writer.start()
    stop = asyncio.Event()
    appending = [
        asyncio.create_task(append_randomly(writer, f"w{i}", random.Random(i), stop))
        for i, writer in enumerate(writers)
    ]
    dice = random.Random(5)
    for _ in range(15):
        await asyncio.sleep(dice.uniform(0.02, 0.2))
        proxy.cut()
    stop.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*appending), 60)
    await check(followers, outcomes)
    assert sum(writer.batches_retried for writer in writers) > 0
    for follower in followers:
        await follower.tail.stop()
    for writer in writers:
        await writer.close()
    for connection in [*connections, direct]:
        await connection.close()


async def test_a_writer_that_dies_leaves_whole_batches(settings: Settings, nats_server: NatsServer) -> None:
    """What a killed core had under way is in the log once or not at all; its number is never used by another."""
    connections = [await Connection.open(settings, "dying"), await Connection.open(settings, "living")]
    await provision(connections[0], settings)
    dying = LedgerWriter(connections[0], 16)
    for i in range(3_000):
        dying.append(0, event(str(i)))
    await asyncio.sleep(0)
    connections[0]._wire.close()  # as the kernel does for a killed process
    follower = Follower(connections[1])
    await follower.tail.start()
    await follower.tail.caught_up()
    state = await stream_state(connections[1], LEDGER)
    assert follower.names == [str(i) for i in range(len(follower.names))]
    assert len(follower.names) in (0, 1_000, 2_000, 3_000)
    assert follower.tail.position == state["last_seq"]
    await dying.close(0.0)
    await follower.tail.stop()
    for connection in connections:
        await connection.close()
