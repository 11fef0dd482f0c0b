"""How a process ends: on a signal, at once on a second one, and with a reason when it fails."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import asyncio, sys
from runtime import log, process
from runtime.errors import OperatorError
from runtime.settings import Settings

async def drains(stop):
    print("up", flush=True)
    await stop.wait()
    print("drained", flush=True)

async def never_drains(stop):
    print("up", flush=True)
    await asyncio.Event().wait()

async def starts(stop):
    async def for_ever():
        print("up", flush=True)
        await asyncio.Event().wait()
    await process.unless_stopped(stop, for_ever())

async def fails(stop):
    raise ValueError("a customer's words")

async def refuses(stop):
    raise OperatorError("stream LEDGER may be trimmed; set max_bytes to -1")

log.configure(Settings(), "core")
sys.exit(process.run(globals()[sys.argv[1]]))
"""


def start(main: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, main]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_process_drain(number: signal.Signals) -> None:
    """Calls in flight would be cut at every deployment."""
    with start("drains") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.communicate(timeout=10)[0] == "drained\n"
    assert process.returncode == 0


def test_a_process_that_waits_for_a_server_can_be_stopped() -> None:
    """With NATS down a deployment would wait for the kill at the end of its patience."""
    with start("starts") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_second_signal_ends_it_at_once() -> None:
    """A person who presses Ctrl-C twice does not want to wait for a drain that hangs."""
    with start("never_drains") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "process.stopping" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 130


def test_a_failure_ends_it_without_quoting_anyone() -> None:
    """A supervisor must see the failure; a log reader must not see a prompt."""
    with start("fails") as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert '"error_type":"ValueError"' in errors
    assert "customer" not in errors


def test_an_operators_mistake_is_named() -> None:
    """Without the reason nobody knows what to put right."""
    with start("refuses") as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "stream LEDGER may be trimmed" in errors
