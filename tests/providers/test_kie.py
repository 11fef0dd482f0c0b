"""KieAI's many voices: a status that is misread is a video that is never delivered, or one that is paid for in vain."""

import base64
from typing import Any

import orjson
import pytest

from core.providers.kie.adapter import KieAI
from core.providers.kie.families import READERS
from core.providers.port import FailureKind, ProviderFailure
from core.providers.tasks import Progress, TaskState
from tests.providers.conftest import Script
from tests.providers.scripted import CLOSE, answer

URL = "https://cdn.example.com/a.mp4"
OTHER = "https://cdn.example.com/b.mp4"


def market(state: Any, **more: Any) -> dict[str, Any]:
    return {"taskId": "t", "state": state, **more}


def results(**result: Any) -> str:
    return orjson.dumps(result).decode()


@pytest.mark.parametrize(
    ("family", "record", "state", "urls"),
    [
        ("market", market("waiting"), TaskState.PENDING, ()),
        ("market", market("queuing"), TaskState.PENDING, ()),
        ("market", market("generating"), TaskState.PROCESSING, ()),
        ("market", market("success", resultJson=results(resultUrls=[URL, OTHER])), TaskState.SUCCEEDED, (URL, OTHER)),
        ("market", market("success", resultJson=""), TaskState.PROCESSING, ()),
        ("market", market("success", resultJson="{broken"), TaskState.PROCESSING, ()),
        ("market", market("fail", failCode="501", failMsg="m"), TaskState.FAILED, ()),
        ("market", market("fail", failCode=None, failMsg=None), TaskState.FAILED, ()),
        ("market", market("a new word"), TaskState.PROCESSING, ()),
        ("market", {}, TaskState.PROCESSING, ()),
        ("veo", {"successFlag": 0}, TaskState.PENDING, ()),
        ("veo", {"successFlag": 1, "response": {"resultUrls": [URL]}}, TaskState.SUCCEEDED, (URL,)),
        ("veo", {"successFlag": 1, "response": {"resultUrls": f'["{URL}"]'}}, TaskState.SUCCEEDED, (URL,)),
        ("veo", {"successFlag": 1, "response": results(resultUrls=[URL])}, TaskState.SUCCEEDED, (URL,)),
        ("veo", {"successFlag": 1, "info": {"resultUrls": [URL]}}, TaskState.SUCCEEDED, (URL,)),
        ("veo", {"successFlag": 2, "errorCode": 400, "errorMessage": "m"}, TaskState.FAILED, ()),
        ("veo", {"successFlag": 3, "errorCode": 501}, TaskState.FAILED, ()),
        ("runway", {"state": "wait"}, TaskState.PENDING, ()),
        ("runway", {"state": "queueing"}, TaskState.PENDING, ()),
        ("runway", {"state": "generating"}, TaskState.PROCESSING, ()),
        ("runway", {"state": "success", "videoInfo": {"videoUrl": URL, "x": 1}}, TaskState.SUCCEEDED, (URL,)),
        ("runway", {"state": "fail", "failCode": 400}, TaskState.FAILED, ()),
        ("aleph", {"successFlag": 1, "response": {"resultVideoUrl": URL}}, TaskState.SUCCEEDED, (URL,)),
        ("aleph", {"state": "success", "videoInfo": {"videoUrl": URL}}, TaskState.SUCCEEDED, (URL,)),
        ("aleph", {"successFlag": 0}, TaskState.PENDING, ()),
        ("suno", {"status": "PENDING"}, TaskState.PENDING, ()),
        ("suno", {"status": "TEXT_SUCCESS"}, TaskState.PROCESSING, ()),
        ("suno", {"status": "FIRST_SUCCESS", "response": {"sunoData": [{"audioUrl": URL}]}}, TaskState.PROCESSING, ()),
        ("suno", {"status": "GENERATE_AUDIO_FAILED"}, TaskState.FAILED, ()),
        ("suno", {"status": "CREATE_TASK_FAILED"}, TaskState.FAILED, ()),
        ("suno", {"status": "SENSITIVE_WORD_ERROR", "errorCode": 413}, TaskState.FAILED, ()),
        ("suno", {"status": "CALLBACK_EXCEPTION"}, TaskState.PENDING, ()),
        ("suno", {"successFlag": "SUCCESS", "response": {"audioWavUrl": URL}}, TaskState.SUCCEEDED, (URL,)),
        ("suno", {"status": "SUCCESS", "response": {"vocalUrl": URL, "drumsUrl": None}}, TaskState.SUCCEEDED, (URL,)),
        ("gpt4o_image", {"status": "GENERATING", "progress": "0.40"}, TaskState.PROCESSING, ()),
        ("gpt4o_image", {"successFlag": 0, "progress": "0.00"}, TaskState.PENDING, ()),
        ("gpt4o_image", {"status": "SUCCESS", "response": {"resultUrls": [URL]}}, TaskState.SUCCEEDED, (URL,)),
        ("gpt4o_image", {"successFlag": 1, "response": {"resultUrls": [URL]}}, TaskState.SUCCEEDED, (URL,)),
        ("gpt4o_image", {"status": "GENERATE_FAILED"}, TaskState.FAILED, ()),
        ("gpt4o_image", {"successFlag": 2}, TaskState.FAILED, ()),
        ("flux_kontext", {"successFlag": 1, "response": {"resultImageUrl": URL}}, TaskState.SUCCEEDED, (URL,)),
        ("flux_kontext", {"successFlag": 0}, TaskState.PENDING, ()),
        ("flux_kontext", {"successFlag": 3}, TaskState.FAILED, ()),
    ],
)
def test_every_family_is_understood(family: str, record: Any, state: TaskState, urls: tuple[str, ...]) -> None:
    progress = READERS[family](record)
    assert (progress.state, progress.urls) == (state, urls)


