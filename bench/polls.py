"""`python -m bench.polls`: what 1,000 clients cost that poll their media task every second.

CPU time of each process of a gateway (one edge, one core) over the run, with the questions that reached the provider:
there must be none beyond what following the tasks itself asks. The clients' own CPU, in this process, does not count.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.processes import CpuMeter
from tests.faults.gateway import Gateway

TASKS = 50
MODEL = "google/imagen4-fast"
ENVIRONMENT = {"ONYSOFT_KIE_CREATES_PER_10S": "1000"}
LONG_MS = 600_000
"""The tasks outlast the run."""


class Client:
    """One client with a connection of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        self._session = session
        self._url = url
        self._headers = headers
        self.answers = 0
        self.late_s = 0.0

    async def poll(self, first_s: float, until_s: float) -> None:
        """Once a second from `first_s` on; `late_s` is the slowest answer."""
        due = first_s
        while due < until_s:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            async with self._session.get(self._url, headers=self._headers) as answer:
                await answer.read()
                assert answer.status == 200
            self.answers += 1
            self.late_s = max(self.late_s, time.monotonic() - began)
            due += 1.0


def figure(ops_url: str, name: str) -> float:
    """One figure of a process's /metrics, without labels."""
    with urllib.request.urlopen(f"{ops_url}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} ") or line.startswith(f"{name}_total "):
                return float(line.rpartition(" ")[2])
    return 0.0


async def begin_tasks(session: aiohttp.ClientSession, base: str, headers: dict[str, str]) -> list[str]:
    """Tasks that run for long; their status URLs."""
    urls = []
    for _ in range(TASKS):
        body = {"model": MODEL, "prompt": "x"}
        async with session.post(f"{base}/image/generate", json=body, headers=headers) as answer:
            said: dict[str, Any] = await answer.json()
            urls.append(f"{base}/image/status/{said['task_id']}")
    return urls


async def measure(gateway: Gateway, clients: int, seconds: float) -> tuple[Table, bool]:
    """Run the polls; the table, and whether no poll has asked anybody."""
    customer = gateway.open_account("10000")
    gateway.control(kie={"task_ms": LONG_MS, "creates_per_window": 0})
    headers = {"authorization": f"Bearer {customer.api_key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        urls = await begin_tasks(session, gateway.base_urls[0], headers)
        made = [Client(session, urls[number % TASKS], headers) for number in range(clients)]
        start = time.monotonic() + 1.0
        warm = [asyncio.create_task(each.poll(start + n / clients, start + 3)) for n, each in enumerate(made)]
        await asyncio.gather(*warm)
        ops = gateway.document["ops_urls"]
        looks, reads = figure(ops["core-1"], "onysoft_tasks_looks"), figure(ops["edge-1"], "onysoft_edge_task_reads")
        for each in made:
            each.answers, each.late_s = 0, 0.0
        meter = CpuMeter({name: [gateway.pid(name)] for name in gateway.names})
        start = time.monotonic()
        await asyncio.gather(*(each.poll(start + n / clients, start + seconds) for n, each in enumerate(made)))
        spent = meter.spent_s()
        took_s = time.monotonic() - start
        looks = figure(ops["core-1"], "onysoft_tasks_looks") - looks
        reads = figure(ops["edge-1"], "onysoft_edge_task_reads") - reads
    return _table(made, spent, took_s, looks, reads)


def _table(
    made: list[Client], spent: dict[str, float], took_s: float, looks: float, reads: float
) -> tuple[Table, bool]:
    polls = sum(each.answers for each in made)
    table = Table(
        title=f"{len(made)} clients, {polls} polls in {took_s:.1f} s", title_justify="left", show_header=False
    )
    for name, seconds in sorted(spent.items(), key=lambda row: -row[1]):
        table.add_row(f"CPU of {name}", f"{100 * seconds / took_s:.1f} % of one processor")
    share = 100 * sum(spent.values()) / took_s
    table.add_row("CPU of all", f"{share:.1f} %")
    table.add_row("CPU of the edge for a poll", f"{1e6 * spent['edge-1'] / polls:.0f} µs")
    slowest = sorted(each.late_s for each in made)
    table.add_row("slowest poll of the median client", f"{1e3 * slowest[len(slowest) // 2]:.0f} ms")
    table.add_row("polls that asked the stream", f"{reads:.0f}")
    table.add_row("questions to the provider, all by following", f"{looks:.0f}")
    return table, reads == 0


def main() -> int:
    """0 when no poll asked anybody."""
    parser = argparse.ArgumentParser(prog="python -m bench.polls", description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onysoft-polls-") as folder:
        gateway = Gateway(Path(folder) / "data", edges=1, cores=1, environment=ENVIRONMENT)
        try:
            gateway.start()
            table, holds = asyncio.run(measure(gateway, options.clients, options.seconds))
        finally:
            gateway.stop()
    Console(width=100).print(table)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
