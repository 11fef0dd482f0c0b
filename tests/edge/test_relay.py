"""Calls between a client and a core, and what happens when one of the two is gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import openai
import orjson
import pytest

from bus import frames
from bus.connection import Connection
from bus.frames import Answer
from edge.main import Edge
from proto.onysoft.v1 import usage_pb2, work_pb2
from runtime.settings import Settings
from tests.conftest import NatsServer
from tests.edge.conftest import (
    KEY,
    LIMIT,
    MODEL,
    UNMIRRORED_KEY,
    FakeCore,
    RunningEdge,
    answer_ok,
    chunk,
    key_hash,
    until,
)
from tests.edge.wire import Client, chat, exchange, request

MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "x"}]
Handler = Callable[[work_pb2.WorkRequest, Answer], Awaitable[None]]


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    return edge_settings.model_copy(
        update={"core_patience_s": 0.5, "core_silence_s": 1.0, "keep_alive_s": 0.3, "max_calls_in_flight": 8}
    )


def sdk(edge: RunningEdge, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=edge.url + "/v1", api_key=key, max_retries=0, timeout=20)


def failing(code: str, **more: object) -> Handler:
    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        await answer.fail(code, **more)  # type: ignore[arg-type]

    return handler


async def test_the_official_sdk_gets_an_answer(edge: RunningEdge) -> None:
    """The main job."""
    async with sdk(edge) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "merhaba"
        assert answer.id.startswith("req_")
        assert answer._request_id == answer.id


async def test_the_official_sdk_gets_a_stream(edge: RunningEdge) -> None:
    """The main job, streamed."""
    async with sdk(edge) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        chunks = [each async for each in stream]
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "merhaba"
    assert chunks[-1].usage is not None


@pytest.mark.parametrize(
    ("handler", "error", "code"),
    [
        (failing("insufficient_balance"), openai.APIStatusError, "insufficient_balance"),
        (failing("insufficient_balance_held"), openai.APIStatusError, "insufficient_balance"),
        (failing("project_suspended"), openai.PermissionDeniedError, "project_suspended"),
        (failing("rate_limit_exceeded", retry_after_s=7), openai.RateLimitError, "rate_limit_exceeded"),
        (failing("model_not_supported"), openai.UnprocessableEntityError, "model_not_supported"),
        (failing("provider_error"), openai.InternalServerError, "provider_error"),
        (failing("from_a_newer_release"), openai.InternalServerError, "internal_error"),
    ],
    ids=range(7),
)
async def test_sdk_errors_have_class_and_code(
    edge: RunningEdge, core: FakeCore, handler: Handler, error: type[Exception], code: str
) -> None:
    """Programs decide by them what to do next."""
    core.handler = handler
    async with sdk(edge) as client:
        with pytest.raises(error) as caught:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
    assert isinstance(caught.value, openai.APIStatusError)
    assert caught.value.code == code


async def test_refusals_say_when_to_come_back(edge: RunningEdge, core: FakeCore) -> None:
    """Clients would retry too early, or never."""
    core.handler = failing("rate_limit_exceeded", retry_after_s=7, rate_limit=(60, 0, 1_900_000_000))
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.headers["retry-after"]) == (429, "7")
    assert (response.headers["x-ratelimit-remaining"], response.headers["x-ratelimit-reset"]) == ("0", "1900000000")
    core.handler = failing("daily_request_limit_exceeded")
    response = await exchange(edge.port, request(chat()))
    assert response.headers["x-should-retry"] == "false"
    core.handler = failing("insufficient_balance_held")
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.headers["retry-after"]) == (402, "5")
    core.handler = failing("service_unavailable")
    assert "retry-after" in (await exchange(edge.port, request(chat()))).headers


async def test_a_lowered_output_limit_is_told(edge: RunningEdge, core: FakeCore) -> None:
    """A customer would wonder why the answer is short."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(work.stream, LIMIT, max_tokens_lowered_to=42)
        await answer.finish(b"{}", position=1)

    core.handler = handler
    assert (await exchange(edge.port, request(chat()))).headers["x-onysoft-max-tokens"] == "42"


