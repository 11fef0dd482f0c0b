"""Reading the log: a reader that misses one event computes another balance than everyone else."""

import asyncio
import random

import pytest

from bus import connection as connection_module
from bus import jetstream
from bus import tail as tail_module
from bus.connection import Connection
from bus.errors import HistoryLost, TailStopped
from bus.jetstream import Entry
from bus.streams import DIRECTORY, LEDGER, provision
from bus.tail import Tail
from runtime.settings import Settings
from tests.bus.conftest import Proxy, until
from tests.conftest import NatsServer


async def fill(connection: Connection, count: int, subject: str = "ledger.00", size_bytes: int = 0) -> None:
    """Append numbered messages."""
    before = int((await jetstream.stream_state(connection, LEDGER))["last_seq"])
    numbers = range(before + 1, before + 1 + count)
    for start in range(0, count, 500):
        part = numbers[start : start + 500]
        await asyncio.gather(
            *(jetstream.append(connection, subject, b"%d" % i + b"." * size_bytes, f"{subject}{i}") for i in part)
        )


@pytest.fixture
async def ledger(connection: Connection, settings: Settings) -> Connection:
    """A connection with an empty ledger."""
    await provision(connection, settings)
    return connection


async def test_everything_from_a_position_on_in_order(ledger: Connection) -> None:
    entries: list[Entry] = []
    await fill(ledger, 100)
    tail = Tail(ledger, LEDGER, 40, entries.append)
    await tail.start()
    await tail.caught_up()
    assert [entry.position for entry in entries] == list(range(41, 101))
    await fill(ledger, 10, "ledger.15")
    await tail.caught_up()
    assert [entry.position for entry in entries] == list(range(41, 111))
    assert entries[-1].subject == "ledger.15"
    stored = await jetstream.read(ledger, LEDGER, 105)
    assert entries[105 - 41] == stored
    await tail.stop()
    await fill(ledger, 1)
    await ledger.settle(5.0)
    assert len(entries) == 70


async def test_an_empty_stream_is_caught_up(ledger: Connection) -> None:
    tail = Tail(ledger, LEDGER, 0, lambda _: None)
    await tail.start()
    await asyncio.wait_for(tail.caught_up(), 2)
    await tail.stop()
    with pytest.raises(TailStopped):
        await tail.reached(1)


@pytest.mark.parametrize("turns", range(6))
async def test_it_can_be_stopped_at_any_moment(ledger: Connection, turns: int) -> None:
    """A process that hangs at its end is killed, and its calls with it."""
    tail = Tail(ledger, LEDGER, 0, lambda _: None)
    await tail.start()
    await tail.caught_up()
    tail._doubt.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(tail.stop())
    assert await asyncio.wait({stopping}, timeout=5) == ({stopping}, set())


async def test_an_entry_that_cannot_be_applied_stops_the_tail(ledger: Connection) -> None:
    """Going on after an event that was not understood would be a silent difference in somebody's balance."""
    seen: list[int] = []

    def fold(entry: Entry) -> None:
        if entry.position == 5:
            raise ValueError("not understood")
        seen.append(entry.position)

    await fill(ledger, 10)
    tail = Tail(ledger, LEDGER, 0, fold)

    async def read_on() -> None:
        await tail.start()
        await tail.caught_up()

    with pytest.raises(ValueError, match="not understood"):
        await read_on()
    with pytest.raises(ValueError, match="not understood"):
        await tail.failure
    assert seen == [1, 2, 3, 4]
    assert tail.position == 4
    await tail.stop()


async def test_history_that_was_trimmed_is_not_skipped(ledger: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "HISTORY_DOUBT_S", 0.1)
    await fill(ledger, 10)
    await jetstream.call(ledger, "STREAM.PURGE.LEDGER", {"seq": 6})
    entries: list[Entry] = []
    tail = Tail(ledger, LEDGER, 0, entries.append)
    with pytest.raises(HistoryLost):
        await tail.start()
    await tail.stop()
    later = Tail(ledger, LEDGER, 5, entries.append)
    await later.start()
    await later.caught_up()
    assert [entry.position for entry in entries] == [6, 7, 8, 9, 10]
    await later.stop()


