"""The connection: a process that has lost its server must notice, come back, and lose nothing in silence."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus import connection as connection_module
from bus.connection import Connection
from bus.errors import NoCore, PayloadTooLarge, RequestTimeout
from bus.server_config import render
from bus.transport import Message
from runtime.settings import Settings
from tests.bus.conftest import Proxy, until
from tests.conftest import NatsServer, free_port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = [openssl, "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(connection_module, "HEARTBEAT_TIMEOUT_S", 0.3)


@pytest.fixture(params=["direct", "through nats-py"])
async def either(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Connection]:
    """A connection of each kind."""
    opened = await Connection.open(settings, "either", direct=request.param == "direct")
    yield opened
    await opened.close()


async def test_a_request_is_answered(either: Connection) -> None:
    """Without it no edge could ask a core about a key."""
    await either.subscribe_direct("ask.key", lambda m: either.send(m.reply, m.data + b"!") and None, queue="core")
    assert await either.request("ask.key", b"hello", 2.0) == b"hello!"


async def test_a_subscription_may_be_made_while_the_socket_dies(connection: Connection) -> None:
    """A tail that looks for another consumer just then would stop for good, and with it the process's fold."""
    flusher = connection.client._flusher_task
    assert flusher is not None
    flusher.cancel()
    await asyncio.gather(flusher, return_exceptions=True)
    connection._wire.close()
    assert connection.client.is_connected
    got: list[bytes] = []
    subscription = await connection.subscribe_direct("news", lambda message: got.append(message.data))
    await until(lambda: connection.connected)
    await until(lambda: connection.send("news", b"1") and bool(got))
    connection._wire.close()
    await subscription.unsubscribe()


async def test_a_subscription_may_be_made_while_a_failed_socket_is_not_known_yet(connection: Connection) -> None:
    """An error ends a socket a turn of the loop before anybody hears of it; a tail that subscribes then would stop."""
    got: list[bytes] = []
    assert connection._wire._tcp is not None
    connection._wire._tcp.abort()
    assert connection._wire.open
    subscription = await connection.subscribe_direct("news", lambda message: got.append(message.data))
    await until(lambda: connection.connected)
    await until(lambda: connection.send("news", b"1") and bool(got))
    connection._wire._tcp.abort()
    await subscription.unsubscribe()


async def test_no_core_is_known_at_once(either: Connection) -> None:
    """A caller must not wait out its patience when no core is there."""
    with pytest.raises(NoCore):
        await either.request("ask.key", b"", 5.0)


async def test_silence_is_a_timeout(either: Connection) -> None:
    await either.subscribe_direct("ask.key", lambda _: None)
    with pytest.raises(RequestTimeout):
        await either.request("ask.key", b"", 0.1)
    with pytest.raises(TimeoutError):
        await either.request("ask.key", b"", 0.1)


async def test_messages_keep_their_order_and_size(either: Connection) -> None:
    """Frames of one answer are bytes of one text: order and content must hold up to the largest message."""
    received: list[bytes] = []
    await either.subscribe_direct("rsp.a.*", lambda m: received.append(m.data))
    sent = [bytes([i % 251]) * (1 + (i * 7919) % 70_000) for i in range(300)] + [b"x" * 1_048_576]
    for data in sent:
        assert await either.publish("rsp.a.1", data)
    await until(lambda: len(received) == len(sent))
    assert received == sent


async def test_a_publish_cannot_overtake_the_subscription_before_it(either: Connection) -> None:
    """Otherwise a request's answer could come before the server knows who waits for it."""
    for i in range(200):
        received: list[bytes] = []
        await either.subscribe_direct(f"inbox.{i}", lambda m, out=received: out.append(m.data))
        either.send(f"inbox.{i}", b"1")
        await either.settle(5.0)
        assert received == [b"1"]


async def test_a_failing_callback_costs_nobody_else(connection: Connection) -> None:
    """One malformed message must not cut off all calls of the process."""
    received: list[bytes] = []

    def fail(message: Message) -> None:
        raise ValueError(message.data)

    await connection.subscribe_direct("bad", fail)
    await connection.subscribe_direct("good", lambda m: received.append(m.data))
    for _ in range(3):
        connection.send("bad", b"secret")
        connection.send("good", b"1")
    await connection.settle(5.0)
    assert received == [b"1"] * 3
    assert connection.reconnects == 0


async def test_a_subject_cannot_carry_a_command(connection: Connection) -> None:
    """A name from outside must not let its sender publish what it likes."""
    for subject in ("a\r\nPUB ledger.00 0\r\n", "a b", "", "a\nb", "a\tb"):
        with pytest.raises(ValueError, match="subject"):
            connection.send(subject, b"")
        with pytest.raises((ValueError, PayloadTooLarge)):
            connection.send("ok", b"", subject or " ")


async def test_too_large_a_payload_is_refused_before_the_server_cuts_the_connection(connection: Connection) -> None:
    with pytest.raises(PayloadTooLarge):
        connection.send("rsp.a.1", b"x" * (1024 * 1024 + 1))
    await connection.settle(5.0)
    assert connection.reconnects == 0


async def test_leaving_a_queue_group_loses_no_work(settings: Settings, connection: Connection) -> None:
    """Work that the server gave to a core which is being stopped must still be done by it."""
    cores = [await Connection.open(settings, f"core-{i}") for i in range(2)]
    received: list[bytes] = []
    subscriptions = [
        await core.subscribe_direct("work.*.chat", lambda m: received.append(m.data), "core") for core in cores
    ]
    for core in cores:
        await core.settle(5.0)
    sent = [str(i).encode() for i in range(5_000)]
    for data in sent[:2_500]:
        connection.send("work.00.chat", data)
    leaving = asyncio.create_task(subscriptions[0].unsubscribe())
    await asyncio.sleep(0)
    for data in sent[2_500:]:
        connection.send("work.00.chat", data)
    await leaving
    await until(lambda: len(received) == len(sent))
    assert sorted(received) == sorted(sent)
    for core in cores:
        await core.close()


