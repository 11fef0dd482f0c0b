"""How the CLI finds an instance, and what it does when there is none."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import instance
from cli.app import global_options_first
from proto.onysoft.v1 import admin_pb2 as admin
from tests.cli.conftest import TOKEN, FakeAdmin, Onysoft

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "acc_" + "a" * 24


@pytest.fixture
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ONYSOFT_ADMIN_ADDRESS", "ONYSOFT_ADMIN_TOKEN", "ONYSOFT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(instance, "_POINTER", tmp_path / "current")


def dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def write_instance(folder: Path, addresses: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "dev.json").write_text(json.dumps({"admin_addresses": addresses, "admin_token": TOKEN, "ready": True}))


@pytest.mark.usefixtures("nothing_named")
def test_without_an_instance_the_message_says_what_to_do(onysoft: Onysoft) -> None:
    done = onysoft("balance", ACCOUNT, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "no_instance")
    assert "./dev up" in done.err


def test_the_instance_that_is_up_is_found(
    admin_server: FakeAdmin, onysoft: Onysoft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_named: None
) -> None:
    """`./dev balance ACC` must work without naming anything."""
    write_instance(tmp_path / "data", [admin_server.address])
    admin_server.answers["GetBalance"] = admin.Balance(balance="1.00")
    assert onysoft("balance", ACCOUNT, "--data", str(tmp_path / "data"), "--json").json["balance"] == "1.00"
    (tmp_path / "current").write_text(f"{tmp_path / 'data'}\n")
    assert onysoft("balance", ACCOUNT, "--json").json["balance"] == "1.00"
    (tmp_path / "current").unlink()
    monkeypatch.setenv("ONYSOFT_DATA", str(tmp_path / "data"))
    assert onysoft("balance", ACCOUNT, "--json").json["balance"] == "1.00"


@pytest.mark.usefixtures("nothing_named")
def test_when_one_core_is_down_the_next_is_asked(admin_server: FakeAdmin, onysoft: Onysoft, tmp_path: Path) -> None:
    """An operator must be able to credit a customer while a core restarts."""
    write_instance(tmp_path / "data", [dead_address(), admin_server.address])
    admin_server.answers["GetBalance"] = admin.Balance(balance="1.00")
    assert onysoft("--data", str(tmp_path / "data"), "balance", ACCOUNT, "--json").json["balance"] == "1.00"


def test_a_dead_core_is_unavailable(onysoft: Onysoft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONYSOFT_ADMIN_ADDRESS", dead_address())
    done = onysoft("balance", ACCOUNT, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "unavailable")


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        (["balance", "A", "--json"], ["--json", "balance", "A"]),
        (["balance", "--data", "D", "A"], ["--data", "D", "balance", "A"]),
        (["balance", "--data=D", "A"], ["--data=D", "balance", "A"]),
        (["key", "issue", "A", "--name", "n", "--", "--json"], ["key", "issue", "A", "--name", "n", "--", "--json"]),
    ],
)
def test_common_options_may_stand_anywhere(words: list[str], moved: list[str]) -> None:
    assert global_options_first(words) == moved


def test_a_process_refuses_wrong_settings_without_showing_them() -> None:
    """A secret in the wrong variable must not end up in a log."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "edge"],
        cwd=ROOT,
        env={"ONYSOFT_EDGE_PORT": "hunter2", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "ONYSOFT_EDGE_PORT" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_process_takes_no_words() -> None:
    """`onysoft edge --port 1` must not start an edge on another port than was asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "edge", "--port", "1"],
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2


def test_starting_an_edge_loads_nothing_that_only_the_cli_needs() -> None:
    """An edge has 80 MB: grpc, typer and rich would take a third of it."""
    program = (
        "import sys\n"
        "import cli.main, cli.processes\n"
        "loaded = {'grpc', 'typer', 'cli.app', 'core'} & set(sys.modules)\n"
        "sys.exit(repr(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
