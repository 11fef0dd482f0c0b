"""`./dev up` from the outside: the whole gateway as separate processes, used with the official SDK."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI

from launcher.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
START_S = 150.0
STOP_S = 60.0
MODEL = "sandbox/fixed-price"
CHARGE = 0.15  # 0.0025 USD at 40.00 TRY and the default markup of 50 %


class Up:
    """A running instance."""

    def __init__(self, data: Path, *words: str) -> None:
        self.data = data
        self._output = (data.parent / "up.out").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "--data", str(data), *words],
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def document(self) -> dict[str, Any]:
        """dev.json once the instance is ready."""
        self.until(lambda: self._document_or_none() is not None, START_S)
        return self._document_or_none() or {}

    def _document_or_none(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.output()[-3000:]
        try:
            document: dict[str, Any] = json.loads((self.data / "dev.json").read_text())
        except FileNotFoundError:
            return None
        return document if document["ready"] else None

    def until(self, condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.output()[-3000:]
            time.sleep(0.05)

    def ask(self) -> None:
        """One chat call with the official SDK."""
        document = self.document()
        with OpenAI(base_url=document["base_url"], api_key=document["api_key"], max_retries=5) as client:
            answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Merhaba"}])
        assert answer.choices[0].message.content

    def onysoft(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words, "--json", "--data", str(self.data)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def balance(self) -> float:
        return float(self.onysoft("balance", self.document()["account_id"])["balance"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S)
        finally:
            self._output.close()

    def output(self) -> str:
        return (self.data.parent / "up.out").read_text()


def readyz(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}  # too busy to answer: ask again


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever was started on it is ended."""
    yield tmp_path / "data"
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info["cmdline"] or ()):
            process.kill()


def test_an_instance_serves_stops_and_comes_back_as_it_was(data: Path) -> None:
    """The first thing that anybody does with the project; a lost balance after a restart is lost money."""
    first = Up(data)
    document = first.document()
    assert set(document["pids"]) == {
        "supervisor",
        "nats",
        "sandbox",
        "core-1",
        "projections",
        "analytics",
        "edge-1",
        "console",
    }
    assert readyz(document["readyz_url"]) == (200, {"ready": True, "process": "supervisor", "reason": None})
    assert first.balance() == 100.0
    first.ask()
    assert first.balance() == pytest.approx(100.0 - CHARGE)
    assert first.onysoft("ledger", "verify")["ok"] is True
    assert first.stop(signal.SIGINT) == 0
    assert not (data / "dev.json").exists()
    assert not [pid for pid in document["pids"].values() if psutil.pid_exists(pid)]

    second = Up(data)
    again = second.document()
    assert (again["account_id"], again["api_key"]) == (document["account_id"], document["api_key"])
    assert second.balance() == pytest.approx(100.0 - CHARGE), "the demo's credit must not count again"
    second.ask()
    assert second.balance() == pytest.approx(100.0 - 2 * CHARGE)
    assert second.stop() == 0


def test_whatever_dies_comes_back(data: Path) -> None:
    """A crash at night must not wait for the morning, and costs nobody money."""
    up = Up(data, "--edges", "2", "--cores", "2")
    before = up.document()
    assert len(before["base_urls"]) == 2
    assert len(before["admin_addresses"]) == 2
    victims = [name for name in before["pids"] if name != "supervisor"]
    for name in victims:
        os.kill(before["pids"][name], signal.SIGKILL)
    up.until(lambda: readyz(before["readyz_url"])[0] == 503)
    up.until(lambda: readyz(before["readyz_url"])[0] == 200, START_S)
    up.until(lambda: all(up.document()["pids"].get(name, 0) not in (0, before["pids"][name]) for name in victims))
    after = up.document()
    assert {key: after[key] for key in after if key != "pids"} == {key: before[key] for key in before if key != "pids"}
    up.ask()
    assert up.balance() == pytest.approx(100.0 - CHARGE)
    events = (data / "logs" / "supervisor.log").read_text()
    assert all(f'"child": "{name}"' in events for name in victims)
    assert up.stop() == 0


def test_nothing_outlives_a_killed_supervisor(data: Path) -> None:
    """An orphaned nats-server would go on writing under the next instance's."""
    up = Up(data)
    pids = up.document()["pids"]
    refused = subprocess.run(
        [sys.executable, "-m", "launcher", "--data", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode == 1
    assert "another instance is up" in refused.stderr
    up.process.kill()
    up.process.wait()
    up.until(lambda: not [pid for name, pid in pids.items() if name != "supervisor" and psutil.pid_exists(pid)])
    stale = json.loads((data / "dev.json").read_text())
    up = Up(data)
    up.until(lambda: not (data / "dev.json").exists() or json.loads((data / "dev.json").read_text()) != stale)
    assert up.balance() == 100.0
    assert up.stop() == 0


def started_for(data: Path) -> list[psutil.Process]:
    """Processes whose environment or command line names the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(data) in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.mark.parametrize("children", [1, 2, 4])
def test_nothing_outlives_a_supervisor_that_is_killed_while_it_starts(data: Path, children: int) -> None:
    """A process that was just forked has not yet asked to die with its parent."""
    up = Up(data)
    supervisor = psutil.Process(up.process.pid)
    up.until(lambda: len(supervisor.children()) >= children)
    up.process.kill()
    up.process.wait()
    up.until(lambda: not started_for(data), START_S)


def test_a_port_that_somebody_takes_meanwhile_is_not_fought_for(data: Path) -> None:
    """The edge would die again and again, and nobody would know why."""
    port = free_ports(1)[0]
    up = Up(data, "--port", str(port))
    up.until(lambda: (data / "nats" / "server.conf").exists())
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        assert up.process.wait(START_S) == 1
    assert f"took port {port}; starting again" in up.output()
    assert f"port {port} is in use" in up.output()
