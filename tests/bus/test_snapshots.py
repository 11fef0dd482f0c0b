"""Snapshots: a start from one must be the same as a replay, or not happen."""

import asyncio
import os

import orjson
import pytest

from bus import jetstream, snapshots
from bus.connection import Connection
from bus.errors import BusError
from bus.streams import SNAPSHOTS, provision
from proto.onysoft.v1.snapshot_pb2 import AccountState, Snapshot
from runtime.settings import Settings
from tests.conftest import NatsServer


def snapshot(position: int, accounts: int = 3) -> Snapshot:
    """A snapshot that cannot be mistaken for another."""
    states = [AccountState(account_id=os.urandom(12), references=[os.urandom(500).hex()]) for _ in range(accounts)]
    return Snapshot(position=position, chain_hash=os.urandom(32), accounts=states)


@pytest.fixture
async def store(connection: Connection, settings: Settings) -> Connection:
    """A connection with an empty SNAPSHOTS."""
    await provision(connection, settings)
    return connection


async def stored_chunks(connection: Connection) -> int:
    """Chunks in the stream; manifests are counted out."""
    subjects = (await jetstream.call(connection, f"STREAM.INFO.{SNAPSHOTS}", {"subjects_filter": "snapshot.chunk.>"}))[
        "state"
    ].get("subjects")
    return len(subjects or {})


async def test_nothing_is_stored_yet(store: Connection) -> None:
    assert await snapshots.load(store) is None


async def test_the_newest_is_loaded_whole(store: Connection) -> None:
    saved = [snapshot(10), snapshot(20, accounts=5_000)]
    for each in saved:
        await snapshots.save(store, each)
    assert saved[1].ByteSize() > 8 * snapshots.CHUNK_BYTES
    assert await snapshots.load(store) == saved[1]


async def test_an_older_one_does_not_replace_a_newer(store: Connection) -> None:
    """Two projections save; the one that lags behind must not make every start longer."""
    newer = snapshot(20)
    await snapshots.save(store, newer)
    await snapshots.save(store, snapshot(10))
    assert await snapshots.load(store) == newer


async def test_two_are_kept(store: Connection) -> None:
    """The stream must not grow with every snapshot."""
    for position in range(1, 8):
        await snapshots.save(store, snapshot(position, accounts=1_500))
    per_snapshot = -(-snapshot(1, accounts=1_500).ByteSize() // snapshots.CHUNK_BYTES)
    assert per_snapshot >= 2
    assert await stored_chunks(store) == 2 * per_snapshot


async def test_a_broken_one_gives_way_to_the_one_before(store: Connection) -> None:
    saved = [snapshot(10), snapshot(20)]
    for each in saved:
        await snapshots.save(store, each)
    manifest = await snapshots._newest(store)
    assert manifest is not None
    await jetstream.call(store, f"STREAM.MSG.DELETE.{SNAPSHOTS}", {"seq": manifest["chunks"][0]})
    assert await snapshots.load(store) == saved[0]


async def test_other_bytes_than_were_saved_are_not_loaded(store: Connection) -> None:
    """A state that nobody computed would be everyone's balance."""
    await snapshots.save(store, snapshot(10))
    forged = {"position": 20, "size_bytes": 6, "sha256": "0" * 64, "previous": None}
    forged["chunks"] = [await jetstream.append(store, "snapshot.chunk.20.x.0", b"forged", "f")]  # type: ignore[list-item]
    await jetstream.append(store, snapshots.MANIFEST, orjson.dumps(forged), "m")
    assert await snapshots.load(store) is None


async def test_a_save_that_is_killed_leaves_what_was_there(store: Connection, nats_server: NatsServer) -> None:
    first = snapshot(10)
    await snapshots.save(store, first)
    saving = asyncio.create_task(snapshots.save(store, snapshot(20, accounts=20_000)))
    while await stored_chunks(store) < 5:
        assert not saving.done()
    saving.cancel()
    nats_server.restart()
    with pytest.raises((asyncio.CancelledError, BusError)):
        await saving
    async with asyncio.timeout(60):
        while True:
            try:
                assert await snapshots.load(store) == first
                return
            except BusError:
                await asyncio.sleep(0.05)
