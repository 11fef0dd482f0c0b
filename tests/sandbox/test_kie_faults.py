"""What goes wrong at KieAI must go wrong in the sandbox when asked, or the gateway meets it first in production."""

import asyncio
import base64
import hashlib
import hmac
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from sandbox.kie.control import DEFAULT_WEBHOOK_KEY
from tests.sandbox.conftest import AUTHORIZED, Client, until
from tests.sandbox.kie import FAST, SLOW, Kie, listening
from tests.sandbox.test_journal import Process

SONG = {"prompt": "Bir şarkı", "customMode": False, "instrumental": False, "model": "V4"}
IMAGE = {"model": "google/imagen4", "input": {"prompt": "çok gizli"}}


@pytest.fixture
async def kie(sandbox: Client) -> Kie:
    found = Kie(sandbox)
    await found.control(**FAST)
    return found


async def made(kie: Kie, callback: str = "") -> str:
    body = {**IMAGE, **({"callBackUrl": callback} if callback else {})}
    return str((await kie.post("/api/v1/jobs/createTask", body))["data"]["taskId"])


# Tasks


async def test_a_failed_task_costs_nothing(kie: Kie) -> None:
    await kie.control(**FAST, fail_rate=1, fail_code=400)
    record = await kie.record("/jobs/recordInfo", await made(kie))
    assert (record["state"], record["failCode"], record["creditsConsumed"]) == ("fail", "400", 0)
    (task,) = await kie.tasks()
    assert (task["status"], task["credits"], task["fail_code"]) == ("failed", "0", 400)


async def test_a_task_that_hangs_is_never_done(kie: Kie) -> None:
    await kie.control(**FAST, hang_rate=1)
    record = await kie.record("/jobs/recordInfo", await made(kie))
    assert record["state"] == "generating"
    assert (await kie.tasks())[0]["status"] == "running"


async def test_a_task_that_is_forgotten(kie: Kie) -> None:
    await kie.control(**FAST, forget_rate=1)
    answer = await kie.ask("/jobs/recordInfo", await made(kie))
    assert (answer["code"], answer["msg"]) == (422, "record is null")
    assert (await kie.tasks())[0]["status"] == "forgotten"


async def test_a_task_that_is_not_visible_yet(kie: Kie) -> None:
    await kie.control(**FAST, invisible_ms=600_000)
    task_id = await made(kie)
    assert (await kie.ask("/jobs/recordInfo", task_id))["code"] == 422
    await kie.control(**FAST)
    assert (await kie.record("/jobs/recordInfo", task_id))["state"] == "success"
    assert (await kie.ask("/veo/record-info", task_id))["code"] == 422


async def test_an_exceptional_callback_hides_finished_and_charged_audio(kie: Kie) -> None:
    await kie.control(**FAST, callback_exception_rate=1)
    task_id = await kie.create("/generate", **SONG, callBackUrl="http://127.0.0.1:9/cb")
    record = await kie.record("/generate/record-info", task_id)
    assert record["status"] == "CALLBACK_EXCEPTION"
    assert record["response"]["sunoData"][0]["audioUrl"]
    (task,) = await kie.tasks()
    assert (task["status"], task["credits"]) == ("completed", "12")


async def test_words_that_are_not_allowed(kie: Kie) -> None:
    await kie.control(**FAST, fail_rate=1, fail_code=400)
    task_id = await kie.create("/generate", **SONG, callBackUrl="http://127.0.0.1:9/cb")
    record = await kie.record("/generate/record-info", task_id)
    assert (record["status"], record["errorCode"]) == ("SENSITIVE_WORD_ERROR", 400)


async def test_faults_may_hit_some_models_only_and_times_may_be_scaled(kie: Kie) -> None:
    await kie.control(time_scale=0.0001, creates_per_window=0, fail_rate=1, only_models=["z-image"])
    task_id = await made(kie)

    async def done() -> bool:
        return bool((await kie.record("/jobs/recordInfo", task_id))["state"] == "success")

    await until(done)