async def test_a_long_answer_that_is_not_streamed_arrives_whole(edge: RunningEdge, core: FakeCore) -> None:
    """Generated images are megabytes."""
    body = orjson.dumps({"images": "x" * 5_000_000})

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(False, LIMIT)
        await answer.finish(body, position=1)

    core.handler = handler
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.body) == (200, body)
    assert response.headers["content-type"] == "application/json"


async def test_a_failure_within_a_stream_is_its_last_event(edge: RunningEdge, core: FakeCore) -> None:
    """A broken answer would look like a whole one."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(True, LIMIT)
        await answer.write(chunk(work, "a"))
        await asyncio.sleep(0.05)
        await answer.fail("provider_error")

    core.handler = handler
    response = await exchange(edge.port, request(chat(stream=True)))
    events = response.body.strip().split(b"\n\n")
    assert orjson.loads(events[-1][6:])["error"]["code"] == "provider_error"
    async with sdk(edge) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        with pytest.raises(openai.APIError):
            _ = [each async for each in stream]


async def test_a_gap_ends_a_stream_with_an_error(edge: RunningEdge, core: FakeCore) -> None:
    """A hole in an answer would look like an answer."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(True, LIMIT)
        await answer.write(chunk(work, "a"))
        await asyncio.sleep(0.05)
        answer._sequence += 1
        await answer.finish(b"data: [DONE]\n\n", position=1)

    core.handler = handler
    response = await exchange(edge.port, request(chat(stream=True)))
    assert b"service_unavailable" in response.body
    assert b"[DONE]" not in response.body


async def test_a_core_that_dies_in_a_stream_ends_it_with_an_error(edge: RunningEdge, core: FakeCore) -> None:
    """The client would wait for tokens that never come."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(True, LIMIT)
        await answer.write(chunk(work, "a"))
        await asyncio.sleep(0.05)
        answer.close()

    core.handler = handler
    response = await exchange(edge.port, request(chat(stream=True)))
    assert b"service_unavailable" in response.body
    assert b"[DONE]" not in response.body


async def test_a_dead_core_is_followed_by_a_new_attempt(edge: RunningEdge, core: FakeCore) -> None:
    """A core's death would be the customer's problem."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        if work.attempt == 1:
            answer.close()
        else:
            await answer_ok(work, answer)

    core.handler = handler
    response = await exchange(edge.port, request(chat()))
    assert response.status == 200
    assert [work.attempt for work in core.works] == [1, 2]
    assert core.works[0].request_id == core.works[1].request_id


async def test_a_lost_first_frame_is_followed_by_a_new_attempt(edge: RunningEdge, core: FakeCore) -> None:
    """The client has got nothing yet, so nothing is lost for it."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        if work.attempt == 1:
            answer._sequence = 1
        await answer_ok(work, answer)

    core.handler = handler
    assert (await exchange(edge.port, request(chat()))).status == 200
    assert [work.attempt for work in core.works] == [1, 2]


async def test_attempts_are_bounded(edge: RunningEdge, core: FakeCore) -> None:
    """A request that kills cores would kill them all."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.close()

    core.handler = handler
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.code) == (503, "service_unavailable")
    assert [work.attempt for work in core.works] == [1, 2, 3]


async def test_without_a_core_the_edge_has_patience(edge: RunningEdge, core: FakeCore) -> None:
    """A restart of the only core would fail every call in between."""
    await core.work_subscription.unsubscribe()
    started = time.monotonic()
    waiting = asyncio.create_task(exchange(edge.port, request(chat())))
    await until(lambda: len(edge.edge.inbox) == 1)
    core.work_subscription = await core._connection.subscribe_direct("work.*.chat", core._on_work, "core")
    assert (await waiting).status == 200
    await core.work_subscription.unsubscribe()
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.code) == (503, "service_unavailable")
    assert response.headers["retry-after"]
    assert time.monotonic() - started > 0.5


async def test_a_stopped_server_is_503(edge: RunningEdge, core: FakeCore, nats_server: NatsServer) -> None:
    """Infrastructure trouble would be blamed on the key or the balance."""
    nats_server.kill()
    await until(lambda: edge.edge.not_ready() is not None)
    for data in (
        request(chat()),
        request(chat(), key=UNMIRRORED_KEY),
        request(method="GET", path="/v1/balance"),
    ):
        response = await exchange(edge.port, data)
        assert (response.status, response.code) == (503, "service_unavailable")
    nats_server.start()
    await until(lambda: edge.edge.not_ready() is None and core._connection.connected)
    await core._connection.client.flush()
    assert (await exchange(edge.port, request(chat()))).status == 200


