"""What comes over the public address: good requests, bad ones, and attacks."""

import asyncio
import time
from dataclasses import replace

import orjson
import pytest

from edge import http_impl
from runtime.settings import Settings
from tests.edge.conftest import KEY, MODEL, FakeCore, RunningEdge, until
from tests.edge.wire import Client, Response, chat, exchange, request


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    return edge_settings.model_copy(
        update={
            "header_timeout_s": 0.6,
            "body_timeout_s": 0.6,
            "max_connections": 24,
            "cors_origins": "https://app.example",
        }
    )


def assert_complete(response: Response) -> None:
    for name in ("x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"):
        assert name in response.headers
    assert response.headers["x-request-id"].startswith("req_")


async def test_a_sync_call_is_answered(edge: RunningEdge, core: FakeCore) -> None:
    """The main job."""
    response = await exchange(edge.port, request(chat()))
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert_complete(response)
    body = orjson.loads(response.body)
    assert body["id"] == response.headers["x-request-id"]
    work = core.works[0]
    assert (work.model, work.partition, work.attempt, work.stream) == (MODEL, 3, 1, False)
    assert orjson.loads(work.body)["messages"]
    assert len(work.traceparent) == 55


async def test_a_connection_serves_many_calls(edge: RunningEdge, core: FakeCore) -> None:
    """Each call would pay for a handshake."""
    client = await Client.connect(edge.port)
    for _ in range(20):
        client.writer.write(request(chat()))
        assert (await client.response()).status == 200
    client.writer.write(request(chat()) * 5)
    for _ in range(5):
        assert (await client.response()).status == 200
    client.close()


async def test_a_body_in_single_bytes_is_read(edge: RunningEdge) -> None:
    """Slow honest clients would be refused."""
    client = await Client.connect(edge.port)
    for byte in request(chat()):
        client.writer.write(bytes([byte]))
        await client.writer.drain()
    assert (await client.response()).status == 200
    client.close()


async def test_a_chunked_body_is_read(edge: RunningEdge, core: FakeCore) -> None:
    """Clients that stream their body would be refused."""
    body = chat()
    framed = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    data = request(headers={"transfer-encoding": "chunked", "content-length": ""}) + framed
    response = await exchange(edge.port, data)
    assert response.status == 200
    assert core.works[0].body == body


async def test_a_client_that_expects_continue_gets_it(edge: RunningEdge) -> None:
    """curl would wait a second for each large body."""
    client = await Client.connect(edge.port)
    body = chat()
    client.writer.write(request(headers={"content-length": str(len(body)), "expect": "100-continue"}))
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    client.writer.write(body)
    assert (await client.response()).status == 200
    client.close()


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_upgrade_is_ignored(edge: RunningEdge, core: FakeCore, size: int) -> None:
    """Java's own client asks for HTTP/2 on its first call, and its body would be lost."""
    body = chat(user="x" * size)
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AA"}
    assert (await exchange(edge.port, request(body, headers=headers))).status == 200
    assert core.works[0].body == body
    assert (await exchange(edge.port, request(method="GET", path="/v1/models", headers=headers))).status == 200