async def test_a_hole_in_the_middle_is_not_skipped(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that has lost a message to a broken disk must stop its readers, not shorten their sums."""
    monkeypatch.setattr(tail_module, "HISTORY_DOUBT_S", 0.1)
    config = {"name": "LEDGER", "subjects": ["ledger.*"], "storage": "file"}
    await jetstream.call(connection, "STREAM.CREATE.LEDGER", config)
    await fill(connection, 10)
    await jetstream.call(connection, "STREAM.MSG.DELETE.LEDGER", {"seq": 7})
    entries: list[Entry] = []
    tail = Tail(connection, LEDGER, 0, entries.append)
    await tail.start()
    with pytest.raises(HistoryLost):
        await asyncio.wait_for(tail.caught_up(), 60)
    assert [entry.position for entry in entries] == [1, 2, 3, 4, 5, 6]
    await tail.stop()


async def test_a_log_that_is_shorter_than_what_was_read_stops_the_tail(
    ledger: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger restored from an old copy must not go on as if nothing had happened."""
    monkeypatch.setattr(tail_module, "HISTORY_DOUBT_S", 0.1)
    await fill(ledger, 3)
    tail = Tail(ledger, LEDGER, 50, lambda _: None)
    with pytest.raises(HistoryLost):
        await tail.start()
    await tail.stop()


async def test_messages_that_never_came_are_read_again(ledger: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever drops a message on its way, the reader must notice and ask again."""
    entries: list[Entry] = []
    dice = random.Random(7)
    original = Tail._on_raw

    def lossy(self: Tail, message: object) -> None:
        if dice.random() > 0.02:
            original(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Tail, "_on_raw", lossy)
    tail = Tail(ledger, LEDGER, 0, entries.append)
    await tail.start()
    await fill(ledger, 1_000)
    await asyncio.wait_for(tail.caught_up(), 30)
    assert [entry.position for entry in entries] == list(range(1, 1_001))
    assert tail.restarts > 0
    await tail.stop()


async def test_a_lost_last_message_is_noticed_by_the_heartbeat(
    ledger: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing follows it that would show the gap, and a caller waits for its verdict."""
    entries: list[Entry] = []
    original = Tail._on_raw
    lost: list[int] = []

    def lossy(self: Tail, message: object) -> None:
        if getattr(message, "data", b"") == b"3" and not lost:
            lost.append(3)
            return
        original(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Tail, "_on_raw", lossy)
    tail = Tail(ledger, LEDGER, 0, entries.append)
    await tail.start()
    await fill(ledger, 3)
    await asyncio.wait_for(tail.caught_up(), 5)
    assert (lost, len(entries)) == ([3], 3)
    await tail.stop()


async def test_a_deleted_consumer_is_made_again(ledger: Connection) -> None:
    entries: list[Entry] = []
    tail = Tail(ledger, LEDGER, 0, entries.append)
    await tail.start()
    for expected in range(1, 4):
        await jetstream.call(ledger, f"CONSUMER.DELETE.LEDGER.{tail._consumer}")
        await fill(ledger, 1)
        await until(lambda count=expected: len(entries) == count)
    await tail.stop()


async def test_a_slow_reader_gets_everything(
    settings: Settings, ledger: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through nats-py's queue with room for 50 messages: it drops, the tail reads again."""
    monkeypatch.setattr(connection_module, "PENDING_MESSAGES_MAX", 50)
    slow = await Connection.open(settings, "slow", direct=False)
    entries: list[Entry] = []
    await fill(ledger, 500)
    tail = Tail(slow, LEDGER, 0, entries.append)
    await tail.start()
    await asyncio.wait_for(tail.caught_up(), 30)
    assert [entry.position for entry in entries] == list(range(1, 501))
    assert tail.restarts > 0
    await tail.stop()
    await slow.close()


async def test_kill_and_restart_of_the_server(
    ledger: Connection, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on at the reconnect, not when the silence has become suspicious: calls wait for verdicts."""
    monkeypatch.setattr(tail_module, "SILENCE_S", 60.0)
    entries: list[Entry] = []
    tail = Tail(ledger, LEDGER, 0, entries.append)
    await tail.start()
    total = 0
    for restarts in range(1, 5):
        await fill(ledger, 50)
        total += 50
        nats_server.restart()
        await until(lambda count=restarts: ledger.reconnects == count)
        await fill(ledger, 50)
        total += 50
        await asyncio.wait_for(tail.caught_up(), 60)
        assert [entry.position for entry in entries] == list(range(1, total + 1))
    await tail.stop()


async def test_a_cut_connection(ledger: Connection, proxy: Proxy) -> None:
    through = await Connection.open(Settings(nats_url=proxy.url), "test")
    entries: list[Entry] = []
    tail = Tail(through, LEDGER, 0, entries.append)
    await tail.start()
    filling = asyncio.create_task(fill(ledger, 3_000, size_bytes=200))
    for _ in range(10):
        await asyncio.sleep(0.03)
        proxy.cut()
    await filling
    await asyncio.wait_for(tail.caught_up(), 60)
    assert [entry.position for entry in entries] == list(range(1, 3_001))
    await tail.stop()
    await through.close()


async def test_a_server_that_stands_still(ledger: Connection, nats_server: NatsServer) -> None:
    """A pause (a full disk, a frozen machine) must not leave the reader waiting for ever."""
    entries: list[Entry] = []
    tail = Tail(ledger, LEDGER, 0, entries.append)
    await tail.start()
    nats_server.suspend()
    await asyncio.sleep(1.5)
    nats_server.resume()
    await fill(ledger, 5)
    await asyncio.wait_for(tail.caught_up(), 60)
    assert len(entries) == 5
    await tail.stop()


async def test_a_compacted_stream_may_have_holes(ledger: Connection, nats_server: NatsServer) -> None:
    """The directory keeps the newest record of each key only; its mirror must still be whole."""
    seen: dict[str, bytes] = {}

    def keep(entry: Entry) -> None:
        seen[entry.subject] = entry.payload

    tail = Tail(ledger, DIRECTORY, 0, keep, compacted=True)
    await tail.start()
    for i in range(300):
        await jetstream.append(ledger, f"directory.key.{i % 17}", b"%d" % i, f"k{i}")
        if i == 150:
            nats_server.restart()
            await until(lambda: ledger.reconnects == 1)
    await asyncio.wait_for(tail.caught_up(), 60)
    fresh_seen: dict[str, bytes] = {}
    fresh = Tail(ledger, DIRECTORY, 0, lambda e: fresh_seen.update({e.subject: e.payload}), compacted=True)
    await fresh.start()
    await asyncio.wait_for(fresh.caught_up(), 60)
    assert seen == fresh_seen == {f"directory.key.{i % 17}": b"%d" % i for i in range(283, 300)}
    await tail.stop()
    await fresh.stop()


async def test_a_compacted_stream_is_read_again_when_a_message_never_came(
    ledger: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge that has missed a revocation would go on letting the key in."""
    lost: list[bytes] = []
    original = Tail._on_raw

    def lossy(self: Tail, message: object) -> None:
        data = getattr(message, "data", b"")
        if data in (b"3", b"7") and data not in lost:
            lost.append(data)
            return
        original(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Tail, "_on_raw", lossy)
    payloads: list[bytes] = []
    tail = Tail(ledger, DIRECTORY, 0, lambda e: payloads.append(e.payload), compacted=True)
    await tail.start()
    for i in range(10):
        await jetstream.append(ledger, f"directory.key.{i}", b"%d" % i, f"k{i}")
    await asyncio.wait_for(tail.caught_up(), 60)
    assert (lost, payloads) == ([b"3", b"7"], [b"%d" % i for i in range(10)])
    await tail.stop()


async def test_a_long_replay_does_not_stall(ledger: Connection) -> None:
    """The server stops after a few megabytes unless it is told that they have been taken."""
    await fill(ledger, 60, size_bytes=500_000)
    taken = 0

    def count(entry: Entry) -> None:
        nonlocal taken
        taken += len(entry.payload)

    tail = Tail(ledger, LEDGER, 0, count)
    await tail.start()
    await asyncio.wait_for(tail.caught_up(), 60)
    assert taken > 30_000_000
    assert tail.restarts == 0
    await tail.stop()


async def test_acknowledgement_subjects_have_the_form_that_nats_py_reads(ledger: Connection) -> None:
    """With eleven tokens (js_ack_fc_v2) nats-py's read loop dies while it says that it is connected."""
    replies: list[str] = []
    inbox = ledger.new_inbox()
    await ledger.subscribe_direct(inbox, lambda m: replies.append(m.reply))
    config = {"name": "x", "deliver_subject": inbox, "ack_policy": "none", "flow_control": True}
    config["idle_heartbeat"] = 1_000_000_000  # type: ignore[assignment]
    body = {"stream_name": LEDGER, "config": config, "action": "create"}
    await jetstream.call(ledger, "CONSUMER.CREATE.LEDGER.x", body)
    await fill(ledger, 1)
    await until(lambda: len(replies) > 0)
    words = replies[0].split(".")
    assert words[:3] == ["$JS", "ACK", "LEDGER"]
    assert len(words) == 9
    assert [int(word) for word in words[5:7]] == [1, 1]
