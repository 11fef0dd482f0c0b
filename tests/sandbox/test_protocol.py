"""HTTP itself: what a client sends badly must not break the others."""

import asyncio

import orjson

from sandbox import protocol
from tests.sandbox.conftest import DEADLINE_S, Client

_BODY = orjson.dumps({"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "[[tokens=1]]"}]})
_HEAD = b"POST /api/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n"
_CALL = _HEAD + b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY


async def talk(port: int, data: bytes) -> bytes:
    """Send and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


async def test_pipelined_calls_are_answered_in_order(sandbox: Client) -> None:
    close = _CALL.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n")
    answer = await talk(sandbox.port, _CALL * 3 + close)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    ids = [entry["id"].encode() for entry in await sandbox.journal()]
    places = [answer.index(b'"id":"' + each) for each in ids]
    assert places == sorted(places)


async def test_a_body_in_chunks_and_pieces(sandbox: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    data = _HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    data += b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, _BODY[:10], len(_BODY) - 10, _BODY[10:])
    for at in range(0, len(data), 7):
        writer.write(data[at : at + 7])
        await writer.drain()
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_expect_continue(sandbox: Client) -> None:
    """Some clients wait for it before a large body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(_HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(_BODY))
    assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == b"HTTP/1.1 100 Continue\r\n"
    await reader.readline()
    writer.write(_BODY)
    assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def test_limits(sandbox: Client) -> None:
    """Memory of the sandbox is bounded whatever is sent."""
    assert (await talk(sandbox.port, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")
    long_head = _HEAD + b"x: " + b"y" * (protocol.HEADERS_BYTES_MAX + 10)
    assert (await talk(sandbox.port, long_head)).startswith(b"HTTP/1.1 431")
    assert await sandbox.get("/healthz") == {"status": "ok"}


async def test_a_body_over_the_limit(sandbox: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(_HEAD + b"content-length: %d\r\n\r\n" % (protocol.BODY_BYTES_MAX + 1))
    piece = b" " * 1_048_576
    answer = asyncio.create_task(reader.readline())
    for _ in range(33):
        if answer.done() or writer.transport.is_closing():
            break
        writer.write(piece)
        await asyncio.sleep(0)
    assert (await asyncio.wait_for(answer, DEADLINE_S)).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_too_many_pipelined_calls_close_the_connection(sandbox: Client) -> None:
    await sandbox.control(latency_ms=60_000)
    try:
        assert await talk(sandbox.port, _CALL * (protocol.PIPELINED_MAX + 2)) == b""
    except ConnectionResetError:
        pass


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(sandbox: Client) -> None:
    body = _BODY[:-1] + b',"stream":true}'
    head = _HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await talk(sandbox.port, head + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.endswith(b"data: [DONE]\n\n")
    assert b"chunked" not in answer
