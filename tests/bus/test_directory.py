"""The directory: an edge must know every key, and believe the newest that is said about one."""

import asyncio
import os

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_key, publish_label, publish_model
from bus.streams import DIRECTORY, provision
from proto.onysoft.v1.directory_pb2 import KeyRecord, LabelRecord, ModelRecord
from runtime.settings import Settings
from tests.bus.conftest import until
from tests.conftest import NatsServer


def record(position: int, revoked: bool = False) -> KeyRecord:
    return KeyRecord(
        key_id=b"k" * 12, account_id=os.urandom(12), partition=position % 16, revoked=revoked, position=position
    )


@pytest.fixture
async def directory(connection: Connection, settings: Settings) -> Connection:
    """A connection with an empty directory."""
    await provision(connection, settings)
    return connection


async def mirrored(connection: Connection) -> DirectoryMirror:
    """A mirror that has loaded."""
    mirror = DirectoryMirror(connection)
    await mirror.start()
    await asyncio.wait_for(mirror.loaded(), 60)
    return mirror


async def test_a_mirror_has_all_of_it(directory: Connection) -> None:
    hashes = [os.urandom(32) for _ in range(20)]
    records = [record(i + 1) for i in range(20)]
    early = DirectoryMirror(directory)
    await early.start()
    assert not early.is_loaded
    await asyncio.gather(*(publish_key(directory, h, r) for h, r in zip(hashes, records, strict=True)))
    await publish_model(directory, ModelRecord(id="google/gemini-2.5-flash:free", name="Gemini", active=True))
    await publish_label(directory, b"a" * 12, LabelRecord(label="Şirket"))
    await early.loaded()
    late = await mirrored(directory)
    for mirror in (early, late):
        assert mirror.is_loaded
        assert {h: (k.account_id, k.partition) for h, k in mirror.keys.items()} == {
            h: (r.account_id, r.partition) for h, r in zip(hashes, records, strict=True)
        }
        assert mirror.models["google/gemini-2.5-flash:free"].name == "Gemini"
        assert mirror.labels == {b"a" * 12: "Şirket"}
        await mirror.stop()


async def test_a_revocation_is_seen_by_those_who_listen(directory: Connection) -> None:
    key_hash = os.urandom(32)
    await publish_key(directory, key_hash, record(1))
    mirror = await mirrored(directory)
    assert not mirror.keys[key_hash].revoked
    await publish_key(directory, key_hash, record(2, revoked=True))
    await until(lambda: mirror.keys[key_hash].revoked)
    await mirror.stop()


async def test_what_is_older_replaces_nothing(directory: Connection) -> None:
    """A projection that lags behind must not bring a revoked key back to life."""
    key_hash = os.urandom(32)
    mirror = await mirrored(directory)
    await publish_key(directory, key_hash, record(9, revoked=True))
    await publish_key(directory, key_hash, record(3))
    await jetstream.append(directory, f"directory.key.{key_hash.hex()}", record(4).SerializeToString(), "behind")
    await mirror.loaded()
    assert mirror.keys[key_hash].position == 9
    await mirror.stop()


async def test_the_stream_itself_keeps_the_newest(directory: Connection) -> None:
    """An edge that starts later sees only what the stream has kept."""
    key_hash = os.urandom(32)
    orders = [5, 1, 9, 3, 7, 2, 8]
    await asyncio.gather(*(publish_key(directory, key_hash, record(i, revoked=i == 9)) for i in orders))
    entry = await jetstream.read_last(directory, DIRECTORY, f"directory.key.{key_hash.hex()}")
    assert KeyRecord.FromString(entry.payload).position == 9
    fresh = await mirrored(directory)
    assert fresh.keys[key_hash].revoked
    await fresh.stop()


async def test_a_label_can_be_erased(directory: Connection) -> None:
    """It may name a person."""
    await publish_label(directory, b"a" * 12, LabelRecord(label="Ada"))
    await publish_label(directory, b"a" * 12, LabelRecord(label=""))
    mirror = await mirrored(directory)
    assert mirror.labels == {}
    state = await jetstream.stream_state(directory, DIRECTORY)
    assert state["messages"] == 1
    await mirror.stop()


async def test_a_mirror_outlives_the_server(directory: Connection, nats_server: NatsServer) -> None:
    mirror = await mirrored(directory)
    for restarts in range(1, 4):
        nats_server.restart()
        await until(lambda count=restarts: directory.reconnects == count)
        key_hash = os.urandom(32)
        await publish_key(directory, key_hash, record(restarts))
        await until(lambda wanted=key_hash: wanted in mirror.keys)
    assert len(mirror.keys) == 3
    await mirror.stop()
