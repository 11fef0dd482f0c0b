"""Appending: an event is in the log once, in order, whatever happened to its acknowledgement."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus import writer as writer_module
from bus.connection import Connection
from bus.errors import Overloaded, PayloadTooLarge, WriterClosed
from bus.jetstream import stream_state
from bus.streams import LEDGER, provision, read
from bus.writer import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, LedgerWriter
from proto.onysoft.v1.ledger_pb2 import LedgerBatch
from runtime.settings import Settings
from tests.bus.conftest import Proxy, until
from tests.bus.ledger import Follower, event
from tests.conftest import NatsServer


class Ledger:
    """A writer with the tail that confirms it."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.connection = connection
        self.writer = LedgerWriter(connection, partitions)
        self.follower = Follower(connection, self.writer)

    async def start(self) -> None:
        await self.follower.tail.start()
        await self.writer.start()

    async def stop(self) -> None:
        await self.writer.close(1.0)
        await self.follower.tail.stop()


@pytest.fixture
async def ledger(connection: Connection, settings: Settings) -> AsyncIterator[Ledger]:
    ledger = Ledger(connection, await provision(connection, settings))
    await ledger.start()
    yield ledger
    await ledger.stop()


async def test_the_result_is_the_folds(ledger: Ledger) -> None:
    applied = await ledger.writer.append(3, event("a"))
    assert applied.outcome == "a"
    assert applied.position == 1
    entry = await read(ledger.connection, LEDGER, 1)
    assert entry.subject == "ledger.03"
    assert entry.time_ms == applied.time_ms


async def test_what_is_written_is_the_message_that_protobuf_would_write(ledger: Ledger) -> None:
    """The batch is put together by hand; any reader in any language has to understand it."""
    events = [event(str(i), size) for i, size in enumerate([0, 1, 127, 128, 300, 20_000, 70_000])]
    await asyncio.gather(*(ledger.writer.append(0, each) for each in events))
    expected = LedgerBatch(writer=ledger.writer.writer_id, number=1, events=events)
    assert (await read(ledger.connection, LEDGER, 1)).payload == expected.SerializeToString()


async def test_one_commit_serves_all_that_arrive_together(ledger: Ledger) -> None:
    """One fsync for each call would be the gateway's speed limit."""
    await asyncio.gather(*(ledger.writer.append(0, event(str(i))) for i in range(500)))
    assert ledger.writer.batches_sent == 1
    assert ledger.follower.names == [str(i) for i in range(500)]


async def test_a_batch_is_bounded(ledger: Ledger) -> None:
    """A message over the server's limit would cut the connection that all calls share."""
    big = [ledger.writer.append(0, event(f"big{i}", 200_000)) for i in range(6)]
    many = [ledger.writer.append(1, event(str(i))) for i in range(2 * BATCH_EVENTS_MAX + 1)]
    await asyncio.gather(*big, *many)
    last = int((await stream_state(ledger.connection, LEDGER))["last_seq"])
    batches = [LedgerBatch.FromString((await read(ledger.connection, LEDGER, i + 1)).payload) for i in range(last)]
    assert sorted(len(batch.events) for batch in batches) == [1, 2, 2, 2, BATCH_EVENTS_MAX, BATCH_EVENTS_MAX]
    assert [f"big{i}" for i in range(6)] == [name.rstrip(".") for name in ledger.follower.names if "big" in name]
    with pytest.raises(PayloadTooLarge):
        ledger.writer.append(0, event("x", BATCH_BYTES_MAX))


