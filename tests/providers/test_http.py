"""The HTTP client where the adapters' suite does not reach: TLS, odd answers, bounds, waiting."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from core.providers import exchange
from core.providers.http import HttpClient, Limits, default_tls
from core.providers.port import FailureKind, ProviderFailure
from runtime.settings import Settings
from tests.providers.conftest import Script, until
from tests.providers.scripted import CLOSE, STALL, Scripted, answer

QUICK = Limits(connections_max=2, connect_s=1.0)


async def fetch(client: HttpClient, deadline_s: float = 5.0) -> bytes:
    reply = await client.fetch("POST", "/x", b"{}", {}, deadline_s)
    return reply.body()


async def failure_of(client: HttpClient, deadline_s: float = 5.0) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await fetch(client, deadline_s)
    return caught.value


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and its certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "san.txt").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
        "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=127.0.0.1",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out leaf.pem -extfile san.txt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


async def secure_server(script: Script, certificates: Path) -> Scripted:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "leaf.pem", certificates / "leaf.key")
    return await script([answer(b"x" * 300_000)], tls=context)


async def test_tls_with_a_known_authority(script: Script, certificates: Path) -> None:
    server = await secure_server(script, certificates)
    context = default_tls()
    context.load_verify_locations(certificates / "ca.pem")
    client = HttpClient(server.url, {}, Limits(), context)
    for _ in range(3):
        assert await fetch(client) == b"x" * 300_000
    assert server.connections == 1
    await client.close()


async def test_tls_of_an_unknown_authority_gets_no_key(script: Script, certificates: Path) -> None:
    """Whoever sits between us and the provider would read every prompt and our key."""
    server = await secure_server(script, certificates)
    client = HttpClient(server.url, {"authorization": "Bearer secret"}, Limits())
    failure = await failure_of(client)
    assert (failure.kind, failure.reason, failure.began) == (FailureKind.UNAVAILABLE, "tls", False)
    assert server.requests == []
    await client.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"ok"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\ntrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nok",
    ],
    ids=["informational", "chunked", "until-eof", "http/1.0"],
)
async def test_legal_answers_are_read(script: Script, raw: bytes) -> None:
    server = await script([raw, 0.05, CLOSE])
    client = HttpClient(server.url, {}, Limits())
    assert await fetch(client) == b"ok"
    await client.close()


async def test_an_answer_split_at_every_byte(script: Script) -> None:
    whole = answer(b'{"a":1}')
    server = await script([step for byte in whole for step in (bytes([byte]), 0.0005)])
    client = HttpClient(server.url, {}, Limits())
    assert await fetch(client) == b'{"a":1}'
    await client.close()


@pytest.mark.parametrize("extra", [answer(b"second"), b"garbage"])
async def test_bytes_that_nobody_asked_for_reach_no_other_call(script: Script, extra: bytes) -> None:
    """The next customer would be shown an answer that is not theirs."""
    server = await script([answer(b"first") + extra], [answer(b"third")])
    client = HttpClient(server.url, {}, Limits())
    assert await fetch(client) == b"first"
    assert await fetch(client) == b"third"
    assert server.connections == 2
    await client.close()


async def test_late_bytes_on_an_unused_connection_reach_no_call(script: Script) -> None:
    server = await script([answer(b"first"), 0.05, answer(b"second")], [answer(b"third")])
    client = HttpClient(server.url, {}, Limits())
    assert await fetch(client) == b"first"
    await until(lambda: server.open_connections == 0, "the connection is dropped")
    assert await fetch(client) == b"third"
    await client.close()


async def test_a_connection_closed_while_unused_is_not_used(script: Script) -> None:
    server = await script([answer(b"first"), CLOSE], [answer(b"second")])
    client = HttpClient(server.url, {}, Limits())
    assert await fetch(client) == b"first"
    await until(lambda: client.connections == 0, "the client saw that it was closed")
    assert await fetch(client) == b"second"
    await client.close()


async def test_headers_without_end_are_refused(script: Script) -> None:
    server = await script([b"HTTP/1.1 200 OK\r\n", *[b"x-filler: " + b"y" * 60_000 + b"\r\n"] * 8, STALL])
    client = HttpClient(server.url, {}, Limits())
    assert (await failure_of(client)).kind is FailureKind.PROTOCOL
    await client.close()


async def test_a_body_without_end_is_refused(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer would fill the core's memory."""
    monkeypatch.setattr(exchange, "WHOLE_BYTES_MAX", 1_000_000)
    server = await script([b"HTTP/1.1 200 OK\r\n\r\n", *[b"z" * 60_000] * 30, STALL])
    client = HttpClient(server.url, {}, Limits())
    failure = await failure_of(client)
    assert (failure.kind, failure.reason) == (FailureKind.PROTOCOL, "too_large")
    await client.close()


async def test_a_call_waits_for_a_connection_and_not_for_ever(script: Script) -> None:
    server = await script([STALL])
    client = HttpClient(server.url, {}, QUICK)
    running = [asyncio.create_task(fetch(client)) for _ in range(2)]
    await until(lambda: len(server.requests) == 2, "both connections are taken")
    failure = await failure_of(client)
    assert (failure.kind, failure.reason, failure.began) == (FailureKind.TIMEOUT, "no_connection_free", False)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await client.close()


async def test_cancelled_calls_give_their_places_back(script: Script) -> None:
    """After a wave of clients that left, a core could not reach its provider any more."""
    server = await script([0.02, answer(b"ok")])
    client = HttpClient(server.url, {}, Limits(connections_max=2))
    for turn in range(40):
        tasks = [asyncio.create_task(fetch(client)) for _ in range(8)]
        await asyncio.sleep(0.001 * turn)
        for task in tasks[turn % 3 :: 2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result == b"ok" or isinstance(result, asyncio.CancelledError) for result in results)
    assert await asyncio.gather(*(fetch(client) for _ in range(8))) == [b"ok"] * 8
    await until(lambda: server.open_connections <= 2, "the bound holds")
    await client.close()


async def test_calls_that_run_when_the_client_closes_fail(script: Script) -> None:
    server = await script([STALL])
    client = HttpClient(server.url, {}, QUICK)
    running = [asyncio.create_task(fetch(client)) for _ in range(3)]
    await until(lambda: len(server.requests) == 2, "both connections are taken")
    await client.close()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(result, ProviderFailure) for result in results)
    assert (await failure_of(client)).reason == "closed"


async def test_a_name_that_does_not_exist() -> None:
    client = HttpClient("http://provider.invalid", {}, QUICK)
    failure = await failure_of(client)
    assert failure.reason == "name_resolution"
    assert not failure.began
    await client.close()


async def test_a_header_cannot_end_its_line(script: Script) -> None:
    server = await script([answer(b"ok")])
    client = HttpClient(server.url, {}, Limits())
    await client.fetch("POST", "/x", b"{}", {"tracestate": "a\r\nauthorization: evil", "traceparent": "ok"}, 5.0)
    assert b"evil" not in server.requests[0]
    assert b"traceparent: ok\r\n" in server.requests[0]
    await client.close()


@pytest.mark.parametrize("url", ["", "openrouter.ai", "ftp://x/", "http://", "http://x/?a=1", "https://x/#a"])
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        HttpClient(url, {}, Limits())


def test_limits_are_the_operator_s() -> None:
    settings = Settings(provider_connections=7, first_byte_timeout_s=8, provider_idle_timeout_s=9)
    assert Limits.of(settings) == Limits(connections_max=7, first_byte_s=8, idle_s=9)