async def test_credits_may_be_left_out(kie: Kie) -> None:
    await kie.control(**FAST, omit_credits=True)
    assert "creditsConsumed" not in await kie.record("/jobs/recordInfo", await made(kie))


# Transport


async def test_an_answer_that_is_lost_leaves_a_task(kie: Kie) -> None:
    """The worst of all: it was created and charged, and nobody knows its id."""
    await kie.control(**FAST, lose_answer_rates={"create": 1})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await made(kie)
    assert len(await kie.tasks()) == 1
    await kie.control(**FAST, drop_rates={"create": 1})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await made(kie)
    assert len(await kie.tasks()) == 1


async def test_pages_of_a_proxy_in_place_of_answers(kie: Kie, sandbox: Client) -> None:
    await kie.control(**FAST, http_error_rates={"query": {"502": 1}})
    async with sandbox._session.get(
        sandbox.url + "/kie/api/v1/jobs/recordInfo?taskId=x", headers=AUTHORIZED
    ) as response:
        assert (response.status, response.content_type) == (502, "text/html")
    assert await made(kie)


async def test_codes_by_endpoint(kie: Kie) -> None:
    await kie.control(**FAST, code_rates={"query": {"500": 1}, "upload": {"429": 1}}, answer_delay_ms=1)
    task_id = await made(kie)
    assert (await kie.ask("/jobs/recordInfo", task_id))["code"] == 500


# Results


@pytest.mark.parametrize("fault", [{"dead_results_rate": 1}, {"result_ttl_s": 0}])
async def test_results_die(kie: Kie, fault: dict[str, Any]) -> None:
    await kie.control(**FAST, **fault)
    record = await kie.record("/jobs/recordInfo", await made(kie))
    (url,) = orjson.loads(record["resultJson"])["resultUrls"]
    await asyncio.sleep(0.002)
    assert (await kie.file(url))[0] == 404


async def test_results_that_break_off(kie: Kie) -> None:
    await kie.control(**FAST, truncated_results_rate=1)
    record = await kie.record("/jobs/recordInfo", await made(kie))
    (url,) = orjson.loads(record["resultJson"])["resultUrls"]
    with pytest.raises(aiohttp.ClientPayloadError):
        await kie.file(url)


async def test_a_download_link(kie: Kie) -> None:
    record = await kie.record("/jobs/recordInfo", await made(kie))
    (url,) = orjson.loads(record["resultJson"])["resultUrls"]
    link = (await kie.post("/api/v1/common/download-url", {"url": url}))["data"]
    assert (await kie.file(link))[0] == 200
    assert (await kie.file(url + "?until=1"))[0] == 404


async def test_no_result_before_its_time(kie: Kie) -> None:
    await kie.control(**SLOW)
    task_id = await made(kie)
    assert (await kie.file(f"{kie.client.url}/kie-files/r/{task_id}/0.png"))[0] == 404


# Webhooks


async def test_a_webhook_is_signed_over_its_task_and_time(kie: Kie) -> None:
    async with listening() as listener:
        task_id = await made(kie, listener.url)
        await listener.wait(1)
        headers, body = listener.heard[0]
        assert body == await kie.ask("/jobs/recordInfo", task_id)
        stamp = headers["x-webhook-timestamp"]
        digest = hmac.digest(DEFAULT_WEBHOOK_KEY.encode(), f"{task_id}.{stamp}".encode(), hashlib.sha256)
        assert headers["x-webhook-signature"] == base64.b64encode(digest).decode()
        assert abs(time.time() - int(stamp)) < 60
    (note,) = (await kie.tasks())[0]["callbacks"]
    assert (note["stage"], note["status"], note["http_status"]) == ("complete", "delivered", 200)


