"""Writing a simulated month: the log as an archive, the edges' reports into USAGE, both through the real sinks."""

import asyncio
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from bus.connection import Connection
from bus.errors import BusError, UnsafeStream
from bus.streams import LEDGER, USAGE, last_position, provision_usage
from cli.offline import Bar
from cli.session import Session
from cli.shapes import Shape
from cli.simulation.log import LogBuilder
from cli.simulation.market import open_market
from cli.simulation.month import Month
from cli.simulation.processes import free_port, nats_server, running
from cli.simulation.usage import Reports
from projections.proof.statement import month_bounds
from runtime.settings import Settings

MARKER = "simulated.json"
YIELD_TICKS = 200
SINK_POLL_S = 0.5
PATIENCE_S = 60.0
ASK_TIMEOUT_S = 10.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for."""

    calls: int
    accounts: int
    seed: int
    month: str
    sink: bool


async def write(session: Session, path: Path, wanted: Wanted) -> Shape:
    """Make the instance; what it holds. Its server and its sink may die meanwhile. Raises OperatorError, BusError."""
    began = time.monotonic()
    rng = random.Random(wanted.seed)
    settings = Settings(projections_dir=path / "projections", archive_dir=path / "archive")
    builder = LogBuilder(path / "archive", settings.partitions, wanted.seed)
    play = Month(builder, open_market(rng, wanted.accounts), rng, wanted.calls, *month_bounds(wanted.month))
    async with nats_server(path) as url:
        settings = settings.model_copy(update={"nats_url": url})
        connection = await Connection.open(settings, "simulate")
        reports = await _play(session, connection, settings, play, Reports(connection, rng))
        checkpoint = builder.finish(play.ended_ms)
        await _persist(lambda: builder.publish(connection, settings, checkpoint))
        written_s = time.monotonic() - began
        ends = {stream: await _persist(partial(last_position, connection, stream)) for stream in (LEDGER, USAGE)}
        await connection.close()
        if wanted.sink:
            await _sink(session, settings, path, ends)
    state = builder.state
    shape: Shape = {
        "data": str(path),
        "month": wanted.month,
        "seed": wanted.seed,
        "calls": play.calls,
        "accounts": len(state.accounts),
        "ledger_positions": ends[LEDGER],
        "reports": reports.events,
        "charges_nano": sum(each.charges_nano for each in state.accounts.values()),
        "written_s": round(written_s, 1),
        "total_s": round(time.monotonic() - began, 1),
        "complete": True,
    }
    (path / MARKER).write_bytes(orjson.dumps(shape, option=orjson.OPT_INDENT_2))
    return shape


async def _play(session: Session, connection: Connection, settings: Settings, play: Month, reports: Reports) -> Reports:
    await _persist(lambda: provision_usage(connection, settings))
    with Bar(session, "simulating calls") as bar:
        for number, done in enumerate(play.ticks()):
            if number % YIELD_TICKS == 0:
                play.usage = await reports.publish(play.usage, whole=False)
                bar(done, play.wanted)
        bar(play.calls, play.wanted)
    await reports.publish(play.usage, whole=True)
    return reports


async def _persist(action: Callable[[], Awaitable[Found]]) -> Found:
    """Do what may be repeated, again while the server is away. Raises the last BusError after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await action()
        except UnsafeStream:
            raise
        except BusError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(SINK_POLL_S)


async def _sink(session: Session, settings: Settings, path: Path, ends: dict[str, int]) -> None:
    """Run the real analytics process on what was written, until its tables hold the ends of both streams."""
    port = free_port()
    environment = {
        "ONYSOFT_NATS_URL": settings.nats_url,
        "ONYSOFT_PROJECTIONS_DIR": str(settings.projections_dir),
        "ONYSOFT_ARCHIVE_DIR": str(settings.archive_dir),
        "ONYSOFT_OPS_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    log = path / "logs" / "analytics.log"
    log.parent.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "cli.main", "analytics"]
    async with running(words, log, lambda: _asked(f"{url}/readyz") is not None, environment) as kept:
        with Bar(session, "sinking into ClickHouse") as bar:
            done = dict.fromkeys(ends, 0)
            while any(done[stream] < end for stream, end in ends.items()):
                if kept.done():
                    kept.result()
                await asyncio.sleep(SINK_POLL_S)
                done = {stream: max(done[stream], await asyncio.to_thread(_sunk, url, stream)) for stream in ends}
                bar(sum(done.values()), sum(ends.values()))


def _sunk(url: str, stream: str) -> int:
    query = f"SELECT max(last) FROM sink_ranges WHERE stream = '{stream}'"
    return int(_asked(f"{url}/?query={query.replace(' ', '+')}") or b"0")


def _asked(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, OSError):
        return None