async def test_a_key_issued_a_moment_ago_counts(edge: RunningEdge, core: FakeCore) -> None:
    """A customer's first call would be refused because a mirror lags."""
    answer = work_pb2.Answer(key_id=bytes(12), account_id=bytes(12), partition=7)
    core.known_keys[key_hash(UNMIRRORED_KEY)] = answer
    for _ in range(3):
        assert (await exchange(edge.port, request(chat(), key=UNMIRRORED_KEY))).status == 200
    assert core.works[0].partition == 7
    assert sum(what == "key" for what, _ in core.asks) == 1


async def test_an_edge_that_has_not_read_the_directory_says_so(
    directory: None, core: FakeCore, edge_settings: Settings, connection: Connection
) -> None:
    """After a restart a client would be told that its model does not exist, and stop asking."""
    core.known_keys[key_hash(KEY)] = work_pb2.Answer(key_id=bytes(12), account_id=bytes(12), partition=7)
    unread = Edge(edge_settings.model_copy(update={"drain_s": 0.2}), connection, connection)
    port = await unread.start()
    response = await exchange(port, request(chat()))
    assert (response.status, response.code) == (503, "service_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    await unread.drain()


async def test_guessing_keys_does_not_reach_the_cores(edge: RunningEdge, core: FakeCore) -> None:
    """Anybody could load the cores without a key."""
    client = await Client.connect(edge.port)
    statuses = set()
    for number in range(600):
        client.writer.write(request(chat(), key=f"sk-ony-{number:048x}"))
        statuses.add((await client.response()).status)
    client.close()
    assert statuses == {401}
    assert len(core.asks) <= 256 * 4


async def test_a_client_that_leaves_is_told_to_the_core(edge: RunningEdge, core: FakeCore) -> None:
    """A provider would go on generating for nobody."""
    answers: list[Answer] = []

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answers.append(answer)
        answer.head(work.stream, LIMIT)
        if work.stream:
            await answer.write(chunk(work, "a"))

    core.handler = handler
    for stream in (True, False):
        client = await Client.connect(edge.port)
        client.writer.write(request(chat(stream=stream)))
        if stream:
            await client.reader.readuntil(b"data: ")
        await until(lambda: bool(answers))
        client.close()
        answer = answers.pop()
        await until(lambda answer=answer: answer.cancelled)  # type: ignore[misc]
    await until(lambda: len(edge.edge.inbox) == 0 and edge.edge.app.in_flight == 0)


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a core that lives and waits for longer than the edge's patience with silence."""
    monkeypatch.setattr(frames, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(frames, "TICK_S", 0.05)


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_slow_client_stalls_only_its_own_stream(core: FakeCore, edge: RunningEdge) -> None:
    """One slow reader would hold up everybody, or fill the edge's memory."""
    written = 0

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        nonlocal written
        if not work.stream:
            await answer_ok(work, answer)
            return
        answer.head(True, LIMIT)
        for _ in range(200):
            await answer.write(b"data: " + b"x" * 65_528 + b"\n\n")
            written += 65_536
        await answer.finish(b"data: [DONE]\n\n", position=1)

    core.handler = handler
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1_024)
    writer.write(request(chat(stream=True)))
    await reader.readuntil(b"\r\n\r\n")
    last = -1
    while last != written:
        last = written
        await asyncio.sleep(0.3)
    assert written < 12_000_000
    assert (await exchange(edge.port, request(chat()))).status == 200
    received, tail = 0, b""
    while b"[DONE]" not in tail:
        data = await asyncio.wait_for(reader.read(262_144), 60)
        received += len(data)
        tail = (tail + data)[-20:]
    assert received > 200 * 65_536
    writer.close()


async def test_a_silent_stream_is_kept_alive(edge: RunningEdge, core: FakeCore) -> None:
    """Proxies between cut connections that say nothing."""

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        answer.head(True, LIMIT)
        await answer.write(chunk(work, "a"))
        for _ in range(20):
            answer.sent_at = 0
            answer.tick(time.monotonic())
            await asyncio.sleep(0.05)
        await answer.finish(b"data: [DONE]\n\n", position=1)

    core.handler = handler
    response = await exchange(edge.port, request(chat(stream=True)))
    assert b": keep-alive\n\n" in response.body
    assert response.body.endswith(b"data: [DONE]\n\n")


async def test_calls_are_bounded(edge: RunningEdge, core: FakeCore) -> None:
    """Overload would slow down every call instead of refusing some."""
    release = asyncio.Event()

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        while not release.is_set():
            answer.sent_at = 0
            answer.tick(time.monotonic())
            await asyncio.sleep(0.05)
        await answer_ok(work, answer)

    core.handler = handler
    running = [asyncio.create_task(exchange(edge.port, request(chat()))) for _ in range(8)]
    await until(lambda: len(core.works) == 8)
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.code) == (503, "service_unavailable")
    release.set()
    assert [answer.status for answer in await asyncio.gather(*running)] == [200] * 8


