"""Clients that are no SDK: curl, http.client, aiohttp, httpx2 under anyio."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
from typing import Any

import aiohttp
import anyio
import httpx2
import pytest

from tests.faults.gateway import Customer, Gateway

MODEL = "openai/gpt-4o-mini"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "[[tokens=12]] Merhaba"}]}
COMMON = ("x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def bearer(customer: Customer) -> dict[str, str]:
    return {"authorization": f"Bearer {customer.api_key}"}


def events_of(text: str) -> list[Any]:
    """The events of a stream; `[DONE]` as text."""
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(events: list[Any]) -> str:
    parts = [choice["delta"].get("content") or "" for event in events[:-1] for choice in event["choices"]]
    return "".join(parts)


@pytest.fixture(scope="module")
def expected(gateway: Gateway, rich: Customer) -> str:
    """The one answer to HELLO."""
    return str(ask(gateway, "POST", "/chat/completions", bearer(rich), HELLO)[2]["choices"][0]["message"]["content"])


def ask(
    gateway: Gateway, method: str, path: str, headers: dict[str, str], body: object = None, edge: int = 0
) -> tuple[int, dict[str, str], Any]:
    """One request with http.client: status, headers, JSON."""
    url = urllib.parse.urlsplit(gateway.base_urls[edge])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    connection.request(method, url.path + path, content, headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, fields, json.loads(said) if said else None


@pytest.mark.parametrize(
    ("method", "path", "authorized", "body", "status"),
    [
        ("POST", "/chat/completions", True, HELLO, 200),
        ("GET", "/models", True, None, 200),
        ("GET", "/models/openai/gpt-4o-mini", True, None, 200),
        ("GET", "/models/openai%2Fgpt-4o-mini", True, None, 200),
        ("GET", "/balance", True, None, 200),
        ("POST", "/chat/completions", True, b"{", 400),
        ("POST", "/chat/completions", True, b"\xff\xfe", 400),
        ("POST", "/chat/completions", True, b"[" * 100_000, 400),
        ("POST", "/chat/completions", False, HELLO, 401),
        ("GET", "/balance", False, None, 401),
        ("GET", "/models/no/such", True, None, 404),
        ("GET", "/requests/req_000000000000000000000000", True, None, 404),
        ("GET", "/requests/nonsense", True, None, 404),
        ("GET", "/nothing/here", True, None, 404),
        ("GET", "/chat/completions", True, None, 405),
    ],
)
def test_every_response_has_the_headers(
    gateway: Gateway, rich: Customer, method: str, path: str, authorized: bool, body: object, status: int
) -> None:
    """Support cannot find a call without its id, and programs pace themselves by the limits."""
    for edge in (0, 1):
        found, fields, said = ask(gateway, method, path, bearer(rich) if authorized else {}, body, edge)
        assert found == status
        assert all(name in fields for name in COMMON)
        assert fields["content-type"].startswith("application/json")
        if status >= 400:
            assert said.keys() == {"success", "error"}
            assert said["success"] is False
            assert said["error"].keys() == {"code", "message"}


def test_the_reset_is_near(gateway: Gateway, rich: Customer) -> None:
    """A program that waits for the reset must not wait for long."""
    _, fields, _ = ask(gateway, "POST", "/chat/completions", bearer(rich), HELLO)
    assert -2 <= int(fields["x-ratelimit-reset"]) - time.time() <= 62


def test_two_equal_requests_are_two_charges(gateway: Gateway) -> None:
    """A client's own request id must never become the charge's (it would be served for nothing, or refused)."""
    customer = gateway.open_account("1.00")
    headers = bearer(customer) | {"x-request-id": "mine", "idempotency-key": "mine"}
    body = {**HELLO, "model": "sandbox/fixed-price"}
    ids = {ask(gateway, "POST", "/chat/completions", headers, body)[1]["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert gateway.balance(customer.account_id).balance == "0.70"


def test_keys_never_come_back(gateway: Gateway, rich: Customer) -> None:
    """An error that repeats a key puts it into somebody's log."""
    for path in ("/chat/completions", "/nothing"):
        _, fields, said = ask(gateway, "POST", path, {"authorization": f"Bearer {rich.api_key}x"}, HELLO)
        assert rich.api_key not in json.dumps([fields, said])


