"""A gateway of the benchmark's own, started as `./dev up` starts one; and a sandbox alone, for the peers."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.call import Target, target
from cli.client import AdminClient
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import TRY, USER

_ROOT = Path(__file__).resolve().parent.parent
_START_S = 60.0
_STOP_S = 60.0
_POLL_S = 0.1
_CREDIT = "1000000000.00"  # no run comes near its end
_UNREACHABLE = 2_000_000_000

LIMITS = tuple(
    (name, pattern)
    for pattern in ("*", "openai/*")
    for name in ("requests_per_minute", "requests_per_day", "daily_requests", "daily_tokens", "monthly_tokens")
)
"""Ten limits, each of which every call of the benchmark counts against or is looked up for."""


class NotUp(Exception):
    """Something did not start, or died; the message names its log."""


class Gateway:
    """One edge, one core, projections, NATS and a sandbox, with an account that no limit stops."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process
        self.document: dict[str, Any] = {}
        self.key = ""

    @property
    def processes(self) -> dict[str, list[int]]:
        """Name → pids, as they are now."""
        pids: dict[str, int] = json.loads((self._folder / "dev.json").read_bytes())["pids"]
        return {name: [pid] for name, pid in pids.items()}

    @property
    def target(self) -> Target:
        """Calls through the gateway."""
        return target(self.document["base_url"], self.key)

    @property
    def sandbox(self) -> Target:
        """The same calls straight to the provider, as the core sends them."""
        return target(self.document["sandbox_url"] + "/api/v1", "sandbox")

    def control(self, **settings: Any) -> None:
        """Set how the sandbox behaves; nothing given: as at its start."""
        control(self.document["sandbox_url"], **settings)

    def wait(self) -> None:
        """Until it is ready. Raises NotUp."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.document = json.loads((self._folder / "dev.json").read_bytes())
            except (OSError, ValueError):
                self.document = {}
            if self.document.get("ready") and self.document["pids"]["supervisor"] == self._process.pid:
                return
            time.sleep(_POLL_S)
        raise NotUp(
            f"the gateway did not start; see {self._folder.parent / 'launcher.log'} and {self._folder / 'logs'}"
        )

    def open_account(self, limits: int = 0) -> str:
        """An account with credit that lasts, and a key with so many limits that no call meets; the key.

        Raises cli.client.CallFailed.
        """
        client = AdminClient(self.document["admin_addresses"], self.document["admin_token"])
        opening = admin.OpenAccountRequest(
            kind=USER, name="bench", currency=TRY, requests_per_minute=0, requests_per_day=0
        )
        account_id = client.call("OpenAccount", opening).account_id
        client.call("CreditAccount", admin.CreditAccountRequest(account_id=account_id, amount=_CREDIT, reference="b"))
        issued = client.call("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="bench"))
        for name, pattern in LIMITS[:limits]:
            wanted = {name: _UNREACHABLE}
            client.call("SetLimits", admin.SetLimitsRequest(owner_id=issued.key_id, pattern=pattern, **wanted))
        client.close()
        return str(issued.api_key)


@contextmanager
def gateway(folder: Path, analytics: bool = False) -> Iterator[Gateway]:
    """A fresh one, stopped at the end; with the analytics sink where asked for. Raises NotUp."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "launcher",
        "--no-console",
        *([] if analytics else ["--no-analytics"]),
        "--fresh",
        "--data",
        str(folder),
        "--port",
        str(free_port()),
    ]
    with started(words, folder.parent / "launcher.log") as process:
        instance = Gateway(folder, process)
        instance.wait()
        instance.key = instance.open_account()
        yield instance


@contextmanager
def sandbox_alone(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A sandbox with a journal on disk, as it has within a gateway: its URL and its pid."""
    port = free_port()
    journal = folder / "sandbox-journal.jsonl"
    journal.unlink(missing_ok=True)
    environment = {"ONYSOFT_SANDBOX_PORT": str(port), "ONYSOFT_SANDBOX_JOURNAL_PATH": str(journal)}
    log = folder / "sandbox.log"
    with started([sys.executable, "-m", "cli.main", "sandbox"], log, environment) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for_http(url + "/healthz", _START_S, process, log)
        yield url, [process.pid]


@contextmanager
def started(
    words: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to stop at the end, and killed when it does not."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=_ROOT, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_http(url: str, within_s: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the URL answers anything. Raises NotUp."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(_POLL_S)
    raise NotUp(f"{url} does not answer within {within_s:.0f} s; see {log}")


def wait_for_answer(where: Target, within_s: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a call to a chat endpoint is answered well. Raises NotUp."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(where.url, where.body(), dict(where.headers))
        try:
            urllib.request.urlopen(request, timeout=20).close()
            return
        except OSError:
            time.sleep(_POLL_S)
    raise NotUp(f"{where.url} gives no good answer within {within_s:.0f} s; see {log}")


def control(sandbox_url: str, **settings: Any) -> None:
    """PUT /control of a sandbox."""
    request = urllib.request.Request(sandbox_url + "/control", json.dumps(settings).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
