"""A real gateway for tests: `./dev up`'s launcher in a folder of its own, with ways to use it and to hurt it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.client import AdminClient, CallFailed
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

PROJECT = Path(__file__).resolve().parents[2]
FIXED_PRICE_MODEL = "sandbox/fixed-price"
"""0.0025 USD a call, which is 0.10 TL without a markup at the demo's rate of 40."""

START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 60.0
ADMIN_TIMEOUT_S = 30.0
POLL_S = 0.05
HTTP_TIMEOUT_S = 30.0
JOURNAL_TIMEOUT_S = 60.0
UNREACHABLE = ("unavailable", "unknown", "deadline_exceeded", "cancelled")


class GatewayFailed(Exception):
    """The gateway did not do what the test needed; the message ends with what it printed last."""


@dataclass(frozen=True, slots=True)
class Customer:
    """An account that was opened for a test, and its key."""

    account_id: str
    key_id: str
    api_key: str


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str, poll_s: float = POLL_S) -> Any:
    """The condition's first true value. Raises GatewayFailed after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise GatewayFailed(f"{what}: not within {timeout_s:g} s")
        time.sleep(poll_s)


class Gateway:
    """One instance on `data`. It only ever signals processes that its own supervisor has started."""

    def __init__(
        self,
        data: Path,
        edges: int = 2,
        cores: int = 2,
        environment: Mapping[str, str] | None = None,
        console: bool = False,
    ) -> None:
        self._console = console
        self.data = data
        self._edges = edges
        self._cores = cores
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: AdminClient | None = None
        self._faults: dict[str, Any] = {}

    # Life

    def start(self) -> None:
        """Start, and wait until every process is ready. The folder may hold an earlier instance's data."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "launcher", "--data", str(self.data)]
        words += ["--edges", str(self._edges), "--cores", str(self._cores)]
        words += [] if self._console else ["--no-console"]
        with self._screen_path.open("ab") as screen:
            self._process = subprocess.Popen(
                words, cwd=PROJECT, env=self._environment, stdout=screen, stderr=screen, start_new_session=True
            )
        self.wait_ready(START_TIMEOUT_S)

    def stop(self) -> int:
        """Drain and stop; the supervisor's exit code."""
        self._forget_admin()
        process = self._process
        if process is None:
            return 0
        self._process = None
        if process.poll() is None:
            self._resume_all(process.pid)
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise GatewayFailed(f"the supervisor did not stop; {self.screen_tail()}") from None

    def cut_power(self) -> None:
        """Kill the supervisor; the kernel kills everything that it started. `start` goes on with the same data."""
        assert self._process is not None
        children = self._children(self._process.pid)
        self._process.kill()
        self._process.wait()
        self._process = None
        self._forget_admin()
        wait_until(lambda: not any(_is_alive(pid) for pid in children), 10, "the processes' death")
        (self.data / "dev.json").unlink(missing_ok=True)

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Wait until dev.json says that every process is ready. Raises GatewayFailed."""

        def ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise GatewayFailed(f"the supervisor has ended; {self.screen_tail()}")
            return bool(self._read_document().get("ready"))

        try:
            wait_until(ready, timeout_s, "a ready gateway")
        except GatewayFailed as failure:
            raise GatewayFailed(f"{failure}; {self.screen_tail()}") from None

    def screen_tail(self) -> str:
        """The last lines that the supervisor printed."""
        text = self._screen_path.read_text(errors="replace") if self._screen_path.exists() else ""
        return "its screen ends with:\n" + "\n".join(text.splitlines()[-30:])

    # Where things are

    @property
    def document(self) -> dict[str, Any]:
        """dev.json."""
        return wait_until(self._read_document, START_TIMEOUT_S, "dev.json")  # type: ignore[no-any-return]

    @property
    def base_urls(self) -> list[str]:
        """One for each edge, ending in /v1."""
        return list(self.document["base_urls"])

    @property
    def sandbox_url(self) -> str:
        """The simulated provider."""
        return str(self.document["sandbox_url"])

    @property
    def admin_addresses(self) -> list[str]:
        """One for each core."""
        return list(self.document["admin_addresses"])

    @property
    def names(self) -> list[str]:
        """Every process but the supervisor."""
        return [name for name in self.document["ops_urls"] if name != "supervisor"] + ["nats"]

    def pid(self, name: str) -> int:
        """The process's id; 0 between a death and the restart."""
        return int(self.document["pids"].get(name, 0))

    # Hurting it

    def signal(self, names: list[str], number: signal.Signals) -> dict[str, int]:
        """Send a signal to processes of this instance, in quick succession; the ids that were hit."""
        assert self._process is not None
        own = self._children(self._process.pid)
        pids = {name: self.pid(name) for name in names}
        hit = {name: pid for name, pid in pids.items() if pid in own}
        for pid in hit.values():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return hit

    def kill(self, *names: str) -> dict[str, int]:
        """`kill -9`; the ids that were hit."""
        return self.signal(list(names), signal.SIGKILL)

    def wait_restarted(self, before: Mapping[str, int], timeout_s: float = 90.0) -> None:
        """Wait until the killed processes run again under other ids and everything is ready."""
        restarted = lambda: all(self.pid(name) not in (0, pid) for name, pid in before.items())  # noqa: E731
        wait_until(restarted, timeout_s, f"a restart of {', '.join(before)}")
        self.wait_ready(timeout_s)

    def control(self, **faults: Any) -> None:
        """Tell the sandbox how fast to be and what to do wrong; nothing: its defaults."""
        self._faults = faults
        self.control_again()

    def control_again(self) -> None:
        """Tell a sandbox that was restarted what `control` had told it."""
        body = json.dumps(self._faults).encode()
        request = urllib.request.Request(f"{self.sandbox_url}/control", data=body, method="PUT")
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
            assert answer.status == 200

    def journal(self, kind: str = "chat") -> list[dict[str, Any]]:
        """What the sandbox says that it generated and billed; `kind` is `chat` or `tasks`."""
        query = "" if kind == "chat" else f"?kind={kind}"
        with urllib.request.urlopen(f"{self.sandbox_url}/journal{query}", timeout=JOURNAL_TIMEOUT_S) as answer:
            return list(json.load(answer))

    # Using it as an operator

    def admin(self, method: str, request: Any, timeout_s: float = ADMIN_TIMEOUT_S) -> Any:
        """A call to the admin service of whichever core answers, repeated while none does."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if self._admin is None:
                    self._admin = AdminClient(self.admin_addresses, self.document["admin_token"])
                return self._admin.call(method, request)
            except CallFailed as failure:
                self._forget_admin()
                if failure.code not in UNREACHABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def open_account(
        self, credit: str, markup_bps: int = 0, requests_per_minute: int = 0, requests_per_day: int = 0
    ) -> Customer:
        """A new account with credit and a key; no limits, no markup unless said."""
        opening = admin.OpenAccountRequest(
            kind=ledger.USER,
            name="test",
            currency=ledger.TRY,
            markup_bps=markup_bps,
            requests_per_minute=requests_per_minute,
            requests_per_day=requests_per_day,
        )
        account_id = self.admin("OpenAccount", opening).account_id
        if credit != "0":
            self.credit(account_id, credit, "opening")
        key = self.admin("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="test"))
        return Customer(account_id, key.key_id, key.api_key)

    def credit(self, account_id: str, amount: str, reference: str) -> None:
        """Top up; a reference counts once."""
        self.admin(
            "CreditAccount", admin.CreditAccountRequest(account_id=account_id, amount=amount, reference=reference)
        )

    def balance(self, account_id: str) -> Any:
        """What a core says of an account now."""
        return self.admin("GetBalance", admin.AccountRef(account_id=account_id))

    def statuses(self) -> dict[str, Any]:
        """Each core's position and chain hash, by its address. Raises CallFailed."""
        found = {}
        for address in self.admin_addresses:
            client = AdminClient([address], self.document["admin_token"])
            try:
                found[address] = client.call("GetStatus", admin.GetStatusRequest())
            finally:
                client.close()
        return found

    def accounts_of(self, address: str) -> dict[str, Any]:
        """Every account as the core at `address` has it, by id. Raises CallFailed."""
        client = AdminClient([address], self.document["admin_token"])
        found: dict[str, Any] = {}
        try:
            while True:
                after = max(found, default="")
                page = client.call("ListAccounts", admin.ListAccountsRequest(limit=200, after=after)).accounts
                found.update((account.account_id, account) for account in page)
                if len(page) < 200:
                    return found
        finally:
            client.close()

    # Inside

    @property
    def _screen_path(self) -> Path:
        return self.data.with_name(self.data.name + ".screen")

    def _read_document(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data / "dev.json").read_bytes()))
        except (FileNotFoundError, ValueError):
            return {}

    def _forget_admin(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _resume_all(self, supervisor: int) -> None:
        for pid in self._children(supervisor):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue

    @staticmethod
    def _children(supervisor: int) -> set[int]:
        """Processes whose parent is the supervisor."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == supervisor:
                found.add(int(stat.parent.name))
        return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