def test_curl(gateway: Gateway, rich: Customer, expected: str) -> None:
    """The line that the welcome screen prints."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    url = f"{gateway.base_urls[1]}/chat/completions"
    body = json.dumps({**HELLO, "stream": True})
    words = [curl, "-sSN", "--fail-with-body", "-m", "30", url, "-d", body]
    words += ["-H", f"Authorization: Bearer {rich.api_key}", "-H", "Content-Type: application/json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    events = events_of(done.stdout)
    assert events[-1] == "[DONE]"
    assert text_of(events) == expected


def test_one_connection_serves_many_calls(gateway: Gateway, rich: Customer, poor: Customer) -> None:
    """A connection that an error closes costs each later call a new one."""
    url = urllib.parse.urlsplit(gateway.base_urls[0])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    connection.connect()
    first = connection.sock
    statuses = []
    for customer in (rich, poor, rich, poor, rich):
        connection.request("POST", url.path + "/chat/completions", json.dumps(HELLO), bearer(customer))
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        assert connection.sock is first
    connection.close()
    assert statuses == [200, 402, 200, 402, 200]


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, rich: Customer) -> None:
    """HTTP/1.1 allows it, and proxies do it."""
    url = urllib.parse.urlsplit(gateway.base_urls[0])
    body = json.dumps(HELLO)
    head = f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rich.api_key}\r\n"
    one = f"{head}content-length: {len(body)}\r\n\r\n{body}"
    last = f"GET {url.path}/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall((one * 2 + last).encode())
        said = b""
        while piece := connection.recv(65_536):
            said += piece
    assert re.findall(rb"HTTP/1\.1 (\d+) ", said) == [b"200", b"200", b"404"]


async def test_aiohttp_streams(gateway: Gateway, rich: Customer, expected: str) -> None:
    """A client that reads raw bytes, with a chunked request body."""

    async def pieces() -> Any:
        yield json.dumps({**HELLO, "stream": True}).encode()

    async with (
        aiohttp.ClientSession(headers=bearer(rich)) as session,
        session.post(f"{gateway.base_urls[0]}/chat/completions", data=pieces()) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(await answer.text())
    assert events[-1] == "[DONE]"
    assert text_of(events) == expected


def test_httpx_under_anyio(gateway: Gateway, rich: Customer, expected: str) -> None:
    """The stack that other people's frameworks use."""

    async def many() -> list[str]:
        texts: list[str] = []

        async def one(client: httpx2.AsyncClient, edge: int) -> None:
            url = f"{gateway.base_urls[edge]}/chat/completions"
            async with client.stream("POST", url, json={**HELLO, "stream": True}) as answer:
                lines = [line async for line in answer.aiter_lines()]
            texts.append(text_of(events_of("\n".join(lines))))

        async with httpx2.AsyncClient(headers=bearer(rich), timeout=30) as client, anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, client, number % 2)
        return texts

    assert set(anyio.run(many)) == {expected}


def test_the_whole_of_ten_megabytes(gateway: Gateway, rich: Customer) -> None:
    """Up to the limit a body is taken, over it nothing of it is."""
    body = json.dumps({**HELLO, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5})
    large = body.replace('"x"', '"' + "x" * (10_000_000 - len(body)) + '"').encode()
    assert ask(gateway, "POST", "/chat/completions", bearer(rich), large + b" " * 100)[0] == 413
    status, _, said = ask(gateway, "POST", "/chat/completions", bearer(rich), large)
    assert (status, said["error"]["code"]) == (400, "invalid_request"), "too long for the model, not for the gateway"