def song(name: str, url: str) -> dict[str, str]:
    return {"id": name, "audioUrl": url, "streamAudioUrl": "https://x/s", "imageUrl": "https://x/i.png", "title": "t"}


def test_songs_come_with_their_ids_and_without_covers() -> None:
    record = {"status": "SUCCESS", "response": {"sunoData": [song("s1", URL), song("s2", OTHER)]}}
    progress = READERS["suno"](record)
    assert (progress.urls, progress.ids) == ((URL, OTHER), ("s1", "s2"))


def test_a_callback_that_did_not_arrive_does_not_lose_the_song() -> None:
    """CALLBACK_EXCEPTION is about our webhook; the song is finished and was charged."""
    record = {"status": "CALLBACK_EXCEPTION", "response": {"sunoData": [song("s1", URL)]}}
    assert READERS["suno"](record).urls == (URL,)


def test_texts_are_results_too() -> None:
    lyrics = {"status": "SUCCESS", "response": {"data": [{"text": "one"}, {"text": ""}, {"text": "two"}]}}
    assert READERS["suno"](lyrics).text == "one\n\ntwo"
    notes = {"successFlag": 1, "midiData": {"state": "complete", "instruments": []}}
    assert "instruments" in READERS["suno"](notes).text
    spoken = market("success", resultJson=results(resultObject={"text": "merhaba"}))
    assert READERS["market"](spoken).text == "merhaba"
    words = market("success", resultJson=results(resultObject={"words": [1]}))
    assert orjson.loads(READERS["market"](words).text) == {"words": [1]}


@pytest.mark.parametrize(
    ("progress", "percent"),
    [(40, 40), ("0.40", 40), ("40", 40), (100, 99), (-3, 0), ("x", 0), (None, 0), ("nan", 0), (True, 0)],
)
def test_progress_is_a_percentage_whatever_it_is(progress: Any, percent: int) -> None:
    assert READERS["market"](market("generating", progress=progress)).percent == percent


def test_why_it_failed_is_a_word_of_ours() -> None:
    """The provider's words may quote the prompt."""
    record = market("fail", failCode="500", failMsg="zebra is a SENSITIVE word")
    assert READERS["market"](record).reason == "content_policy_violation"
    assert READERS["market"](market("fail", failCode="500", failMsg="zebra")).reason == "code_500"


def test_what_is_no_address_is_no_result() -> None:
    odd = ["javascript:alert(1)", "ftp://x/y", "https://x/a b", "https://x/\n", 7, None, "https://x/" + "a" * 5000]
    record = market("success", resultJson=results(resultUrls=odd))
    assert READERS["market"](record).state is TaskState.PROCESSING


def test_the_providers_own_price_is_read_as_written() -> None:
    record = market("success", resultJson=results(resultUrls=[URL]), creditsConsumed=6.5)
    assert READERS["market"](record).credits == "6.5"


def envelope(code: Any, data: Any = None, status: str = "200 OK") -> bytes:
    return answer(orjson.dumps({"code": code, "msg": "zebra", "data": data}), status)