async def test_it_comes_back_after_the_server_was_killed(either: Connection, nats_server: NatsServer) -> None:
    """A restart of the server must not need a restart of the gateway."""
    received: list[bytes] = []
    events: list[str] = []
    either.on_disconnected(lambda: events.append("down"))
    either.on_reconnected(lambda: events.append("up"))
    await either.subscribe_direct("rsp.a.*", lambda m: received.append(m.data))
    for round_number in range(3):
        nats_server.kill()
        await until(lambda: not either.connected)
        assert either.send("rsp.a.1", b"lost") is False
        with pytest.raises(NoCore):
            await either.request("ask.key", b"", 1.0)
        nats_server.start()
        await until(lambda expected=round_number + 1: events.count("up") == expected)
        assert either.send("rsp.a.1", b"kept")
        await until(lambda expected=round_number + 1: len(received) == expected)
    assert received == [b"kept"] * 3
    assert events == ["down", "up"] * 3


async def test_waiting_requests_end_when_the_connection_breaks(connection: Connection, nats_server: NatsServer) -> None:
    """A call must not wait for an answer that can no longer come."""
    await connection.subscribe_direct("ask.key", lambda _: None)
    request = asyncio.create_task(connection.request("ask.key", b"", 60.0))
    await connection.settle(5.0)
    nats_server.kill()
    with pytest.raises(RequestTimeout):
        await asyncio.wait_for(request, 5)


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_peer_that_is_silent_is_left(nats_server: NatsServer, proxy: Proxy) -> None:
    """A dead link without a reset would otherwise hold every call for minutes."""
    connection = await Connection.open(Settings(nats_url=proxy.url), "test")
    before = proxy.connections
    proxy.frozen = True
    await until(lambda: proxy.connections > before)
    proxy.frozen = False
    await until(lambda: connection.reconnects > 0 and connection.connected)
    await connection.settle(5.0)
    await connection.close()


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_dead_read_loop_is_noticed(connection: Connection) -> None:
    """nats-py's read loop may end while it says that it is connected (as with acknowledgements of version 2)."""
    task = connection.client._reading_task
    assert task is not None
    task.cancel()
    await until(lambda: connection.reconnects > 0)
    await connection.settle(5.0)


async def test_cut_connections_are_made_again_with_all_subscriptions(nats_server: NatsServer, proxy: Proxy) -> None:
    connection = await Connection.open(Settings(nats_url=proxy.url), "test")
    received: list[bytes] = []
    await connection.subscribe_direct("a.*", lambda m: received.append(m.data))
    for expected in range(1, 6):
        proxy.cut()
        await until(lambda count=expected: connection.reconnects >= count and connection.connected)
        await connection.settle(5.0)
        connection.send("a.1", b"1")
        await until(lambda count=expected: len(received) == count)
    await connection.close()


async def test_an_error_from_the_server_does_not_close_for_ever(connection: Connection) -> None:
    """nats-py closes its client for good on most errors; a gateway has to come back from all of them."""
    connection._wire.write(b"NONSENSE\r\n")
    await until(lambda: connection.errors > 0)
    await until(lambda: connection.reconnects > 0 and connection.connected)
    await connection.settle(5.0)


async def test_a_buffer_that_nobody_empties_refuses(nats_server: NatsServer, proxy: Proxy) -> None:
    """Memory must not grow with what a stalled server does not take."""
    connection = await Connection.open(Settings(nats_url=proxy.url), "test")
    proxy.frozen = True
    piece = b"x" * 1_000_000
    sent = 0
    for _ in range(64):
        if not connection.send("a.1", piece):
            break
        sent += 1
        await asyncio.sleep(0)
    assert sent < 64
    assert connection.refused == 1
    proxy.frozen = False
    await connection.close()


async def test_over_tls(tmp_path: Path) -> None:
    """Machines of one gateway talk over networks that others share."""
    key, certificate = make_certificate(tmp_path)
    port = free_port()
    extra = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    server = NatsServer(tmp_path, render(port, tmp_path / "store", extra=extra), port)
    server.start()
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    try:
        opened = Connection.open(Settings(nats_url=f"tls://localhost:{port}"), "test")
        connection = await asyncio.wait_for(opened, 60)
        received: list[bytes] = []
        await connection.subscribe_direct("a", lambda m: received.append(m.data))
        await connection.publish("a", b"x" * 500_000)
        await connection.settle(5.0)
        assert [len(data) for data in received] == [500_000]
        await connection.close()
    finally:
        monkeypatch.undo()
        server.kill()


async def test_credentials_are_used(tmp_path: Path) -> None:
    port = free_port()
    extra = 'authorization { user: "edge", password: "s3cret" }\n'
    server = NatsServer(tmp_path, render(port, tmp_path / "store", extra=extra), port)
    server.start()
    try:
        settings = Settings(nats_url=server.url, nats_user="edge", nats_password="s3cret")
        connection = await asyncio.wait_for(Connection.open(settings, "test"), 60)
        await connection.settle(5.0)
        await connection.close()
        wrong = Settings(nats_url=server.url, nats_user="edge", nats_password="wrong")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Connection.open(wrong, "test"), 1)
    finally:
        server.kill()
