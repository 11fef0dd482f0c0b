"""A media task's life in a core: begun once, paid for once, and only for what was delivered."""

import asyncio
import base64
import hmac
from typing import Any

import orjson
import pytest

from core.ledger.money import NANO
from files.store import read_whole
from proto.onysoft.v1 import task_pb2
from runtime import ids
from tests.core.conftest import until
from tests.core.tasks.conftest import PRICE, Studio
from tests.core.tasks.kie import PNG

pytestmark = pytest.mark.timeout(60)


async def test_a_task_is_held_for_then_charged_and_its_result_is_kept(studio: Studio) -> None:
    received = await studio.generate()
    body = received.body
    assert body["success"] is True
    assert body["task_id"] == ids.text(ids.TASK, received.request_id)
    assert body["status"] == "pending"
    assert body["cost"] == {"amount": 1.6, "currency": "TRY", "held": True}
    assert body["status_url"] == f"https://api.example.com/v1/image/status/{body['task_id']}"
    assert studio.house.account.held_nano == PRICE
    assert studio.kie.creates[0]["model"] == "google/imagen4"
    assert studio.kie.creates[0]["callBackUrl"].startswith("https://api.example.com/v1/callbacks/kie?task=")
    studio.kie.plan = studio.kie.done("a.png", "b.png")
    shown = await studio.ends(received.request_id)
    assert shown["cost"] == {"amount": 1.6, "currency": "TRY", "held": False}
    assert len(shown["urls"]) == 2
    assert shown["url"] == shown["urls"][0]
    assert shown["url"].startswith("https://api.example.com/v1/files/r")
    assert await read_whole(studio.store, shown["url"].rpartition("/")[2], 10**6) == PNG
    assert (studio.house.account.charges_nano, studio.house.account.held_nano) == (PRICE, 0)
    assert len(studio.kie.creates) == 1


async def test_progress_is_shown_and_never_goes_back(studio: Studio) -> None:
    studio.kie.plan = {"state": "waiting"}
    received = await studio.generate()
    studio.kie.plan = {"state": "generating", "progress": 40}
    shown = await studio.ends(received.request_id, "processing")
    studio.kie.plan = {"state": "queuing", "progress": 10}
    count = len(studio.kie.looks)
    await until(lambda: len(studio.kie.looks) > count + 2, "looks")
    shown = await studio.shown(received.request_id)
    assert (shown["status"], shown["progress"], shown["urls"]) == ("processing", 40, [])


async def test_a_failed_task_costs_nothing(studio: Studio) -> None:
    studio.kie.plan = {"state": "fail", "failCode": "501", "failMsg": "secret words of the provider"}
    received = await studio.generate()
    shown = await studio.ends(received.request_id, "failed")
    assert shown["error"]["code"] == "generation_failed"
    assert shown["cost"]["amount"] == 0
    assert "secret" not in str(shown)
    await studio.house.idle()
    assert studio.house.account.available_nano == 5 * NANO


@pytest.mark.parametrize(
    ("code", "error"),
    [(422, "model_not_supported"), (402, "service_unavailable"), (451, "invalid_request"), (500, "provider_error")],
)
async def test_a_create_that_is_refused_holds_nothing(studio: Studio, code: int, error: str) -> None:
    studio.kie.create_code = code
    received = await studio.generate()
    assert received.code == error
    assert studio.house.account.available_nano == 5 * NANO
    record = await studio.record(received.request_id)
    assert record.status == task_pb2.TASK_FAILED


async def test_a_create_that_is_not_queued_is_tried_once_more(studio: Studio) -> None:
    """KieAI rejects what comes too fast and keeps nothing of it: trying again makes no second task."""
    studio.kie.create_codes = [429]
    received = await studio.generate()
    assert received.body["status"] == "pending"
    assert len(studio.kie.creates) == 2


@pytest.mark.parametrize("how", ["dropped", "500"])
async def test_a_create_whose_fate_is_unknown_is_never_repeated(studio: Studio, how: str) -> None:
    """A second video would be made, and billed to the house; the customer is not charged for either."""
    studio.kie.drop_creates = how == "dropped"
    studio.kie.create_code = 500
    received = await studio.generate()
    assert received.code == "provider_error"
    assert len(studio.kie.creates) == 1
    assert studio.house.account.available_nano == 5 * NANO


@pytest.mark.parametrize("fields", [{"prompt": ""}, {"aspect_ratio": "7:1"}, {"prompt": "x" * 6000}, {"n": 4}])
async def test_bad_input_holds_nothing_and_reaches_nobody(studio: Studio, fields: dict[str, Any]) -> None:
    received = await studio.generate(**fields)
    assert received.code == "invalid_request"
    assert studio.house.account.held_nano == 0
    assert studio.kie.creates == []
    assert not (await studio.record(received.request_id)).status