async def test_a_drain_lets_calls_end(edge: RunningEdge, core: FakeCore) -> None:
    """Each deployment would break running calls."""
    release = asyncio.Event()

    async def handler(work: work_pb2.WorkRequest, answer: Answer) -> None:
        await release.wait()
        await answer_ok(work, answer)

    core.handler = handler
    idle = await Client.connect(edge.port)
    running = asyncio.create_task(exchange(edge.port, request(chat())))
    await until(lambda: len(core.works) == 1)
    draining = asyncio.create_task(edge.edge.listener.drain(10))
    await asyncio.sleep(0)
    release.set()
    await draining
    response = await running
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert await idle.ended()
    with pytest.raises(ConnectionError):
        await Client.connect(edge.port)


async def test_every_response_is_reported_once(edge: RunningEdge, core: FakeCore, connection: Connection) -> None:
    """Analysts would see other calls than customers made."""
    events: list[usage_pb2.UsageEvent] = []
    await connection.subscribe_direct(
        "usage.*", lambda message: events.extend(usage_pb2.UsageBatch.FromString(message.data).events)
    )
    await connection.client.flush()
    await exchange(edge.port, request(chat()))
    await exchange(edge.port, request(chat(stream=True)))
    await exchange(edge.port, request(chat(), key="wrong"))
    await exchange(edge.port, request(b"{"))
    await exchange(edge.port, b"NONSENSE\r\n\r\n")
    await until(lambda: len(events) >= 5)
    await asyncio.sleep(0.4)
    seen = [(event.route, event.status, event.code, event.streamed) for event in events]
    assert seen == [
        ("chat", 200, "", False),
        ("chat", 200, "", True),
        ("chat", 401, "invalid_api_key", False),
        ("chat", 400, "invalid_request", False),
        ("http", 400, "invalid_request", False),
    ]
    assert [event.request_id for event in events[:2]] == [work.request_id for work in core.works]
    assert events[0].account_id
    assert events[0].model == MODEL
    assert [event.provider for event in events[:2]] == ["openrouter", "openrouter"]
    assert events[0].request_bytes == len(chat())
    assert 0 < events[0].first_byte_us <= events[0].duration_us
    assert events[0].attempts == 1


async def test_usage_survives_a_restart_of_the_server(
    edge: RunningEdge, nats_server: NatsServer, connection: Connection
) -> None:
    """What happened during trouble would be missing from the analysts' tables."""
    for _ in range(3):
        await exchange(edge.port, request(chat(), key="wrong"))
    nats_server.kill()
    for _ in range(5):
        await exchange(edge.port, request(chat(), key="wrong"))
    assert len(edge.edge.usage) >= 5
    nats_server.start()
    await until(lambda: len(edge.edge.usage) == 0)


async def test_the_trace_reaches_the_core(edge: RunningEdge, core: FakeCore) -> None:
    """A customer could not follow a call through the gateway."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await exchange(edge.port, request(chat(), headers={"traceparent": parent, "tracestate": "a=1"}))
    assert (core.works[0].traceparent, core.works[0].tracestate) == (parent, "a=1")


async def test_a_defect_is_a_500_and_says_nothing(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A defect would hang the client, or show it our insides."""

    async def broken(*_: object) -> None:
        raise KeyError("secret prompt")

    monkeypatch.setattr(edge.edge.relay, "run", broken)
    response = await exchange(edge.port, request(chat()))
    assert (response.status, response.code) == (500, "internal_error")
    assert b"secret" not in response.body
