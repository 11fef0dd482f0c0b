"""The sink against a real NATS and a real embedded ClickHouse: whatever dies, every row is there once."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused
from bus.jetstream import Entry
from bus.streams import LEDGER, USAGE, last_position, provision, read
from core.ledger.fold import apply_batch
from core.ledger.outcome import Code
from core.ledger.state import State
from projections.analytics.claims import Claim, ClaimLost, Claims
from projections.analytics.migrate import migrate
from projections.analytics.sink import SinkBroken, resume_at
from projections.analytics.store import Store, parse_dsn
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings
from tests.projections.analytics.log import LogMaker, append_all

READY_S = 60.0


class AnalyticsProcess:
    """`onysoft analytics` on a folder of the test's own."""

    def __init__(self, folder: Path, nats_url: str, home: str, **more: str) -> None:
        self.home = home
        self._environment = {
            **os.environ,
            "ONYSOFT_NATS_URL": nats_url,
            "ONYSOFT_PROJECTIONS_DIR": str(folder),
            "ONYSOFT_ANALYTICS_DSN": home,
            "ONYSOFT_SNAPSHOT_EVERY_S": "0.2",
            "ONYSOFT_ANALYTICS_RANGE_ROWS": "700",
            "ONYSOFT_ANALYTICS_RANGE_S": "0.2",
            **more,
        }
        self.log = folder / "analytics.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "AnalyticsProcess":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "analytics"], env=self._environment, stdout=log, stderr=log
            )
        return self

    async def logged(self, word: str, times: int) -> None:
        """Wait until the log holds a word so many times."""
        deadline = time.monotonic() + READY_S
        while self.log.read_text().count(word) < times:
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    def open(self) -> Store:
        return Store.open(parse_dsn(self.home))


async def expected_charges(connection: Connection) -> dict[str, tuple[int, ...]]:
    """What a fold of our own makes of the log: request id → position, index, charged, shortfall, both of the parent."""
    state, found = State(), {}
    for position in range(1, await last_position(connection, LEDGER) + 1):
        entry: Entry = await read(connection, LEDGER, position)
        batch = pb.LedgerBatch.FromString(entry.payload)
        outcomes = apply_batch(state, batch, int(entry.subject[7:]), position, entry.time_ms, entry.payload)
        for index, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
            if outcome.code in (Code.SETTLED, Code.SETTLED_LATE) and event.HasField("request_settled"):
                amounts = (outcome.charged_nano, outcome.shortfall_nano)
                parent = (outcome.parent_charged_nano, outcome.parent_shortfall_nano)
                found["req_" + event.request_settled.request_id.hex()] = (position, index, *amounts, *parent)
    return found


def charges_in(store: Store) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in store.rows(
            "SELECT request_id, stream_seq, event_index, charge_nano, shortfall_nano, parent_charge_nano,"
            " parent_shortfall_nano FROM charges"
        )
    ]


def assert_whole(store: Store, expected: dict[str, tuple[int, ...]], reports: int) -> None:
    """Every row once, every roll-up the sum of its rows, every range next to the one before."""
    found = charges_in(store)
    assert len(found) == len(expected)
    assert {row[0]: tuple(row[1:]) for row in found} == expected
    total = store.rows(
        "SELECT count(), sum(charge_nano), sum(parent_charge_nano), sum(provider_cost_nano) FROM charges"
    )
    for table in ("charges_hourly", "charges_daily"):
        sums = "sum(calls), sum(charge_nano), sum(parent_charge_nano), sum(provider_cost_nano)"
        assert store.rows(f"SELECT {sums} FROM {table}") == total
    assert store.value("SELECT count() FROM requests") == reports
    for table in ("requests_hourly", "requests_daily", "latency_hourly"):
        assert store.value(f"SELECT sum(calls) FROM {table}") == reports
    for stream in (LEDGER, USAGE):
        ranges = store.rows(
            "SELECT first, last FROM sink_ranges WHERE stream = {s:String} ORDER BY first", {"s": stream}
        )
        assert [first for first, _ in ranges] == [1, *(last + 1 for _, last in ranges[:-1])]


