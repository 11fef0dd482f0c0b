"""The official Node SDK, with only `baseURL` and `apiKey` changed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.gateway import Customer, Gateway, wait_until

FOLDER = Path(__file__).parent / "node"
INSTALL_TIMEOUT_S = 120
RUN_TIMEOUT_S = 60

Told = dict[str, Any]


def installed() -> bool:
    """Whether node_modules holds what the lock names."""
    lock, marker = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    return marker.exists() and marker.stat().st_mtime >= lock.stat().st_mtime


@pytest.fixture(scope="module")
def told(gateway: Gateway, rich: Customer, poor: Customer, suspended: Customer) -> Told:
    """What the Node program saw."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is not installed")
    if not installed():
        words = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(words, cwd=FOLDER, check=True, timeout=INSTALL_TIMEOUT_S, capture_output=True)
    words = [node, "calls.mjs", gateway.base_urls[0], rich.api_key, poor.api_key, suspended.api_key]
    done = subprocess.run(words, cwd=FOLDER, timeout=RUN_TIMEOUT_S, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_whole_answer(told: Told) -> None:
    """Node programs would not run, or would show no cost."""
    whole = told["whole"]
    assert whole["id"] == whole["requestId"]
    assert whole["id"].startswith("req_")
    assert len(whole["content"].split()) == 12
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["cost"]["currency"] == "TRY"
    assert whole["cost"]["amount"] > 0
    assert int(whole["remaining"]) > 0


def test_a_streamed_answer_is_the_same_answer(told: Told) -> None:
    """A stream that loses or doubles a piece shows a wrong answer."""
    stream = told["stream"]
    assert stream["content"] == told["whole"]["content"] == told["helper"]["content"]
    assert len(stream["ids"]) == 1
    assert stream["choices"] == []
    assert stream["cost"] == told["whole"]["cost"]
    assert stream["usage"]["completion_tokens"] == 12
    assert told["helper"]["finish"] == "stop"


def test_tools(told: Told) -> None:
    """Agents could not call their tools."""
    assert told["tools"]["name"] == "weather"
    assert isinstance(told["tools"]["arguments"]["city"], str)


def test_an_aborted_stream_pays_for_what_it_took(gateway: Gateway, rich: Customer, told: Told) -> None:
    """A client that leaves would pay for all of an answer, or hold its balance for long."""
    assert told["abort"]["chunks"] >= 5
    balance = wait_until(
        lambda: (found := gateway.balance(rich.account_id)).open_holds == 0 and found, 20, "the end of every hold"
    )
    assert balance.held == "0.00"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("badKey", ("AuthenticationError", 401, "invalid_api_key")),
        ("notAKey", ("AuthenticationError", 401, "invalid_api_key")),
        ("poor", ("APIError", 402, "insufficient_balance")),
        ("suspended", ("PermissionDeniedError", 403, "project_suspended")),
        ("model", ("NotFoundError", 404, "model_not_found")),
        ("temperature", ("BadRequestError", 400, "invalid_request")),
        ("streamed", ("BadRequestError", 400, "invalid_request")),
    ],
)
def test_refusals_have_class_and_code(told: Told, name: str, expected: tuple[str, int, str]) -> None:
    """A program decides by class and code what to do next."""
    refusal = told["refusals"][name]
    assert (refusal["class"], refusal["status"], refusal["code"]) == expected
    assert refusal["message"]
    assert refusal["requestId"].startswith("req_")


def test_models(told: Told) -> None:
    """A client that lists models would find none."""
    assert told["models"]["count"] >= 20
    assert told["models"]["one"] == "openai/gpt-4o-mini"