async def test_a_song_calls_back_three_times(kie: Kie) -> None:
    async with listening() as listener:
        await kie.control(task_ms=50, creates_per_window=0)
        await kie.create("/generate", **SONG, callBackUrl=listener.url)
        await listener.wait(3)
        assert [body["data"]["callbackType"] for _, body in listener.heard] == ["text", "first", "complete"]
        songs = listener.heard[-1][1]["data"]["data"]
        assert len(songs) == 2
        assert songs[0]["audio_url"]
        listener.heard.clear()
        await kie.control(task_ms=50, creates_per_window=0, webhook_reorder=True)
        await kie.create("/generate", **SONG, callBackUrl=listener.url)
        await listener.wait(3)
        assert [body["data"]["callbackType"] for _, body in listener.heard] == ["complete", "first", "text"]


CALLBACKS: list[tuple[str, dict[str, Any], str, str]] = [
    ("/veo/generate", {"prompt": "x"}, "data.taskId", "data.info.resultUrls.0"),
    ("/runway/generate", {"prompt": "x", "duration": 5, "quality": "720p"}, "data.task_id", "data.video_url"),
    ("/aleph/generate", {"prompt": "x", "videoUrl": "https://example.com/x.mp4"}, "taskId", "data.result_video_url"),
    ("/gpt4o-image/generate", {"prompt": "x", "size": "1:1"}, "data.taskId", "data.info.result_urls.0"),
    ("/flux/kontext/generate", {"prompt": "x"}, "data.taskId", "data.info.resultImageUrl"),
    ("/lyrics", {"prompt": "x"}, "data.task_id", "data.data.0.text"),
]


@pytest.mark.parametrize(("path", "body", "where_id", "where_result"), CALLBACKS, ids=[row[0] for row in CALLBACKS])
async def test_each_family_calls_back_in_its_own_words(
    kie: Kie, path: str, body: dict[str, Any], where_id: str, where_result: str
) -> None:
    def at(found: Any, where: str) -> Any:
        for name in where.split("."):
            found = found[int(name)] if name.isdigit() else found[name]
        return found

    async with listening() as listener:
        task_id = await kie.create(path, **body, callBackUrl=listener.url)
        await listener.wait(1)
        assert at(listener.heard[0][1], where_id) == task_id
        assert at(listener.heard[0][1], where_result)
        listener.heard.clear()
        await kie.control(**FAST, fail_rate=1)
        task_id = await kie.create(path, **body, callBackUrl=listener.url)
        await listener.wait(1)
        assert listener.heard[0][1]["code"] == 501
        assert at(listener.heard[0][1], where_id) == task_id


async def test_webhooks_twice_never_late_and_forged(kie: Kie) -> None:
    async with listening() as listener:
        await kie.control(**FAST, webhook_duplicates=1)
        await made(kie, listener.url)
        await listener.wait(2)
        listener.heard.clear()
        await kie.control(**FAST, webhook_bad_signature_rate=1)
        task_id = await made(kie, listener.url)
        await listener.wait(1)
        headers, _ = listener.heard[0]
        digest = hmac.digest(
            DEFAULT_WEBHOOK_KEY.encode(), f"{task_id}.{headers['x-webhook-timestamp']}".encode(), hashlib.sha256
        )
        assert headers["x-webhook-signature"] != base64.b64encode(digest).decode()
        listener.heard.clear()
        await kie.control(**FAST, webhook_lost_rate=1)
        await made(kie, listener.url)

        async def lost() -> bool:
            notes = (await kie.tasks())[-1]["callbacks"]
            return bool(notes and notes[0]["status"] == "lost")

        await until(lost)
        await kie.control(**FAST, webhook_delay_ms=300, webhook_key="")
        begun = time.monotonic()
        await made(kie, listener.url)
        await listener.wait(1)
        assert time.monotonic() - begun >= 0.3
        assert "x-webhook-signature" not in listener.heard[0][0]