@pytest.mark.parametrize(
    ("reply", "kind", "began"),
    [
        (envelope(422), FailureKind.REFUSED_INPUT, False),
        (envelope(400), FailureKind.REFUSED_INPUT, False),
        (envelope(401), FailureKind.OPERATOR, False),
        (envelope(402), FailureKind.OPERATOR, False),
        (envelope(433), FailureKind.OPERATOR, False),
        (envelope(429), FailureKind.RATE_LIMITED, False),
        (envelope(429, status="429 Too Many Requests"), FailureKind.RATE_LIMITED, False),
        (envelope(451), FailureKind.REFUSED_INPUT, False),
        (envelope(455), FailureKind.UNAVAILABLE, False),
        (envelope(500), FailureKind.UNAVAILABLE, True),
        (envelope(501), FailureKind.UNAVAILABLE, True),
        (envelope(505), FailureKind.REFUSED_INPUT, False),
        (envelope(200, {}), FailureKind.PROTOCOL, True),
        (envelope(200, None), FailureKind.PROTOCOL, True),
        (answer(b"<html>", "502 Bad Gateway", "text/html"), FailureKind.UNAVAILABLE, True),
        (answer(b"<html>", "403 Forbidden", "text/html"), FailureKind.OPERATOR, False),
        (answer(b"error code: 1010", "200 OK", "text/plain"), FailureKind.PROTOCOL, True),
    ],
)
async def test_a_create_fails_by_its_code_not_by_its_status(
    script: Script, reply: bytes, kind: FailureKind, began: bool
) -> None:
    """HTTP 200 carries failures; taken for a task they would hold a customer's money for nothing."""
    server = await script([reply])
    kie = KieAI(server.url, server.url, "key")
    with pytest.raises(ProviderFailure) as caught:
        await kie.create("/api/v1/jobs/createTask", {"model": "m"}, at_once=False)
    assert (caught.value.kind, caught.value.began) == (kind, began)
    assert "zebra" not in str(caught.value)
    await kie.close()


async def test_a_lost_connection_may_have_begun_a_task(script: Script) -> None:
    server = await script([CLOSE])
    kie = KieAI(server.url, server.url, "key")
    with pytest.raises(ProviderFailure) as caught:
        await kie.create("/api/v1/jobs/createTask", {}, at_once=False)
    assert caught.value.began
    await kie.close()
    nobody = KieAI("http://127.0.0.1:9", "http://127.0.0.1:9", "key")
    with pytest.raises(ProviderFailure) as caught:
        await nobody.create("/api/v1/jobs/createTask", {}, at_once=False)
    assert not caught.value.began
    await nobody.close()


async def test_a_task_is_begun_and_asked_for(script: Script) -> None:
    server = await script([envelope(200, {"taskId": "task_7"})], [envelope(200, market("waiting"))])
    kie = KieAI(server.url, server.url, "key")
    assert (await kie.create("/api/v1/jobs/createTask", {"model": "m"}, at_once=False)).task_id == "task_7"
    progress = await kie.look("market", "/api/v1/jobs/recordInfo", "task/7&x")
    assert progress == Progress(TaskState.PENDING)
    assert b"authorization: Bearer key" in server.requests[0]
    assert server.requests[1].startswith(b"GET /api/v1/jobs/recordInfo?taskId=task%2F7%26x HTTP/1.1")
    await kie.close()


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (envelope(422), TaskState.UNKNOWN),
        (envelope(404), TaskState.UNKNOWN),
        (envelope(200, None), TaskState.UNKNOWN),
        (envelope(408), TaskState.FAILED),
        (envelope(501), TaskState.FAILED),
    ],
)
async def test_some_codes_speak_of_the_task(script: Script, reply: bytes, state: TaskState) -> None:
    server = await script([reply])
    kie = KieAI(server.url, server.url, "key")
    assert (await kie.look("market", "/q", "t")).state is state
    await kie.close()


@pytest.mark.parametrize("code", [429, 455, 500, 401])
async def test_trouble_with_the_question_is_not_the_tasks_end(script: Script, code: int) -> None:
    """A hold would be given back for a video that is still being made."""
    server = await script([envelope(code)])
    kie = KieAI(server.url, server.url, "key")
    with pytest.raises(ProviderFailure):
        await kie.look("market", "/q", "t")
    await kie.close()


async def test_a_source_image_can_be_handed_over(script: Script) -> None:
    body = {"success": True, "code": 200, "msg": "m", "data": {"downloadUrl": URL}}
    server = await script([answer(orjson.dumps(body))])
    kie = KieAI("http://127.0.0.1:9", server.url, "key")
    assert await kie.upload(b"image", "a.png", "image/png") == URL
    sent = orjson.loads(server.requests[0].split(b"\r\n\r\n", 1)[1])
    assert base64.b64decode(sent["base64Data"].partition(",")[2]) == b"image"
    await kie.close()