async def test_a_full_queue_refuses(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory must not grow while the log stands still; one partition's trouble is not another's."""
    monkeypatch.setattr(writer_module, "LANE_EVENTS_MAX", 10)
    writer = LedgerWriter(connection, await provision(connection, settings))
    futures = [writer.append(0, event(str(i))) for i in range(10)]
    with pytest.raises(Overloaded):
        writer.append(0, event("one more"))
    futures.append(writer.append(1, event("another partition")))
    await writer.close(0.0)
    for future in futures:
        with pytest.raises(WriterClosed):
            await future
    with pytest.raises(WriterClosed):
        writer.append(0, event("late"))


async def test_an_acknowledgement_is_not_an_outcome(connection: Connection, settings: Settings) -> None:
    """Only the fold admits a call; the log having the event admits nothing."""
    writer = LedgerWriter(connection, await provision(connection, settings))
    await writer.start()
    first = writer.append(0, event("first"))
    await until(lambda: writer.batches_sent == 1 and writer._lanes[0].in_flight is None)
    second = writer.append(0, event("second"))
    await until(lambda: writer.batches_sent == 2 and writer._lanes[0].in_flight is None)
    assert not first.done()
    assert not second.done()
    assert writer.pending == 2
    writer.applied(0, 1, 1, 5, ["admitted"])
    writer.applied(0, 1, 9, 9, [])  # a second copy of the batch, which the fold ignored
    assert (await first).outcome == "admitted"
    assert writer.pending == 1
    writer.applied(0, 2, 2, 6, ["refused"])
    assert (await second) == ("refused", 2, 6)
    await writer.close()


async def test_the_tail_counts_as_acknowledgement(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    """When acknowledgements are lost, the partition must go on at the speed of the tail."""
    monkeypatch.setattr(ledger.writer, "_on_ack", lambda _: None)
    ledger.writer._inbox = connection.new_inbox()  # nobody listens there
    for i in range(50):
        await asyncio.wait_for(ledger.writer.append(0, event(str(i))), 1.0)
    assert ledger.writer.batches_retried == 0


async def test_a_tick_moves_the_logs_time(ledger: Ledger) -> None:
    """Holds expire in the log's time; on a quiet gateway somebody has to move it."""
    ledger.writer.tick(2)
    ledger.writer.tick(2)
    await ledger.writer.flush()
    await until(lambda: len(ledger.follower.times) == 1)
    batch = LedgerBatch.FromString((await read(ledger.connection, LEDGER, 1)).payload)
    assert (batch.number, len(batch.events)) == (1, 0)
    assert (await ledger.writer.append(2, event("after"))).position == 2
    assert ledger.writer._lanes[2].waiting == {}


async def test_cancelling_the_wait_does_not_disturb_others(ledger: Ledger) -> None:
    """A client that leaves must not take its neighbour's verdict with it."""
    futures = [ledger.writer.append(0, event(str(i))) for i in range(3)]
    futures[1].cancel()
    assert (await futures[0]).outcome == "0"
    assert (await futures[2]).outcome == "2"


async def test_refused_by_the_stream_is_tried_again(nats_server: NatsServer, connection: Connection) -> None:
    """A ledger that comes a moment later (no leader, still starting) must not fail the calls that wait for it."""
    ledger = Ledger(connection, 16)
    await ledger.writer.start()
    future = ledger.writer.append(0, event("early"))
    await until(lambda: ledger.writer.batches_retried > 2)
    await provision(connection, Settings(nats_url=nats_server.url))
    await ledger.follower.tail.start()
    assert (await asyncio.wait_for(future, 60)).position == 1
    await ledger.stop()


async def test_a_batch_that_vanished_is_sent_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core NATS may drop it on its way without a word, and calls wait for its verdict."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    real_send = ledger.connection.send
    vanished: list[str] = []

    def send(subject: str, payload: bytes = b"", reply: str = "", header: bytes = b"") -> bool:
        if subject == "ledger.05" and len(vanished) < 2:
            vanished.append(subject)
            return True
        return real_send(subject, payload, reply, header)

    monkeypatch.setattr(ledger.connection, "send", send)
    assert (await asyncio.wait_for(ledger.writer.append(5, event("again")), 5)).outcome == "again"
    assert len(vanished) == 2


async def test_batches_under_way_are_sent_again_at_a_reconnect(
    ledger: Ledger, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a second later: every call of the process waits for them."""
    monkeypatch.setattr(writer_module, "RETRY_S", 60.0)
    monkeypatch.setattr(writer_module, "RETRY_MAX_S", 60.0)
    nats_server.kill()
    await until(lambda: not ledger.connection.connected)
    futures = [ledger.writer.append(i, event(str(i))) for i in range(16)]
    await until(lambda: ledger.writer.batches_sent == 16)
    nats_server.start()
    await asyncio.wait_for(asyncio.gather(*futures), 15)


async def test_flush_returns_when_all_is_applied(ledger: Ledger) -> None:
    futures = [ledger.writer.append(i % 16, event(str(i))) for i in range(300)]
    await ledger.writer.flush()
    assert all(future.done() for future in futures)
    await ledger.writer.flush()


async def test_a_lost_acknowledgement_stores_nothing_twice(
    nats_server: NatsServer, proxy: Proxy, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A top-up sent again must not count again."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    connection = await Connection.open(Settings(nats_url=proxy.url), "test")
    ledger = Ledger(connection, await provision(connection, settings))
    await ledger.start()
    futures = []
    for i in range(400):
        futures.append(ledger.writer.append(i % 4, event(str(i))))
        if i % 20 == 7:
            await asyncio.sleep(0.002)
            proxy.cut()
    results = await asyncio.wait_for(asyncio.gather(*futures), 30)
    assert [result.outcome for result in results] == [str(i) for i in range(400)]
    assert sorted(ledger.follower.names, key=int) == [str(i) for i in range(400)]
    await ledger.stop()
    await connection.close()