async def test_a_sink_that_is_killed_again_and_again_loses_and_doubles_nothing(
    connection: Connection, settings: Settings, tmp_path: Path, home: str
) -> None:
    """A lost row is a customer's charge that no report shows; a doubled one is a sum that nobody can explain."""
    await provision(connection, settings)
    maker, dice = LogMaker(1), random.Random(2)
    await append_all(connection, "ledger.00", [maker.opening(), *maker.traffic(4_000)])
    await append_all(connection, "usage.edge-1", maker.reports(3_000))
    process = AnalyticsProcess(tmp_path / "projections", settings.nats_url, home)
    made = process.open()
    migrate(made, settings)
    made.close()
    for death in range(4):
        process.start()
        await process.logged("analytics.resumes", 2 * death + 2)
        await asyncio.sleep(dice.uniform(0.0, 0.8))
        process.kill()
        await append_all(connection, "ledger.00", maker.traffic(40))
    process.start()
    await process.logged("analytics.ready", 1)
    deadline = time.monotonic() + READY_S
    ends = {stream: await last_position(connection, stream) for stream in (LEDGER, USAGE)}
    claims = await claimed(connection, ends)
    while not claims and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        claims = await claimed(connection, ends)
    assert process.stop() == 0, process.log.read_text()[-3000:]
    store = process.open()
    try:
        assert_whole(store, await expected_charges(connection), 3_000)
    finally:
        store.close()


async def claimed(connection: Connection, ends: dict[str, int]) -> bool:
    """Whether both streams are claimed up to their ends."""
    for stream, end in ends.items():
        try:
            entry = await jetstream.read_last(connection, "SNAPSHOTS", f"snapshot.sink.*.{stream}")
        except (ApiRefused, jetstream.NoSuchPosition):
            return False
        if f'"last":{end}'.encode() not in entry.payload:
            return False
    return True


@pytest.mark.parametrize("home", ["embedded"], indirect=True)
async def test_a_second_sink_on_the_same_folder_is_refused(
    connection: Connection, settings: Settings, tmp_path: Path, home: str
) -> None:
    """Two engines on one folder would destroy it."""
    await provision(connection, settings)
    first = AnalyticsProcess(tmp_path / "projections", settings.nats_url, home).start()
    await first.logged("analytics.ready", 1)
    second = AnalyticsProcess(tmp_path / "projections", settings.nats_url, home)
    second.log = tmp_path / "second.log"
    second.start()
    assert second.process is not None
    assert await asyncio.to_thread(second.process.wait, READY_S) == 1
    assert "belongs to another process" in second.log.read_text()
    assert first.stop() == 0


async def test_of_two_sinks_on_one_set_of_tables_one_stops(connection: Connection, settings: Settings) -> None:
    """Two sinks on one server would choose different ranges, and insert every row twice."""
    await provision(connection, settings)
    one, other = Claims(connection, "home", LEDGER), Claims(connection, "home", LEDGER)
    assert await one.read() is None
    await one.make(Claim(1, 10))
    assert await other.read() == Claim(1, 10)
    await other.make(Claim(11, 20))
    with pytest.raises(ClaimLost):
        await one.make(Claim(11, 15))
    assert await Claims(connection, "home", LEDGER).read() == Claim(11, 20)
    assert await Claims(connection, "another", LEDGER).read() is None


def test_what_is_claimed_and_not_in_the_tables_is_sent_first() -> None:
    """Another range in its place would be discarded as a repetition, or inserted beside it."""
    assert resume_at(LEDGER, None, 0) is None
    assert resume_at(LEDGER, Claim(1, 9), 9) is None
    assert resume_at(LEDGER, Claim(10, 19), 9) == Claim(10, 19)
    for claim, done in ((None, 9), (Claim(10, 19), 12), (Claim(1, 9), 12)):
        with pytest.raises(SinkBroken):
            resume_at(LEDGER, claim, done)
