"""Three servers, as in production: the death of the one that leads the ledger stops writes for seconds, loses none."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.errors import BusError
from bus.server_config import render
from bus.streams import LEDGER, provision
from bus.writer import LedgerWriter
from runtime.settings import Settings
from tests.bus.ledger import Follower, event
from tests.conftest import NatsServer, free_port

ELECTION_S = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, NatsServer]]:
    """Three servers by name, on one machine."""
    names = ["n1", "n2", "n3"]
    ports = {name: free_port() for name in names}
    routes = {name: free_port() for name in names}
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
    servers = {}
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        extra = f'cluster {{ name: "test", listen: "127.0.0.1:{routes[name]}", routes: [{urls}] }}\n'
        servers[name] = NatsServer(folder, render(ports[name], folder / "store", name, extra=extra), ports[name])
        servers[name].start()
    yield servers
    for server in servers.values():
        server.kill()


async def provision_when_ready(connection: Connection, settings: Settings) -> None:
    """A cluster that has just begun has no leader yet."""
    async with asyncio.timeout(ELECTION_S):
        while True:
            try:
                await provision(connection, settings)
                return
            except (BusError, TimeoutError):
                await asyncio.sleep(0.2)


async def leader(connection: Connection) -> str:
    """The server that leads the ledger."""
    async with asyncio.timeout(ELECTION_S):
        while True:
            try:
                found = (await jetstream.call(connection, f"STREAM.INFO.{LEDGER}"))["cluster"].get("leader")
            except BusError:
                found = None
            if found:
                return str(found)
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_the_ledgers_leader_is_killed(cluster: dict[str, NatsServer]) -> None:
    url = ",".join(server.url for server in cluster.values())
    settings = Settings(nats_url=url, stream_replicas=3, partitions=4)
    connections = [await Connection.open(settings, f"core-{i}") for i in range(2)]
    await provision_when_ready(connections[0], settings)
    writers = [LedgerWriter(connection, 4) for connection in connections]
    followers = [Follower(c, w) for c, w in zip(connections, writers, strict=True)]
    for follower, writer in zip(followers, writers, strict=True):
        await follower.tail.start()
        await writer.start()
    stop = asyncio.Event()

    async def append(writer: LedgerWriter, name: str) -> list[str]:
        dice = random.Random(name)
        futures = []
        while not stop.is_set():
            futures.append(writer.append(dice.randrange(4), event(f"{name}-{len(futures)}")))
            await asyncio.sleep(0.002)
        return [(await future).outcome for future in futures]

    appending = [asyncio.create_task(append(writer, f"w{i}")) for i, writer in enumerate(writers)]
    for _ in range(2):
        before = followers[0].tail.position
        await followers[0].tail.reached(before + 50)
        killed = cluster[await leader(connections[0])]
        killed.kill()
        reached = followers[0].tail.position
        await asyncio.wait_for(followers[0].tail.reached(reached + 50), ELECTION_S)
        await asyncio.to_thread(killed.start)
        await leader(connections[0])
    stop.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*appending), ELECTION_S)
    for i, each in enumerate(outcomes):
        assert each == [f"w{i}-{number}" for number in range(len(each))]
    replay = Follower(connections[0])
    await replay.tail.start()
    for follower in (*followers, replay):
        await asyncio.wait_for(follower.tail.caught_up(), ELECTION_S)
        assert sorted(follower.names) == sorted(name for each in outcomes for name in each)
        assert follower.digest == followers[0].digest
        await follower.tail.stop()
    for writer, connection in zip(writers, connections, strict=True):
        await writer.close()
        await connection.close()
