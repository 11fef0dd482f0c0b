"""The server's configuration: what it leaves out, a power cut takes."""

import asyncio
from pathlib import Path

import orjson
import pytest

from bus.connection import Connection
from bus.server_config import render
from tests.conftest import NatsServer, free_port


def test_writes_are_synced_and_acknowledgements_readable() -> None:
    text = render(4222, Path("/data/nats"))
    assert "sync_interval: always" in text
    assert "js_ack_fc_v2: false" in text
    assert 'host: "127.0.0.1"' in text


def test_a_path_cannot_change_the_configuration() -> None:
    with pytest.raises(ValueError, match="configuration"):
        render(4222, Path('/data"\nsync_interval: 2m #'))


async def test_the_server_syncs_every_write(tmp_path: Path) -> None:
    """Asked of the server itself: a word that it does not know would leave two minutes of charges in memory."""
    port, monitor_port = free_port(), free_port()
    extra = f'http: "127.0.0.1:{monitor_port}"\n'
    server = NatsServer(tmp_path, render(port, tmp_path / "store", extra=extra), port)
    server.start()
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", monitor_port)
            writer.write(b"GET /jsz HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
    finally:
        server.kill()
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["config"]["sync_always"] is True


async def test_messages_are_at_most_a_mebibyte(connection: Connection) -> None:
    assert connection.client.max_payload == 1024 * 1024
