"""The streams: a ledger that could lose an event must not be written to."""

import asyncio

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, NoSuchPosition, UnsafeStream
from bus.streams import DIRECTORY, LEDGER, SNAPSHOTS, USAGE, last_position, partition_of, provision, read
from runtime.settings import Settings
from tests.conftest import NatsServer

SAFE = {
    "name": "LEDGER",
    "subjects": ["ledger.*"],
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "deny_delete": True,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msg_size": -1,
    "max_msgs_per_subject": -1,
    "duplicate_window": 120_000_000_000,
    "metadata": {"onysoft.partitions": "16"},
}


async def test_streams_are_made_once(connection: Connection, settings: Settings) -> None:
    assert await provision(connection, settings) == 16
    assert await provision(connection, settings) == 16
    for stream in (LEDGER, USAGE, DIRECTORY, SNAPSHOTS):
        assert await last_position(connection, stream) == 0


async def test_processes_may_start_at_the_same_time(connection: Connection, nats_server: NatsServer) -> None:
    """Two cores with different settings must agree on the partitions, or an account would have two."""
    wishes = [Settings(nats_url=nats_server.url, partitions=count) for count in (4, 8, 16, 32)] * 3
    answers = await asyncio.gather(*(provision(connection, wish) for wish in wishes))
    assert len(set(answers)) == 1
    assert answers[0] in (4, 8, 16, 32)


async def test_the_number_of_partitions_never_changes(connection: Connection, nats_server: NatsServer) -> None:
    """Otherwise an account's events would move to another partition and lose their order."""
    assert await provision(connection, Settings(nats_url=nats_server.url, partitions=4)) == 4
    assert await provision(connection, Settings(nats_url=nats_server.url, partitions=64)) == 4


async def test_a_safe_ledger_of_others_making_is_taken(connection: Connection, settings: Settings) -> None:
    await jetstream.call(connection, "STREAM.CREATE.LEDGER", SAFE)
    assert await provision(connection, settings) == 16


@pytest.mark.parametrize(
    ("weakness", "names"),
    [
        ({"storage": "memory"}, "storage"),
        ({"retention": "interest"}, "retention"),
        ({"deny_delete": False}, "deny_delete"),
        ({"max_msgs": 1_000}, "max_msgs"),
        ({"max_bytes": 1_000_000}, "max_bytes"),
        ({"max_age": 3_600_000_000_000}, "max_age"),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject"),
        ({"discard": "old"}, "discard"),
        ({"subjects": ["ledger.0*", "ledger.1*"]}, "subjects"),
        ({"duplicate_window": 1_000_000_000}, "duplicate_window"),
        ({"persist_mode": "async"}, "persist_mode"),
        ({"metadata": {}}, "onysoft.partitions"),
        ({"metadata": {"onysoft.partitions": "0"}}, "onysoft.partitions"),
        ({"no_ack": True}, "acknowledge"),
        ({"allow_msg_ttl": True}, "expire"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_unsafe_ledger_is_refused_by_name(
    connection: Connection, settings: Settings, weakness: dict[str, object], names: str
) -> None:
    """Money written there could be dropped by the server without an error."""
    await jetstream.call(connection, "STREAM.CREATE.LEDGER", {**SAFE, **weakness})
    with pytest.raises(UnsafeStream, match=names):
        await provision(connection, settings)


async def test_a_ledger_event_cannot_be_deleted(connection: Connection, settings: Settings) -> None:
    await provision(connection, settings)
    position = await jetstream.append(connection, "ledger.00", b"fact", "1")
    with pytest.raises(ApiRefused):
        await jetstream.call(connection, "STREAM.MSG.DELETE.LEDGER", {"seq": position})
    entry = await read(connection, LEDGER, position)
    assert (entry.position, entry.subject, entry.payload) == (position, "ledger.00", b"fact")
    with pytest.raises(NoSuchPosition):
        await read(connection, LEDGER, position + 1)


async def test_a_retried_append_is_stored_once(connection: Connection, settings: Settings) -> None:
    await provision(connection, settings)
    assert [await jetstream.append(connection, "ledger.00", b"fact", "same") for _ in range(3)] == [1, 1, 1]
    assert await last_position(connection, LEDGER) == 1


def test_partitions_are_those_of_the_log_already_written() -> None:
    """crc32c, not Python's hash: every process and every release must compute the same."""
    assert partition_of(b"123456789", 1 << 32) == 0xE3069283
    assert [partition_of(bytes([i]) * 12, 16) for i in range(4)] == [13, 9, 4, 0]


def test_time_of_an_entry() -> None:
    assert jetstream.unix_ms("2026-01-02T03:04:05.678901234Z") == 1767323045678
    assert jetstream.unix_ms("2026-01-02T03:04:05.6Z") == 1767323045600
    assert jetstream.unix_ms("2026-01-02T03:04:05Z") == 1767323045000
