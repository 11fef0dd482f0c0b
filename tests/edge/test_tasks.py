"""Tasks at the edge: whose they are, what is shown of them, files and callbacks."""

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bus.connection import Connection
from bus.directory import publish_key
from bus.frames import Answer
from bus.tasks import write_task
from bus.transport import Message
from files import names
from files.local import LocalStore
from files.store import one_piece
from proto.onysoft.v1 import directory_pb2, work_pb2
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1.task_pb2 import TaskFile, TaskRecord
from runtime import ids
from runtime.settings import Settings
from tests.edge.conftest import KEY, LIMIT, MODEL, PEPPER, FakeCore, RunningEdge, key_hash, until
from tests.edge.wire import Response, exchange, request

OTHER_KEY = "sk-ony-" + "b" * 48
WEBHOOK_KEY = "kie-secret"
REQUEST = b"request-0001"


@pytest.fixture
def edge_settings(settings: Settings, tmp_path: Path) -> Settings:
    wanted = {"key_pepper": PEPPER, "kie_webhook_key": WEBHOOK_KEY}
    made = Settings(**wanted)  # type: ignore[arg-type]
    update = {
        "edge_port": 0,
        "key_pepper": made.key_pepper,
        "kie_webhook_key": made.kie_webhook_key,
        "files_dir": tmp_path / "files",
    }
    return settings.model_copy(update=update)


@pytest.fixture
async def tasks(edge: RunningEdge, connection: Connection) -> AsyncIterator[RunningEdge]:
    """The edge with its mirror of tasks, and a key of another account."""
    following = asyncio.create_task(edge.edge.mirror_tasks())
    other = directory_pb2.KeyRecord(key_id=ids.mint(), account_id=ids.mint(), partition=3, position=9)
    await publish_key(connection, key_hash(OTHER_KEY), other)
    await until(lambda: key_hash(OTHER_KEY) in edge.edge.mirror.keys)
    yield edge
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def keep(edge: RunningEdge, connection: Connection, **fields: Any) -> str:
    """A task of KEY's account; its id."""
    request_id = ids.mint()
    account_id = edge.edge.mirror.keys[key_hash(KEY)].account_id
    shown = {"success": True, "task_id": ids.text(ids.TASK, request_id), "status": "pending", "error": None}
    shown |= fields.pop("shown", {})
    record = TaskRecord(request_id=request_id, account_id=account_id, shown=orjson.dumps(shown), **fields)
    await write_task(connection, record, 0)
    return ids.text(ids.TASK, request_id)


async def get(edge: RunningEdge, path: str, key: str = KEY, method: str = "GET", **headers: str) -> Response:
    return await exchange(edge.port, request(b"", method, path, key, headers))


async def test_any_name_shows_any_task_to_its_account_alone(tasks: RunningEdge, connection: Connection) -> None:
    """Another customer's video must not be seen, nor even known of."""
    task_id = await keep(tasks, connection, model="veo3")
    for kind in ("video", "image", "audio", "voice", "music"):
        response = await get(tasks, f"/v1/{kind}/status/{task_id}")
        assert (response.status, orjson.loads(response.body)["task_id"]) == (200, task_id)
        assert response.headers["x-request-id"].startswith("req_")
    for path in (f"/v1/image/status/{task_id}", "/v1/image/status/vtask_abc123", "/v1/image/status/"):
        response = await get(tasks, path, OTHER_KEY)
        assert (response.status, response.code) == (404, "not_found")
    assert (await get(tasks, f"/v1/image/status/{task_id}", "")).status == 401
    assert (await get(tasks, f"/v1/images/status/{task_id}")).status == 404
    assert (await get(tasks, f"/v1/image/status/{task_id}", method="POST")).status == 405


async def test_an_error_is_told_in_the_callers_language(tasks: RunningEdge, connection: Connection) -> None:
    error = {"code": "generation_failed", "message": ""}
    task_id = await keep(
        tasks, connection, status=pb.TASK_FAILED, code="generation_failed", shown={"status": "failed", "error": error}
    )
    turkish = orjson.loads((await get(tasks, f"/v1/image/status/{task_id}")).body)["error"]
    english = await get(tasks, f"/v1/image/status/{task_id}", **{"accept-language": "en"})
    assert turkish["code"] == "generation_failed"
    assert "başarısız" in turkish["message"]
    assert "failed" in orjson.loads(english.body)["error"]["message"]


async def test_a_text_result_comes_from_the_store(
    tasks: RunningEdge, connection: Connection, edge_settings: Settings
) -> None:
    """What a model wrote is in no stream."""
    name = names.result_name(PEPPER.encode(), REQUEST, 0, "txt")
    await LocalStore(edge_settings.files_dir).put(name, one_piece("söz".encode()))
    files = [TaskFile(name=name, text=True)]
    task_id = await keep(tasks, connection, status=pb.TASK_COMPLETED, files=files, shown={"status": "completed"})
    assert orjson.loads((await get(tasks, f"/v1/music/status/{task_id}")).body)["text"] == "söz"


