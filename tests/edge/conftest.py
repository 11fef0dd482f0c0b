"""An edge over a real server, answered by a small core of the test's own."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest

from bus import streams
from bus.bodies import fetch_body
from bus.connection import Connection
from bus.directory import publish_key, publish_model
from bus.frames import Answer, Answers
from bus.transport import Message
from edge.main import Edge
from proto.onysoft.v1 import directory_pb2, work_pb2
from runtime import ids
from runtime.settings import Settings

PEPPER = "pepper"
KEY = "sk-ony-" + "0123456789abcdef" * 3
REVOKED_KEY = "sk-ony-" + "f" * 48
UNMIRRORED_KEY = "sk-ony-" + "a" * 48
MODEL = "openai/gpt-test"
LIMIT = (60, 59, 1_900_000_000)
USAGE_CHUNK = {"id": "req_x", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": []}

Handler = Callable[[work_pb2.WorkRequest, Answer], Awaitable[None]]


def key_hash(key: str) -> bytes:
    return hmac.digest(PEPPER.encode(), key.encode(), "sha256")


def completion(work: work_pb2.WorkRequest, text: str) -> bytes:
    return orjson.dumps(
        {
            "id": ids.text(ids.REQUEST, work.request_id),
            "object": "chat.completion",
            "created": 1,
            "model": work.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                    "logprobs": None,
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            "cost": {"amount": 0.1, "currency": "TRY"},
        }
    )


def chunk(work: work_pb2.WorkRequest, text: str) -> bytes:
    body = {
        "id": ids.text(ids.REQUEST, work.request_id),
        "object": "chat.completion.chunk",
        "created": 1,
        "model": work.model,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


async def answer_ok(work: work_pb2.WorkRequest, answer: Answer) -> None:
    """What a core does when all is well."""
    answer.head(work.stream, LIMIT)
    answer.served_by("openrouter")
    if not work.stream:
        await answer.finish(completion(work, "merhaba"), position=5)
        return
    for word in ("mer", "ha", "ba"):
        await answer.write(chunk(work, word))
    last = {**USAGE_CHUNK, "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}}
    await answer.finish(b"data: " + orjson.dumps(last) + b"\n\ndata: [DONE]\n\n", position=5)


class FakeCore:
    """Answers work and asks as a core would; `handler` decides how."""

    def __init__(self, connection: Connection, bulk: Connection, name: str) -> None:
        self.handler: Handler = answer_ok
        self.works: list[work_pb2.WorkRequest] = []
        self.asks: list[tuple[str, work_pb2.Ask]] = []
        self.bodies: list[bytes] = []
        self.answers = Answers(connection, name)
        self.known_keys: dict[bytes, work_pb2.Answer] = {}
        self._connection = connection
        self._bulk = bulk
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[object] = []

    async def start(self) -> None:
        await self.answers.start()
        self.work_subscription = await self._connection.subscribe_direct("work.*.chat", self._on_work, "core")
        for what in ("key", "balance", "models"):
            await self._connection.subscribe_direct(f"ask.{what}", self._on_ask, "core")
        await self._connection.subscribe_direct("ask.request", self._on_ask, "projections")
        await self._connection.client.flush()

    def _on_work(self, message: Message) -> None:
        work = work_pb2.WorkRequest.FromString(message.data)
        self.works.append(work)
        answer = self.answers.open(work.edge, work.request_id, work.attempt)
        task = asyncio.create_task(self._run(work, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: work_pb2.WorkRequest, answer: Answer) -> None:
        if work.HasField("body_ref"):
            self.bodies.append(await fetch_body(self._bulk, work.edge, work.request_id, work.body_ref))
        await self.handler(work, answer)

    def _on_ask(self, message: Message) -> None:
        ask = work_pb2.Ask.FromString(message.data)
        what = message.subject.partition(".")[2]
        self.asks.append((what, ask))
        if what == "key":
            reply = self.known_keys.get(ask.key_hash, work_pb2.Answer(code="invalid_api_key"))
        elif what == "models" and ask.model == "no/model":
            reply = work_pb2.Answer(code="model_not_found")
        else:
            limit = work_pb2.RateLimit(limit=60, remaining=60, reset_s=1_900_000_000)
            reply = work_pb2.Answer(json=orjson.dumps({"asked": what, "model": ask.model}), rate_limit=limit)
        self._connection.send(message.reply, reply.SerializeToString())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.answers.close()


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    """Overridden by tests that need other limits."""
    return settings.model_copy(update={"edge_port": 0, "key_pepper": Settings(key_pepper=PEPPER).key_pepper})


@pytest.fixture
async def directory(edge_settings: Settings, connection: Connection) -> None:
    """The streams, one good key, one revoked, one model."""
    await streams.provision(connection, edge_settings)
    key_id, account_id = ids.mint(), ids.mint()
    good = directory_pb2.KeyRecord(key_id=key_id, account_id=account_id, partition=3, position=1)
    revoked = directory_pb2.KeyRecord(key_id=ids.mint(), account_id=account_id, revoked=True, position=2)
    await publish_key(connection, key_hash(KEY), good)
    await publish_key(connection, key_hash(REVOKED_KEY), revoked)
    await publish_model(connection, directory_pb2.ModelRecord(id=MODEL, name="Test", active=True))
    await publish_model(connection, directory_pb2.ModelRecord(id="old/model", name="Old", active=False))


@pytest.fixture
async def core(edge_settings: Settings, connection: Connection) -> AsyncIterator[FakeCore]:
    bulk = await Connection.open(edge_settings, "core-bulk")
    core = FakeCore(connection, bulk, "core-a")
    await core.start()
    yield core
    await core.close()
    await bulk.close()


class RunningEdge:
    """An edge that clients can reach."""

    def __init__(self, edge: Edge, port: int) -> None:
        self.edge = edge
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def ready(self) -> None:
        await until(lambda: self.edge.not_ready() is None)


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a deadline bounds it
            await asyncio.sleep(0.005)


@pytest.fixture
async def edge(directory: None, core: FakeCore, edge_settings: Settings) -> AsyncIterator[RunningEdge]:
    """A ready edge beside a core."""
    connection = await Connection.open(edge_settings, "edge")
    bulk = await Connection.open(edge_settings, "edge-bulk")
    edge = Edge(edge_settings.model_copy(update={"drain_s": 0.2}), connection, bulk)
    running = RunningEdge(edge, await edge.start())
    mirroring = asyncio.create_task(edge.mirror_directory())
    await running.ready()
    yield running
    mirroring.cancel()
    await asyncio.gather(mirroring, return_exceptions=True)
    await edge.drain()
    await bulk.close()
    await connection.close()