async def test_an_old_client_is_answered(edge: RunningEdge) -> None:
    """HTTP/1.0 knows no chunks."""
    client = await Client.connect(edge.port)
    client.writer.write(request(chat(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0"))
    everything = await client.reader.read()
    assert b"chunked" not in everything
    assert everything.endswith(b"data: [DONE]\n\n")


async def test_a_large_body_reaches_the_core(edge: RunningEdge, core: FakeCore) -> None:
    """Images as base64 are megabytes."""
    body = chat(user="x" * 9_000_000)
    assert (await exchange(edge.port, request(body))).status == 200
    assert core.bodies == [body]
    assert not core.works[0].body
    assert edge.edge.app.body_bytes == 0
    assert edge.edge.shelf._bytes == 0


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (request(chat(), key="sk-ony-" + "0" * 48), 401, "invalid_api_key"),
        (request(chat(), key="sk-ony-" + "f" * 48), 401, "invalid_api_key"),
        (request(chat(), key="wrong"), 401, "invalid_api_key"),
        (request(chat(), headers={"authorization": ""}), 401, "invalid_api_key"),
        (request(chat(), headers={"authorization": KEY}), 401, "invalid_api_key"),
        (request(b"{"), 400, "invalid_request"),
        (request(b'{"model": "\xff"}'), 400, "invalid_request"),
        (request(b"[" * 50_000), 400, "invalid_request"),
        (request(chat(model="m" * 1_000_000)), 400, "invalid_request"),
        (request(chat(temperature="hot")), 400, "invalid_request"),
        (request(chat(model="no/such")), 404, "model_not_found"),
        (request(chat(model="old/model")), 404, "model_not_found"),
        (request(path="/"), 404, "not_found"),
        (request(path="/v1/usages", method="GET"), 404, "not_found"),
        (request(path="/v1/video/generate"), 400, "invalid_request"),
        (request(path="/metrics", method="GET"), 404, "not_found"),
        (request(method="GET"), 405, "method_not_allowed"),
        (request(path="/v1/models"), 405, "method_not_allowed"),
        (request(path="/v1/requests/req_zz", method="GET"), 404, "not_found"),
        (request(path="/v1/models/no/model", method="GET"), 404, "model_not_found"),
        (request(method="OPTIONS"), 405, "method_not_allowed"),
        (b"NONSENSE\r\n\r\n", 400, "invalid_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60, 400, "invalid_request"),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400, "invalid_request"),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, "invalid_request"),
        (b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9_000 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 400_000, 431, "headers_too_large"),
        (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_request"),
        (b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_request"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_request"),
        (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 404, "not_found"),
        (request(path="//v1/chat/completions"), 404, "not_found"),
        (request(headers={"content-length": "10000001"}), 413, "payload_too_large"),
        (request(headers={"content-length": "9" * 18}), 413, "payload_too_large"),
    ],
    ids=range(36),
)
async def test_what_is_wrong_is_named(edge: RunningEdge, data: bytes, status: int, code: str) -> None:
    """A client could not tell what to put right; an attack would end in a 500 or a hang."""
    response = await exchange(edge.port, data)
    assert (response.status, response.code) == (status, code)
    assert_complete(response)
    assert (await exchange(edge.port, request(chat()))).status == 200


async def test_a_body_over_the_limit_is_refused_while_it_is_read(edge: RunningEdge) -> None:
    """Without a length, a client could fill the memory."""
    client = await Client.connect(edge.port)
    client.writer.write(request(headers={"transfer-encoding": "chunked", "content-length": ""}))
    piece = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)
    for _ in range(170):
        client.writer.write(piece)
        await asyncio.wait_for(client.writer.drain(), 60)
    client.writer.write(b"0\r\n\r\n")
    response = await client.response()
    assert (response.status, response.code) == (413, "payload_too_large")
    assert edge.edge.app.body_bytes == 0


async def test_an_upload_that_is_refused_can_read_why(edge: RunningEdge) -> None:
    """Closing at once would destroy the response that says that the body is too large."""
    client = await Client.connect(edge.port)
    client.writer.write(request(headers={"content-length": "12000000"}))
    for _ in range(120):
        client.writer.write(b"x" * 100_000)
        await asyncio.wait_for(client.writer.drain(), 60)
    response = await client.response()
    assert (response.status, response.code) == (413, "payload_too_large")
    assert await client.ended()


async def test_trailers_that_never_end_are_cut(edge: RunningEdge) -> None:
    """What a parser gathers behind a body would fill the memory as well."""
    client = await Client.connect(edge.port)
    client.writer.write(request(headers={"transfer-encoding": "chunked", "content-length": ""}))
    client.writer.write(b"1\r\n{\r\n0\r\nx: ")
    for _ in range(64):
        client.writer.write(b"a" * 16_384)
        await asyncio.wait_for(client.writer.drain(), 60)
    response = await client.response()
    assert (response.status, response.code) == (431, "headers_too_large")
    assert await client.ended()


async def test_headers_that_never_end_are_cut(edge: RunningEdge) -> None:
    """A few hundred such clients would take every connection (slow loris)."""
    client = await Client.connect(edge.port)
    client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")

    async def drip() -> None:
        while True:
            client.writer.write(b"a: b\r\n")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    response = await client.response()
    dripping.cancel()
    assert (response.status, response.code) == (408, "request_timeout")
    assert await client.ended()


async def test_a_second_request_that_never_ends_is_cut(edge: RunningEdge) -> None:
    """The limit would hold for a connection's first request only."""
    client = await Client.connect(edge.port)
    client.writer.write(request(chat()) + b"POST / HTTP/1.1\r\na: b")
    assert (await client.response()).status == 200
    assert (await client.response()).status == 408


async def test_a_connection_that_says_nothing_is_closed(edge: RunningEdge) -> None:
    """Silent connections would add up."""
    client = await Client.connect(edge.port)
    assert await client.ended()


async def test_an_idle_connection_is_closed(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept connections would add up."""
    monkeypatch.setattr(http_impl, "IDLE_S", 0.2)
    client = await Client.connect(edge.port)
    client.writer.write(request(chat()))
    assert (await client.response()).status == 200
    assert await client.ended()


async def test_a_body_that_pauses_is_cut(edge: RunningEdge) -> None:
    """A client that stopped sending would keep its connection for ever."""
    client = await Client.connect(edge.port)
    client.writer.write(request(b"{", headers={"content-length": "500"}))
    response = await client.response()
    assert (response.status, response.code) == (408, "request_timeout")
    assert await client.ended()


async def test_connections_are_bounded(edge: RunningEdge) -> None:
    """One client could use up the file descriptors of all."""
    edge.edge.listener.limits = replace(edge.edge.listener.limits, header_timeout_s=60.0)
    clients = [await Client.connect(edge.port) for _ in range(24)]
    await until(lambda: len(edge.edge.listener.state.connections) == 24)
    over = await Client.connect(edge.port)
    assert await over.ended()
    assert edge.edge.listener.connections_refused == 1
    for client in clients:
        client.close()
    await until(lambda: not edge.edge.listener.state.connections)
    assert (await exchange(edge.port, request(chat()))).status == 200


async def test_a_refused_call_leaves_the_connection_usable(edge: RunningEdge) -> None:
    """Each refusal would cost a new connection."""
    client = await Client.connect(edge.port)
    for _ in range(3):
        client.writer.write(request(b"{"))
        assert (await client.response()).status == 400
        client.writer.write(request(chat(), key="wrong"))
        assert (await client.response()).status == 401
    client.writer.write(request(chat()))
    assert (await client.response()).status == 200
    client.close()


async def test_errors_are_turkish_unless_english_is_preferred(edge: RunningEdge) -> None:
    """Customers would get the wrong language."""
    turkish = await exchange(edge.port, request(chat(), key="wrong"))
    english = await exchange(edge.port, request(chat(), key="wrong", headers={"accept-language": "en-US"}))
    assert "geçersiz" in orjson.loads(turkish.body)["error"]["message"]
    assert "invalid" in orjson.loads(english.body)["error"]["message"]
    raw = await exchange(edge.port, b"GET / HTTP/1.1\r\naccept-language: en\r\nx: " + b"a" * 40_000 + b"\r\n\r\n")
    assert "too large" in orjson.loads(raw.body)["error"]["message"]


@pytest.mark.parametrize("word", ["Bearer ", "bearer ", "BEARER ", "Bearer   ", "Bearer\t"])
@pytest.mark.parametrize("end", ["", "  ", "\t"])
async def test_a_key_counts_however_its_header_is_spaced(edge: RunningEdge, word: str, end: str) -> None:
    """Shells and templates leave blanks behind, and a scheme's name has no case."""
    assert (await exchange(edge.port, request(chat(), headers={"authorization": word + KEY + end}))).status == 200


async def test_a_slash_at_the_end_means_nothing(edge: RunningEdge, core: FakeCore) -> None:
    """Clients that join URLs by hand would be told that the API is not there."""
    assert (await exchange(edge.port, request(chat(), path="/v1/chat/completions/"))).status == 200
    for path, model in (("/v1/balance/", ""), ("/v1/models/", ""), ("/v1/models/a/b/", "a/b")):
        response = await exchange(edge.port, request(path=path, method="GET"))
        assert (response.status, orjson.loads(response.body)["model"]) == (200, model)


async def test_an_unknown_coding_is_named(edge: RunningEdge) -> None:
    """The message would name nothing."""
    headers = {"transfer-encoding": "gzip", "content-length": "", "accept-language": "en"}
    response = await exchange(edge.port, request(headers=headers))
    assert orjson.loads(response.body)["error"] == {"code": "invalid_request", "message": "Invalid request: HTTP."}


async def test_a_head_request_gets_no_body(edge: RunningEdge) -> None:
    """The next response on the connection would be read as garbage."""
    client = await Client.connect(edge.port)
    for path, status in (("/v1/balance", b" 200 "), ("/v1/chat/completions", b" 405 ")):
        client.writer.write(request(method="HEAD", path=path))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert status in head
        assert b"content-length: " in head
    client.writer.write(request(chat()))
    assert (await client.response()).status == 200
    client.close()


async def test_a_browser_of_a_named_origin_may_call(edge: RunningEdge) -> None:
    """The web console could not call the API."""
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    preflight = await exchange(edge.port, request(method="OPTIONS", headers=headers))
    assert preflight.status == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = await exchange(edge.port, request(chat(), headers={"origin": "https://app.example"}))
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    refused = await exchange(edge.port, request(chat(), key="x", headers={"origin": "https://app.example"}))
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    evil = await exchange(edge.port, request(chat(), headers={"origin": "https://evil.example"}))
    assert "access-control-allow-origin" not in evil.headers


async def test_look_ups_are_answered(edge: RunningEdge, core: FakeCore) -> None:
    """Customers could not see models, balance or why they were charged."""
    for path, what, model in (
        ("/v1/models", "models", ""),
        ("/v1/models/openai/gpt-test", "models", "openai/gpt-test"),
        ("/v1/models/openai%2Fgpt-test", "models", "openai/gpt-test"),
        ("/v1/balance", "balance", ""),
        ("/v1/balance?x=1", "balance", ""),
        ("/v1/requests/req_" + "0" * 24, "request", ""),
    ):
        response = await exchange(edge.port, request(path=path, method="GET"))
        assert (response.status, orjson.loads(response.body)) == (200, {"asked": what, "model": model})
        assert_complete(response)
    assert core.asks[-1][1].request_id == bytes(12)
    assert all(ask.account_id for what, ask in core.asks if what != "key")


async def test_a_load_balancer_learns_whether_to_send_calls(edge: RunningEdge) -> None:
    """It sees the public port only; the reasons, and figures, stay on the operator's."""
    response = await exchange(edge.port, request(path="/readyz", method="GET"))
    assert (response.status, orjson.loads(response.body)) == (200, {"ready": True})
    for path in ("/metrics", "/healthz"):
        assert (await exchange(edge.port, request(path=path, method="GET"))).status == 404


async def test_usage_is_unavailable_at_once_while_analytics_is_away(edge: RunningEdge) -> None:
    """A client would wait ten seconds for a report that cannot come, or take the error for its own."""
    began = time.monotonic()
    response = await exchange(edge.port, request(path="/v1/usage", method="GET"))
    assert (response.status, response.code) == (503, "service_unavailable")
    assert time.monotonic() - began < 5
    assert (await exchange(edge.port, request(path="/v1/usage?group_by=x", method="GET"))).status == 400
