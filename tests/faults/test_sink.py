"""Kill the owner of ClickHouse and nats-server while a month is sunk: the tables must equal the ledger all the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bench.processes import family
from bus.server_config import render
from tests.cli.conftest import Onysoft, onysoft
from tests.conftest import NatsServer, free_port

__all__ = ["onysoft"]

DEADLINE_S = 240.0
KILLS = 8


class Sink:
    """The analytics process on a simulated folder."""

    def __init__(self, folder: Path, nats_url: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "analytics.log"
        self.environment = {
            "ONYSOFT_NATS_URL": nats_url,
            "ONYSOFT_PROJECTIONS_DIR": str(folder / "projections"),
            "ONYSOFT_ARCHIVE_DIR": str(folder / "archive"),
            "ONYSOFT_OPS_PORT": self.url.rpartition(":")[2],
            "ONYSOFT_ANALYTICS_RANGE_ROWS": "1000",
            "ONYSOFT_SNAPSHOT_EVERY_S": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; it need not be ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "analytics"],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def kill(self) -> None:
        """SIGKILL, and reap."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def sunk(self, stream: str) -> int:
        """The position up to which the tables are whole; 0 while it does not answer."""
        query = f"SELECT+max(last)+FROM+sink_ranges+WHERE+stream='{stream}'"
        try:
            with urllib.request.urlopen(f"{self.url}/?query={query}", timeout=5) as answer:
                return int(answer.read() or b"0")
        except (urllib.error.URLError, OSError, ValueError):
            return 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_tables_equal_the_ledger_whatever_is_killed_while_they_are_filled(
    tmp_path: Path, onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    folder = tmp_path / "data"
    month = ("--calls", "12000", "--accounts", "150", "--seed", str(seed))
    made = onysoft("simulate", "--data", str(folder), *month, "--no-sink", "--json")
    assert made.code == 0, made.err
    rng = random.Random(seed)
    port = free_port()
    nats = NatsServer(tmp_path, render(port, folder / "nats" / "store"), port)
    nats.start()
    sink = Sink(folder, nats.url)
    sink.start()
    deadline = time.monotonic() + DEADLINE_S
    try:
        kills, last = 0, 0
        while sink.sunk("LEDGER") < made.json["ledger_positions"] or not sink.sunk("USAGE"):
            assert time.monotonic() < deadline, f"stuck at {sink.sunk('LEDGER')} after {kills} kills"
            now = sink.sunk("LEDGER")
            if kills < KILLS and now > last:  # it has got on since the last kill: another one
                time.sleep(rng.random())
                last = now
                kills += 1
                if rng.random() < 0.35:
                    nats.restart()
                else:
                    sink.kill()
                    sink.start()
            time.sleep(0.05)
        assert kills >= 3
        _assert_reconciled(onysoft, monkeypatch, sink, made.json["ledger_positions"])
    finally:
        sink.kill()
        nats.kill()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_simulated_month_is_whole_although_its_server_and_its_sink_were_killed(
    tmp_path: Path, onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    folder = tmp_path / "data"
    words = ("--data", str(folder), "--calls", "12000", "--accounts", "150", "--seed", str(seed))
    environment = {**os.environ, "ONYSOFT_ANALYTICS_RANGE_ROWS": "1000", "ONYSOFT_SNAPSHOT_EVERY_S": "1"}
    log = tmp_path / "simulate.log"
    with log.open("wb") as output:
        simulating = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "simulate", *words], stdout=output, stderr=output, env=environment
        )
    try:
        killed = _kill_now_and_then(simulating, random.Random(seed))
        assert simulating.wait(DEADLINE_S) == 0, log.read_text()
    finally:
        simulating.kill()
        simulating.wait()
    assert {"nats-server", "analytics"} <= set(killed), killed
    made = json.loads((folder / "simulated.json").read_text())
    port = free_port()
    nats = NatsServer(tmp_path, render(port, folder / "nats" / "store"), port)
    nats.start()
    sink = Sink(folder, nats.url)
    sink.start()
    try:
        deadline = time.monotonic() + DEADLINE_S
        while sink.sunk("LEDGER") < made["ledger_positions"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _assert_reconciled(onysoft, monkeypatch, sink, made["ledger_positions"])
    finally:
        sink.kill()
        nats.kill()


def _kill_now_and_then(simulating: subprocess.Popen[bytes], rng: random.Random) -> list[str]:
    """SIGKILL to one of the simulation's own processes, each at most KILLS / 2 times; their names."""
    killed: list[str] = []
    while simulating.poll() is None and len(killed) < KILLS:
        time.sleep(0.3 + rng.random())
        found = {pid: _name(pid) for pid in family(simulating.pid)[1:]}
        children = {pid: name for pid, name in found.items() if name and killed.count(name) < KILLS // 2}
        if children:
            pid = rng.choice(sorted(children))
            os.kill(pid, signal.SIGKILL)
            killed.append(children[pid])
    return killed


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((name for name in ("nats-server", "analytics") if any(name.encode() in word for word in words)), "")


def _assert_reconciled(onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch, sink: Sink, position: int) -> None:
    for name, value in {**sink.environment, "ONYSOFT_ANALYTICS_URL": sink.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ONYSOFT_DATA", raising=False)
    monkeypatch.setattr("cli.instance._pointed_to", lambda: None)
    report = onysoft("reconcile", "--json")
    assert (report.code, report.json["differences"]) == (0, 0), report.out[-3000:]
    assert report.json["totals"]["charges"] > 10_000
    assert report.json["to_position"] == position
