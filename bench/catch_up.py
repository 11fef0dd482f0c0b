"""python -m bench.catch_up [--calls N] [--runs N]: how fast the analytics process catches up with what it missed.

A gateway without analytics serves calls; then `onysoft analytics` starts on empty tables, as after a long downtime, and
is timed from its readiness until its tables hold the ends of both streams. Events are those of LEDGER (each call has
two: it was opened, it was settled) and of USAGE (one a call).
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.instance import Gateway, free_port, gateway, started, wait_for_http
from bench.processes import CpuMeter, rss_mib
from bus.connection import Connection
from bus.streams import LEDGER, USAGE, last_position
from runtime.settings import Settings

_CONNECTIONS = 64
_SLICE_S = 5.0
_START_S = 60.0
_POLL_S = 0.05
_PATIENCE_S = 600.0
_EVENTS = """\
SELECT (SELECT 2 * count() FROM charges) + (SELECT 2 * count() FROM releases) + (SELECT count() FROM changes)
    + (SELECT count() FROM requests) AS events
"""


@dataclass(frozen=True, slots=True)
class CatchUp:
    """One run: events of both streams, seconds by the clock and of processor time, memory at the end."""

    events: int
    wall_s: float
    cpu_s: float
    rss_mib: float

    @property
    def events_per_s(self) -> float:
        """By the clock."""
        return self.events / self.wall_s


def main() -> int:
    """Print a line a run and the median."""
    options = _parse(sys.argv[1:])
    folder: Path = options.data.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    with gateway(folder / "instance") as served:
        calls = 0
        while calls < options.calls:
            calls += load.run(served.target, _CONNECTIONS, _SLICE_S, folder).calls
        print(f"{calls:,} calls are in the log", flush=True)
        runs = [_catch_up(served, folder / f"run-{number}") for number in range(options.runs)]
    for run in runs:
        print(
            f"{run.events:,} events in {run.wall_s:.2f} s: {run.events_per_s:,.0f} a second; "
            f"{run.cpu_s / run.events * 1e6:.1f} µs of CPU each, {run.rss_mib:.0f} MiB"
        )
    print(f"median: {statistics.median(run.events_per_s for run in runs):,.0f} events a second")
    return 0


def _catch_up(served: Gateway, folder: Path) -> CatchUp:
    folder.mkdir(parents=True)
    ends = asyncio.run(_ends(served.document["nats_url"]))
    port = free_port()
    environment = {
        "ONYSOFT_NATS_URL": served.document["nats_url"],
        "ONYSOFT_PROJECTIONS_DIR": str(folder),
        "ONYSOFT_ANALYTICS_DSN": f"chdb://{folder / 'tables'}",
        "ONYSOFT_OPS_PORT": str(port),
        "ONYSOFT_RECONCILE_EVERY_S": "0",
    }
    url, log = f"http://127.0.0.1:{port}", folder / "analytics.log"
    with started([sys.executable, "-m", "cli.main", "analytics"], log, environment) as process:
        wait_for_http(f"{url}/readyz", _START_S, process, log)
        _wait_for_answers(url)
        began, meter = time.monotonic(), CpuMeter({"analytics": [process.pid]})
        while not _is_whole(_sunk(url), ends):
            if process.poll() is not None or time.monotonic() - began > _PATIENCE_S:
                raise SystemExit(f"the tables are not whole; see {log}")
            time.sleep(_POLL_S)
        wall_s = time.monotonic() - began
        return CatchUp(int(_ask(url, _EVENTS)[0][0]), wall_s, meter.spent_s()["analytics"], rss_mib([process.pid]))


async def _ends(nats_url: str) -> dict[str, int]:
    """The last position of each stream."""
    connection = await Connection.open(Settings(nats_url=nats_url), "bench")
    ends = {stream: await last_position(connection, stream) for stream in (LEDGER, USAGE)}
    await connection.close()
    return ends


def _wait_for_answers(url: str) -> None:
    """Until questions are served, which is just before the sinks begin. Raises SystemExit."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            _sunk(url)
        except urllib.error.HTTPError:
            time.sleep(_POLL_S)
        else:
            return
    raise SystemExit("the analytics process answers no question")


def _is_whole(sunk: dict[str, int], ends: dict[str, int]) -> bool:
    return all(sunk.get(stream, 0) >= end for stream, end in ends.items())


def _sunk(url: str) -> dict[str, int]:
    return {
        str(stream): int(last) for stream, last in _ask(url, "SELECT stream, max(last) FROM sink_ranges GROUP BY 1")
    }


def _ask(url: str, query: str) -> list[list[str]]:
    address = f"{url}/?{urllib.parse.urlencode({'query': query, 'default_format': 'JSONCompact'})}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        rows: list[list[str]] = json.loads(answer.read())["data"]
        return rows


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.catch_up", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="at least so many calls are served first")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path(".bench/catch-up"), help="folder for all it makes")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