async def test_a_balance_that_does_not_cover_it_is_refused(studio: Studio) -> None:
    for _ in range(3):
        assert (await studio.generate()).ended
    received = await studio.generate()
    assert received.code == "insufficient_balance_held"
    assert len(studio.kie.creates) == 3


async def test_an_embedded_image_becomes_a_short_lived_public_file(studio: Studio) -> None:
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    received = await studio.generate("google/nano-banana-edit", image_url=uri)
    assert received.ended, received.code
    (url,) = studio.kie.creates[0]["input"]["image_urls"]
    assert url.startswith("https://api.example.com/v1/files/s")
    assert await read_whole(studio.store, url.rpartition("/")[2], 10**6) == PNG


async def test_results_that_cannot_be_copied_are_given_from_the_provider_and_copied_later(studio: Studio) -> None:
    """The customer has paid and must not wait for our disk."""
    studio.kie.file_status = 503
    studio.kie.plan = studio.kie.done("a.png")
    received = await studio.generate()
    shown = await studio.ends(received.request_id)
    assert shown["url"] == f"{studio.kie.url}/result/a.png"
    assert studio.house.account.charges_nano == PRICE
    studio.kie.file_status = 200
    async with asyncio.timeout(60):
        while not (await studio.shown(received.request_id))["url"].startswith("https://api"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert studio.house.account.charges_nano == PRICE


async def test_an_attempt_that_was_begun_elsewhere_is_joined_not_repeated(studio: Studio) -> None:
    """An edge that heard nothing for a while asks another core; the provider must not make two."""
    studio.kie.create_hang = asyncio.Event()
    request_id = ids.mint()
    studio.send(request_id)
    await until(lambda: len(studio.kie.creates) == 1, "the create has begun")
    second = asyncio.create_task(studio.generate(request_id=request_id, attempt=2))
    await asyncio.sleep(0.3)
    studio.kie.create_hang.set()
    assert (await second).body["task_id"] == ids.text(ids.TASK, request_id)
    assert len(studio.kie.creates) == 1
    studio.kie.plan = studio.kie.done()
    await studio.ends(request_id)
    assert studio.house.account.charges_nano == PRICE


async def test_a_result_that_comes_with_the_create_is_there_at_once(studio: Studio) -> None:
    received = await studio.generate("ai-music-api/boost-music-style")
    assert received.body["status"] == "completed"
    record = await studio.record(received.request_id)
    assert b"dreamy" in await read_whole(studio.store, record.files[0].name, 1000)
    assert b"dreamy" not in record.SerializeToString(), "an answer stays out of the streams"


async def test_songs_of_a_task_can_be_gone_on_from(studio: Studio) -> None:
    studio.kie.plan = {
        "status": "SUCCESS",
        "response": {"sunoData": [{"id": "song-1", "audioUrl": f"{studio.kie.url}/result/a.mp3", "imageUrl": "x"}]},
    }
    received = await studio.generate("suno-v4")
    shown = await studio.ends(received.request_id)
    assert shown["song_ids"] == ["song-1"]
    assert shown["url"].endswith(".mp3")


async def test_the_customer_is_told_once_it_has_ended(studio: Studio) -> None:
    studio.kie.hook_status = 500
    received = await studio.generate(callback_url=f"{studio.kie.url}/hook")
    secret = received.body["webhook_secret"]
    studio.kie.plan = studio.kie.done()
    await studio.ends(received.request_id)
    await until(lambda: len(studio.kie.hooks) == 1, "the first delivery")
    headers, body = studio.kie.hooks[0]
    headers = {name.lower(): value for name, value in headers.items()}
    stamp = headers["x-onysoft-timestamp"]
    expected = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()
    assert headers["x-onysoft-signature"] == f"v1={expected}"
    assert orjson.loads(body)["status"] == "completed"


@pytest.mark.parametrize("media_settings", [{"source_images": "provider"}])
async def test_an_embedded_image_can_go_to_the_providers_own_upload(studio: Studio) -> None:
    """For a gateway that the provider cannot reach."""
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    received = await studio.generate("google/nano-banana-edit", image_url=[uri, "https://example.com/b.png"])
    assert received.ended, received.code
    assert studio.kie.creates[0]["input"]["image_urls"] == [
        "https://files.example.com/1.png",
        "https://example.com/b.png",
    ]
    assert studio.kie.uploads[0]["base64Data"] == uri


@pytest.mark.parametrize("media_settings", [{"kie_creates_per_10s": 2, "create_wait_s": 0.5}])
async def test_what_cannot_begin_within_the_stated_wait_is_refused_with_a_time(studio: Studio) -> None:
    """Not 429, which would blame the customer, and nothing is held meanwhile."""
    for _ in range(2):
        assert (await studio.generate()).ended
    held = studio.house.account.held_nano
    received = await studio.generate()
    assert (received.code, 5 < received.retry_after_s <= 11) == ("service_unavailable", True)
    await studio.house.core.replica.fresh()
    assert studio.house.account.held_nano == held
    assert len(studio.kie.creates) == 2