async def test_a_webhook_that_fails_is_tried_three_times(kie: Kie) -> None:
    async with listening() as listener:
        listener.status = 500
        await kie.control(**FAST, time_scale=0.001)
        await made(kie, listener.url)
        await listener.wait(3)

        async def given_up() -> bool:
            notes = (await kie.tasks())[0]["callbacks"]
            return bool(notes and (notes[0]["status"], notes[0]["tries"]) == ("failed", 3))

        await until(given_up)


# Control


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"kie": []}, "kie: an object"),
        ({"kie": {"fail_rat": 1}}, "kie.fail_rat: unknown key"),
        ({"kie": {"fail_rate": 2}}, "fail_rate"),
        ({"kie": {"fail_code": 299}}, "fail_code"),
        ({"kie": {"code_rates": {"creates": {}}}}, "code_rates"),
        ({"kie": {"code_rates": {"create": {"200": 1}}}}, "code_rates.create"),
        ({"kie": {"drop_rates": {"create": "x"}}}, "drop_rates.create"),
        ({"kie": {"webhook_reorder": 1}}, "webhook_reorder"),
        ({"kie": {"only_models": "x"}}, "only_models"),
        ({"kie": {"task_ms": -1}}, "task_ms"),
    ],
)
async def test_a_control_that_is_not_understood_is_refused(sandbox: Client, wanted: dict[str, Any], text: str) -> None:
    before = await sandbox.get("/control")
    status, body = await sandbox.status("PUT", "/control", json=wanted)
    assert status == 400
    assert text in body["error"]["message"]
    assert await sandbox.get("/control") == before


async def test_what_is_in_force_is_shown(kie: Kie) -> None:
    await kie.control(task_ms=5, code_rates={"create": {"500": 0.5}}, webhook_key="secret")
    shown = (await kie.client.get("/control"))["kie"]
    assert (shown["task_ms"], shown["code_rates"]) == (5, {"create": {"500": 0.5}})
    assert (shown["webhook_key"], shown["time_scale"]) == ("(set)", 1.0)


# Death


def assert_no_prompt(folder: Path) -> None:
    for file in folder.iterdir():
        assert "gizli" not in file.read_text("utf-8"), f"a prompt is in {file.name}"


async def test_no_task_is_lost_by_a_kill_and_late_webhooks_still_come(tmp_path: Path) -> None:
    """After kill -9 of the provider both sides' books are compared: a task that vanished would be a false alarm."""
    path = tmp_path / "journal.jsonl"
    first = Process(path)
    try:
        async with aiohttp.ClientSession() as session, listening() as listener:
            kie = Kie(Client(first.port, session))
            await kie.control(task_ms=1_500, creates_per_window=0)
            ids = [await made(kie, listener.url) for _ in range(20)]
            await kie.control(**FAST, fail_rate=1)
            ids.append(await made(kie))
            first.end(signal.SIGKILL)
            second = Process(path)
            try:
                kie = Kie(Client(second.port, session))
                kept = {task["task_id"]: task for task in await kie.tasks()}
                assert list(kept) == ids
                assert kept[ids[-1]]["status"] == "failed"
                await listener.wait(20)
                assert {body["data"]["taskId"] for _, body in listener.heard} == set(ids[:-1])
                record = await kie.record("/jobs/recordInfo", ids[0])
                (url,) = orjson.loads(record["resultJson"])["resultUrls"]
                assert (await kie.file(url))[0] == 200
                assert (await kie.client.get("/kie/api/v1/chat/credit"))["data"] == 10_000_000 - 160
            finally:
                second.end()
    finally:
        first.end()
    assert_no_prompt(tmp_path)


def test_a_torn_last_line_is_forgotten(tmp_path: Path) -> None:
    from sandbox.kie.tasks import Tasks

    path = tmp_path / "tasks"
    path.write_bytes(b'{"id":"task_1","fam')
    tasks = Tasks(str(path))
    assert tasks.all() == []
    tasks.close()
