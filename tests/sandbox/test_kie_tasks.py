"""The sandbox plays KieAI: if it were kinder than the real one, the gateway's tests would prove nothing."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from sandbox.kie import media
from tests.sandbox.conftest import AUTHORIZED, Client
from tests.sandbox.kie import FAST, SLOW, URL, Kie

SONG = {"prompt": "Bir şarkı", "customMode": False, "instrumental": False, "model": "V4"}
CALLBACK = "http://127.0.0.1:9/cb"


@pytest.fixture
async def kie(sandbox: Client) -> Kie:
    found = Kie(sandbox)
    await found.control(**FAST)
    return found


async def test_a_market_task_from_create_to_file(kie: Kie) -> None:
    task_id = await kie.market("google/imagen4", prompt="Bir kedi")
    record = await kie.record("/jobs/recordInfo", task_id)
    assert record["state"] == "success"
    assert record["creditsConsumed"] == 8
    assert orjson.loads(record["param"])["input"]["prompt"] == "Bir kedi"
    (url,) = orjson.loads(record["resultJson"])["resultUrls"]
    status, content_type, data = await kie.file(url)
    assert (status, content_type, data[:4]) == (200, "image/png", b"\x89PNG")


async def test_a_running_market_task_goes_through_its_states(kie: Kie) -> None:
    await kie.control(**SLOW)
    record = await kie.record("/jobs/recordInfo", await kie.market("z-image", prompt="x", aspect_ratio="1:1"))
    assert (record["state"], record["resultJson"], record["completeTime"]) == ("waiting", "", None)
    await kie.control(task_ms=1, hang_rate=1)
    record = await kie.record("/jobs/recordInfo", await kie.market("z-image", prompt="x", aspect_ratio="1:1"))
    assert record["state"] in ("waiting", "queuing", "generating")


FAMILIES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("/veo/generate", {"prompt": "x"}, "/veo/record-info", "successFlag", "response.resultUrls.0"),
    (
        "/runway/generate",
        {"prompt": "x", "duration": 5, "quality": "720p"},
        "/runway/record-detail",
        "state",
        "videoInfo.videoUrl",
    ),
    (
        "/aleph/generate",
        {"prompt": "x", "videoUrl": URL},
        "/aleph/record-info",
        "successFlag",
        "response.resultVideoUrl",
    ),
    (
        "/gpt4o-image/generate",
        {"prompt": "x", "size": "1:1"},
        "/gpt4o-image/record-info",
        "successFlag",
        "response.resultUrls.0",
    ),
    ("/flux/kontext/generate", {"prompt": "x"}, "/flux/kontext/record-info", "successFlag", "response.resultImageUrl"),
    ("/generate", {**SONG, "callBackUrl": CALLBACK}, "/generate/record-info", "status", "response.sunoData.1.audioUrl"),
    ("/lyrics", {"prompt": "x", "callBackUrl": CALLBACK}, "/lyrics/record-info", "status", "response.data.0.text"),
]
WORDS = {"successFlag": (0, 1, 3), "state": ("wait", "success", "fail"), "status": ("PENDING", "SUCCESS", "GENERATE_")}


@pytest.mark.parametrize(("path", "body", "query", "field", "where"), FAMILIES, ids=[row[0] for row in FAMILIES])
async def test_each_family_has_words_of_its_own(
    kie: Kie, path: str, body: dict[str, Any], query: str, field: str, where: str
) -> None:
    running, success, failed = WORDS[field]
    found: Any = await kie.record(query, await kie.create(path, **body))
    assert found[field] == success
    for name in where.split("."):
        found = found[int(name)] if name.isdigit() else found[name]
    if found.startswith("http"):
        assert (await kie.file(found))[0] == 200
    await kie.control(**SLOW)
    assert (await kie.record(query, await kie.create(path, **body)))[field] == running
    await kie.control(**FAST, fail_rate=1)
    record = await kie.record(query, await kie.create(path, **body))
    assert str(record[field]).startswith(str(failed))
    assert 501 in (record.get("errorCode"), record.get("failCode"))


async def test_4o_in_its_older_words(kie: Kie) -> None:
    await kie.control(**FAST, old_gpt4o_status=True)
    record = await kie.record(
        "/gpt4o-image/record-info", await kie.create("/gpt4o-image/generate", prompt="x", size="1:1")
    )
    assert "successFlag" not in record
    assert (record["status"], record["progress"]) == ("SUCCESS", "1.00")


async def test_what_follows_a_song(kie: Kie) -> None:
    song = await kie.create("/generate", **SONG, callBackUrl=CALLBACK)
    audio_id = (await kie.record("/generate/record-info", song))["response"]["sunoData"][0]["id"]
    follow = {"taskId": song, "audioId": audio_id, "callBackUrl": CALLBACK}
    wav = await kie.record("/wav/record-info", await kie.create("/wav/generate", **follow))
    status, content_type, data = await kie.file(wav["response"]["audioWavUrl"])
    assert (status, content_type, data[:4]) == (200, "audio/wav", b"RIFF")
    again = await kie.post("/api/v1/wav/generate", follow)
    assert (again["code"], again["msg"]) == (409, "WAV record already exists")
    stems = await kie.create("/vocal-removal/generate", **follow, type="split_stem")
    response = (await kie.record("/vocal-removal/record-info", stems))["response"]
    assert None not in (response["vocalUrl"], response["drumsUrl"])
    assert response["instrumentalUrl"] is None
    video = await kie.record("/mp4/record-info", await kie.create("/mp4/generate", **follow))
    assert (await kie.file(video["response"]["videoUrl"]))[1] == "video/mp4"
    midi = await kie.record("/midi/record-info", await kie.create("/midi/generate", taskId=stems, callBackUrl=CALLBACK))
    assert midi["midiData"]["instruments"]
    cover = await kie.record(
        "/suno/cover/record-info", await kie.create("/suno/cover/generate", taskId=song, callBackUrl=CALLBACK)
    )
    assert len(cover["response"]["images"]) == 2
    persona = await kie.post("/api/v1/generate/generate-persona", {**follow, "name": "n", "description": "d"})
    assert persona["data"]["personaId"]
    lyrics = await kie.post("/api/v1/generate/get-timestamped-lyrics", follow)
    assert lyrics["data"]["alignedWords"]
    assert (await kie.post("/api/v1/style/generate", {"content": "pop"}))["data"]["result"]
    spent = sum(float(task["credits"]) for task in await kie.tasks())
    assert spent == pytest.approx(12 + 0.4 + 50 + 2 + 0 + 0 + 0 + 0.5 + 0.4)


async def test_more_pixels_of_a_veo_video_cost_once(kie: Kie) -> None:
    task_id = await kie.create("/veo/generate", prompt="x", model="veo3_fast")
    for _ in range(2):
        answer = await kie.ask("/veo/get-1080p-video", task_id)
        assert (await kie.file(answer["data"]["resultUrl"]))[0] == 200
        answer = await kie.post("/api/v1/veo/get-4k-video", {"taskId": task_id, "index": 0})
        assert answer["data"]["resultUrls"]
    assert [task["credits"] for task in await kie.tasks()] == ["60", "5", "120"]


BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("/jobs/createTask", {}, 422, "model name"),
    ("/jobs/createTask", {"model": "nobody", "input": {}}, 422, "model name"),
    ("/jobs/createTask", {"model": "z-image", "input": []}, 422, "must be an object"),
    ("/jobs/createTask", {"model": "z-image", "input": {"prompt": "x"}}, 422, "aspect_ratio is required"),
    (
        "/jobs/createTask",
        {"model": "z-image", "input": {"prompt": "x" * 1001, "aspect_ratio": "1:1"}},
        422,
        "prompt exceeds",
    ),
    (
        "/jobs/createTask",
        {"model": "z-image", "input": {"prompt": "x", "aspect_ratio": "5:7"}},
        422,
        "aspect_ratio is not",
    ),
    (
        "/jobs/createTask",
        {"model": "z-image", "input": {"prompt": "x", "aspect_ratio": "1:1", "odd": 1}},
        422,
        "odd is not",
    ),
    (
        "/jobs/createTask",
        {"model": "recraft/crisp-upscale", "input": {"image": "data:image/png;base64,AA"}},
        422,
        "http(s) URL",
    ),
    (
        "/jobs/createTask",
        {
            "model": "seedream/4.5-edit",
            "input": {"prompt": "x", "aspect_ratio": "1:1", "quality": "basic", "image_urls": [URL] * 15},
        },
        422,
        "at most 14",
    ),
    (
        "/jobs/createTask",
        {
            "model": "kling-2.6/text-to-video",
            "input": {"prompt": "x", "aspect_ratio": "1:1", "duration": 5, "sound": False},
        },
        422,
        "duration must be of type string",
    ),
    (
        "/jobs/createTask",
        {"model": "bytedance/seedance-2", "input": {"duration": "5"}},
        422,
        "duration must be of type int",
    ),
    (
        "/jobs/createTask",
        {"model": "elevenlabs/text-to-speech-multilingual-v2", "input": {"text": "x", "voice": "rachel"}},
        500,
        "This voice is not within",
    ),
    (
        "/jobs/createTask",
        {"model": "z-image", "input": {"prompt": "x", "aspect_ratio": "1:1"}, "callBackUrl": "me"},
        422,
        "callBackUrl",
    ),
    ("/generate", SONG, 422, "Please enter callBackUrl."),
    ("/generate", {**SONG, "customMode": True, "callBackUrl": CALLBACK}, 422, "style and title"),
    ("/generate", {**SONG, "prompt": "x" * 501, "callBackUrl": CALLBACK}, 422, "500 characters"),
    ("/generate/mashup", {**SONG, "uploadUrlList": [URL], "callBackUrl": CALLBACK}, 422, "exactly 2"),
    ("/wav/generate", {"taskId": "x", "audioId": "y", "callBackUrl": CALLBACK}, 422, "record is null"),
    ("/runway/generate", {"prompt": "x", "duration": 10, "quality": "1080p"}, 422, "1080p is not available"),
    ("/gpt4o-image/generate", {"size": "1:1"}, 422, "prompt or filesUrl"),
    ("/veo/generate", {"prompt": "x", "model": "veo9"}, 422, "model is not within"),
    ("/common/download-url", {"url": "https://example.com/x.png"}, 422, "generated here"),
]


@pytest.mark.parametrize(("path", "body", "code", "text"), BAD, ids=[f"{n}{row[0]}" for n, row in enumerate(BAD)])
async def test_bad_requests_are_refused_within_http_200(
    kie: Kie, path: str, body: dict[str, Any], code: int, text: str
) -> None:
    await kie.control(**FAST, refuse_unknown=True)
    answer = await kie.post(f"/api/v1{path}", body)
    assert (answer["code"], answer["data"]) == (code, None)
    assert text in answer["msg"]
    assert await kie.tasks() == []


async def test_codes_keys_and_credits(kie: Kie, sandbox: Client) -> None:
    status, answer = await sandbox.status("GET", "/kie/api/v1/chat/credit")
    assert (status, answer["code"], answer["msg"]) == (200, 401, "You do not have access permissions")
    await kie.control(**FAST, credits=10)
    await kie.market("google/imagen4", prompt="x")
    assert (await sandbox.get("/kie/api/v1/chat/credit"))["data"] == 2
    answer = await kie.post("/api/v1/jobs/createTask", {"model": "google/imagen4", "input": {"prompt": "x"}})
    assert answer["code"] == 402
    await kie.control(**FAST, code_rates={"create": {"455": 1}})
    assert (await kie.post("/api/v1/veo/generate", {"prompt": "x"}))["code"] == 455
    await kie.control(**FAST, code_rates={"create": {"455": 1}}, http_errors=True)
    status, answer = await sandbox.status("POST", "/kie/api/v1/veo/generate", json={"prompt": "x"}, headers=AUTHORIZED)
    assert (status, answer["code"]) == (455, 455)


async def test_twenty_creates_in_ten_seconds(sandbox: Client) -> None:
    kie = Kie(sandbox)
    await kie.control(task_ms=0)
    for _ in range(20):
        await kie.market("google/imagen4-fast", prompt="x")
    body = {"model": "google/imagen4-fast", "input": {"prompt": "x"}}
    status, answer = await sandbox.status("POST", "/kie/api/v1/jobs/createTask", json=body, headers=AUTHORIZED)
    assert (status, answer["code"]) == (429, 429)
    assert len(await kie.tasks()) == 20
    await kie.control(task_ms=0, create_window_s=0)
    await kie.market("google/imagen4-fast", prompt="x")


async def test_the_journal_of_chat_is_as_it_was_and_tasks_stand_apart(kie: Kie, sandbox: Client) -> None:
    await sandbox.answer()
    task_id = await kie.market(
        "flux-2/pro-image-to-image", prompt="gizli", aspect_ratio="1:1", resolution="2K", input_urls=[URL]
    )
    (chat,) = await sandbox.journal()
    assert "prompt_tokens" in chat
    (task,) = await kie.tasks()
    assert (task["task_id"], task["family"], task["status"], task["credits"]) == (task_id, "market", "completed", "7")
    assert task["input"]["resolution"] == "2K"
    assert task["input"]["prompt"] == "(5 characters)"
    assert "gizli" not in orjson.dumps(task).decode()
    assert task["created_at"] <= task["finished_at"]
    other = await kie.market("google/imagen4", prompt="x")
    assert [each["task_id"] for each in await sandbox.get("/journal", kind="tasks", since_id=task_id)] == [other]
    assert (await sandbox.get("/journal", kind="credits"))["planned"] == "15"
    await sandbox.status("DELETE", "/journal?kind=tasks")
    assert await kie.tasks() == []
    assert len(await sandbox.journal()) == 1


async def test_uploads(kie: Kie, sandbox: Client) -> None:
    picture = media.png(7)
    body = {"base64Data": base64.b64encode(picture).decode(), "uploadPath": "images", "fileName": "kedi.png"}
    answer = await kie.post("-files/api/file-base64-upload", body)
    assert answer["success"] is True
    assert answer["data"]["mimeType"] == "image/png"
    url = answer["data"]["downloadUrl"]
    assert (await kie.file(url))[2] == picture
    body["base64Data"] = "data:image/png;base64," + body["base64Data"]
    assert (await kie.post("/api/file-base64-upload", body))["data"]["fileSize"] == len(picture)
    by_url = await kie.post("/api/file-url-upload", {"fileUrl": url, "uploadPath": "images"})
    assert (await kie.file(by_url["data"]["downloadUrl"]))[2] == picture
    form = aiohttp.FormData()
    form.add_field("uploadPath", "images")
    form.add_field("file", picture, filename="kedi.png", content_type="image/png")
    _, answer = await sandbox.status("POST", "/kie-files/api/file-stream-upload", data=form, headers=AUTHORIZED)
    assert (await kie.file(answer["data"]["downloadUrl"]))[2] == picture
    for bad in ({}, {"base64Data": "@@", "uploadPath": "x"}, {"base64Data": body["base64Data"]}):
        assert (await kie.post("/api/file-base64-upload", bad))["code"] == 400


async def test_a_source_that_cannot_be_fetched(kie: Kie, sandbox: Client) -> None:
    """The real one fetches the gateway's temporary files: one that is gone, or is no image, must fail there too."""
    given = {"prompt": "x", "image_url": f"{sandbox.url}/kie-files/u/none/kedi.png"}
    answer = await kie.post("/api/v1/jobs/createTask", {"model": "qwen/image-to-image", "input": given})
    assert answer["code"] == 451
    given["image_url"] = f"{sandbox.url}/healthz"
    answer = await kie.post("/api/v1/jobs/createTask", {"model": "qwen/image-to-image", "input": given})
    assert answer["code"] == 451
    first = orjson.loads(
        (await kie.record("/jobs/recordInfo", await kie.market("google/imagen4", prompt="x")))["resultJson"]
    )
    given["image_url"] = first["resultUrls"][0]
    assert await kie.market("qwen/image-to-image", **given)


async def test_the_catalogue_is_listed_in_prose(kie: Kie, sandbox: Client) -> None:
    listed = (await sandbox.get("/kie/api/v1/models"))["data"]["models"]
    assert len(listed) > 150
    one = await sandbox.get("/kie/api/v1/models/google/imagen4/price")
    assert "8 credits" in one["data"]["pricingDesc"]
    schema = await sandbox.get("/kie/api/v1/models/z-image/schema")
    assert schema["data"]["input"]["aspect_ratio"]["enum"]
    assert (await sandbox.get("/kie/api/v1/models", q="imagen4"))["data"]["total"] == 3


KINDS = {"png": "PNG image data, 64 x 64", "mp4": "ISO Media, MP4", "mp3": "MPEG ADTS, layer III", "wav": "WAVE audio"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_real(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(getattr(media, kind)(0x1234567))
    assert getattr(media, kind)(0x1234567) != getattr(media, kind)(0x1234568)
    try:
        told = subprocess.run(["file", "-b", str(path)], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("there is no `file` here")
    assert KINDS[kind] in told