async def test_a_generate_call_is_relayed_and_answered_with_202(
    tasks: RunningEdge, connection: Connection, core: FakeCore
) -> None:
    works: list[work_pb2.WorkRequest] = []

    async def accept(work: work_pb2.WorkRequest, answer: Answer) -> None:
        works.append(work)
        answer.head(False, LIMIT, status=202)
        await answer.finish(b'{"success":true,"task_id":"vtask_1"}', position=7)

    core.handler = accept
    await connection.subscribe_direct("work.*.media", core._on_work, "core")
    await connection.client.flush()
    for kind in ("video", "image", "audio", "voice", "music"):
        body = orjson.dumps({"model": MODEL, "prompt": "x"})
        response = await exchange(tasks.port, request(body, path=f"/v1/{kind}/generate"))
        assert (response.status, orjson.loads(response.body)["task_id"]) == (202, "vtask_1")
        assert response.headers["x-ratelimit-remaining"] == str(LIMIT[1])
    assert {work.model for work in works} == {MODEL}


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"[]", 400), (b'{"model":5}', 400), (b'{"model":"no/such"}', 404)]
)
async def test_a_generate_call_that_is_none_is_refused(tasks: RunningEdge, body: bytes, status: int) -> None:
    assert (await exchange(tasks.port, request(body, path="/v1/video/generate"))).status == status


# Files

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture
async def video(tasks: RunningEdge, edge_settings: Settings) -> str:
    """Its path."""
    name = names.result_name(PEPPER.encode(), REQUEST, 0, "mp4")
    await LocalStore(edge_settings.files_dir).put(name, one_piece(CONTENT))
    return f"/v1/files/{name}"


async def test_a_file_needs_no_key_and_is_what_it_is(tasks: RunningEdge, video: str) -> None:
    response = await get(tasks, video, key="")
    assert (response.status, response.body) == (200, CONTENT)
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-content-type-options"] == "nosniff"
    head = await exchange(tasks.port, request(b"", "GET", video, "", {"if-none-match": response.headers["etag"]}))
    assert head.status == 304


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=1023990-", 1_023_990, 1_023_999),
        ("bytes=-5", 1_023_995, 1_023_999),
        ("bytes=1023999-99999999", 1_023_999, 1_023_999),
        ("bytes=-99999999", 0, 1_023_999),
    ],
)
async def test_a_player_can_seek(tasks: RunningEdge, video: str, wanted: str, first: int, last: int) -> None:
    response = await get(tasks, video, key="", range=wanted)
    assert response.status == 206
    assert response.body == CONTENT[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("bytes=1024000-", 416), ("bytes=-0", 416), ("bytes=5-2", 200), ("bytes=0-1,4-5", 200), ("lines=1-2", 200)],
)
async def test_a_range_that_makes_no_sense(tasks: RunningEdge, video: str, wanted: str, status: int) -> None:
    response = await get(tasks, video, key="", range=wanted)
    assert response.status == status
    if status == 416:
        assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_a_range_of_another_file_is_not_joined_to_this_one(tasks: RunningEdge, video: str) -> None:
    response = await get(tasks, video, key="", range="bytes=5-9", **{"if-range": '"another"'})
    assert response.status == 200


@pytest.mark.parametrize("name", ["x", "../../etc/passwd", "r" + "0" * 40 + ".mp4", "%2e%2e%2fsecrets.json", ""])
async def test_only_files_that_were_given_are_found(tasks: RunningEdge, name: str) -> None:
    response = await get(tasks, f"/v1/files/{name}", key="")
    assert (response.status, response.code) == (404, "not_found")


# Callbacks


def signed(task_id: str, at_s: float, key: str = WEBHOOK_KEY) -> dict[str, str]:
    stamp = str(int(at_s))
    digest = hmac.digest(key.encode(), f"{task_id}.{stamp}".encode(), "sha256")
    return {"x-webhook-timestamp": stamp, "x-webhook-signature": base64.b64encode(digest).decode()}


def callback(data: dict[str, Any], headers: dict[str, str], mark: str = "") -> bytes:
    mark = mark or names.callback_mark(PEPPER.encode(), REQUEST)
    return request(orjson.dumps(data), "POST", f"/v1/callbacks/kie?task={mark}", "", headers)


@pytest.fixture
async def hurries(connection: Connection) -> list[bytes]:
    """Requests that a core is asked to look at."""
    seen: list[bytes] = []

    def on_hurry(message: Message) -> None:
        seen.append(message.data)

    await connection.subscribe_direct("hurry", on_hurry, "core")
    await connection.client.flush()
    return seen


@pytest.mark.parametrize(
    "data",
    [
        {"data": {"taskId": "t1"}},
        {"data": {"task_id": "t1"}},
        {"taskId": "t1", "data": None},
        {"code": 200, "taskId": "t1"},
    ],
)
async def test_a_signed_callback_hurries_a_look(tasks: RunningEdge, hurries: list[bytes], data: Any) -> None:
    """The families put the id in three places."""
    response = await exchange(tasks.port, callback(data, signed("t1", time.time())))
    assert response.status == 200
    await until(lambda: hurries == [REQUEST])


@pytest.mark.parametrize(
    ("headers", "mark"),
    [
        ({}, ""),
        (signed("t1", time.time(), "another"), ""),
        (signed("t2", time.time()), ""),
        (signed("t1", time.time() - 3_600), ""),
        (signed("t1", time.time() + 3_600), ""),
        ({**signed("t1", time.time()), "x-webhook-signature": "no base64!"}, ""),
        ({**signed("t1", time.time()), "x-webhook-timestamp": "soon"}, ""),
        (signed("t1", time.time()), "00" * 28),
        (signed("t1", time.time()), "zz"),
    ],
)
async def test_a_callback_of_strangers_is_refused(
    tasks: RunningEdge, hurries: list[bytes], headers: dict[str, str], mark: str
) -> None:
    """Anybody can send one; replayed or forged it must not even cost a look."""
    response = await exchange(tasks.port, callback({"data": {"taskId": "t1"}}, headers, mark))
    assert (response.status, response.code) == (403, "access_denied")
    assert hurries == []
