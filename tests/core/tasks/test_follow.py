"""Following tasks through everything that goes wrong: late, forgotten, orphaned, told twice."""

import asyncio
from typing import Any

import orjson
import pytest

from bus.tasks import enqueue, write_task
from core.ledger.money import NANO
from core.tasks import follow, records, webhooks
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1 import task_pb2 as pb
from proto.onysoft.v1 import work_pb2
from proto.onysoft.v1.task_pb2 import TaskRecord
from runtime import ids
from tests.core.conftest import until
from tests.core.tasks.conftest import MODEL, PRICE, Studio

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def media_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return getattr(request, "param", {})


impatient = pytest.mark.parametrize("media_settings", [{"task_patience_s": 1.5, "hold_lease_s": 5}], indirect=True)


@impatient
async def test_a_task_that_takes_too_long_costs_nothing_and_its_late_result_is_given(studio: Studio) -> None:
    """The customer was told that it is over: what comes later is a present, and the house's loss."""
    received = await studio.generate()
    shown = await studio.ends(received.request_id, "failed")
    assert shown["error"]["code"] == "generation_expired"
    assert shown["cost"]["amount"] == 0
    assert studio.house.account.available_nano == 5 * NANO
    studio.kie.plan = studio.kie.done()
    studio.house.connection.send("hurry", received.request_id)
    shown = await studio.ends(received.request_id)
    assert shown["url"]
    assert (shown["error"], shown["cost"]["amount"]) == (None, 0)
    account = studio.house.account
    assert (account.charges_nano, account.shortfall_nano) == (0, PRICE)


async def test_a_task_that_the_provider_forgets_is_given_back(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "UNKNOWN_GRACE_MS", 0)
    studio.kie.plan = {"code": 422}
    received = await studio.generate()
    shown = await studio.ends(received.request_id, "failed")
    assert shown["error"]["code"] == "generation_expired"
    assert studio.house.account.available_nano == 5 * NANO


async def test_a_task_that_the_provider_does_not_know_yet_is_waited_for(studio: Studio) -> None:
    """A record appears some seconds after its creation; giving up then would waste a task that is being made."""
    studio.kie.plan = {"code": 422}
    received = await studio.generate()
    await until(lambda: len(studio.kie.looks) > 5, "looks")
    assert (await studio.shown(received.request_id))["status"] == "pending"
    studio.kie.plan = studio.kie.done()
    await studio.ends(received.request_id)


async def test_a_provider_in_trouble_is_asked_again(studio: Studio) -> None:
    received = await studio.generate()
    studio.kie.plan = {"code": 455}
    await until(lambda: len(studio.kie.looks) > 3, "looks")
    studio.kie.plan = studio.kie.done()
    await studio.ends(received.request_id)
    assert studio.house.account.charges_nano == PRICE


def orphan(studio: Studio, request_id: bytes, **fields: Any) -> TaskRecord:
    """What a core that has died left in the stream."""
    record = TaskRecord(
        request_id=request_id,
        attempt=1,
        account_id=studio.house.account_id,
        key_id=studio.house.key_id,
        model=MODEL,
        kind="image",
        currency=ledger.TRY,
        held_nano=PRICE,
        provider="kie",
        family="market",
        query="/api/v1/jobs/recordInfo",
        created_ms=1_000,
        **{"deadline_ms": 2**42, **fields},
    )
    settled = record.settlement
    settled.request_id, settled.attempt, settled.charge_nano = request_id, 1, PRICE
    settled.provider_cost_usd, settled.fx_rate_nano = "0.04", 40 * NANO
    return records.changed(record, "https://api.example.com")


async def leave(studio: Studio, record: TaskRecord) -> None:
    await write_task(studio.house.connection, record, 0)
    await enqueue(studio.house.connection, 0, record.request_id, pb.FOLLOW, "test")


async def open_request(studio: Studio, request_id: bytes) -> None:
    opened = ledger.RequestOpened(
        request_id=request_id,
        attempt=1,
        account_id=studio.house.account_id,
        key_id=studio.house.key_id,
        model=MODEL,
        hold_nano=PRICE,
        lease_ms=60_000,
    )
    await studio.house.append(ledger.Event(request_opened=opened))
    assert studio.house.account.held_nano == PRICE


async def test_a_core_that_dies_after_the_create_leaves_a_task_that_is_finished(studio: Studio) -> None:
    """The provider's id was written down: the customer gets the result and pays once."""
    request_id = ids.mint()
    await open_request(studio, request_id)
    studio.kie.plan = studio.kie.done()
    await leave(studio, orphan(studio, request_id, status=pb.PENDING, provider_task_id="task_9", submitted_ms=1))
    await studio.ends(request_id)
    account = studio.house.account
    assert (account.charges_nano, account.held_nano) == (PRICE, 0)


async def test_a_core_that_dies_in_the_create_leaves_nothing_to_pay(studio: Studio) -> None:
    """Nobody knows the provider's id: the hold ends with its lease, and the task is given up."""
    request_id = ids.mint()
    await leave(studio, orphan(studio, request_id, status=pb.CREATING))
    shown = await studio.ends(request_id, "failed")
    assert shown["error"]["code"] == "generation_failed"
    assert studio.kie.creates == []


@pytest.mark.parametrize("deadline_ms", [2**42, 1], ids=["at once", "much later"])
async def test_a_core_that_dies_after_the_settlement_charges_once_and_shows_it(
    studio: Studio, deadline_ms: int
) -> None:
    """The record lags behind the ledger: what was charged is read from there, not charged again."""
    request_id = ids.mint()
    await open_request(studio, request_id)
    fields = {"provider_task_id": "task_9", "submitted_ms": 1, "deadline_ms": deadline_ms}
    record = orphan(studio, request_id, status=pb.PROCESSING, **fields)
    await studio.house.append(ledger.Event(request_settled=record.settlement))
    story = {"status": "settled", "charge": "1.60"}

    def tell(message: Any) -> None:
        answer = work_pb2.Answer(json=orjson.dumps(story))
        studio.house.connection.send(message.reply, answer.SerializeToString())

    await studio.house.connection.subscribe_direct("ask.request", tell)
    studio.kie.plan = studio.kie.done()
    await leave(studio, record)
    shown = await studio.ends(request_id)
    assert shown["cost"]["amount"] == 1.6
    assert studio.house.account.charges_nano == PRICE


async def test_two_who_find_the_same_end_charge_once(studio: Studio) -> None:
    """The callback and the timer come at the same moment, often to two cores."""
    received = await studio.generate()
    studio.kie.plan = studio.kie.done()
    for _ in range(5):
        studio.house.connection.send("hurry", received.request_id)
    await enqueue(studio.house.connection, 0, received.request_id, pb.FOLLOW, "again")
    await studio.ends(received.request_id)
    await asyncio.sleep(0.5)
    assert studio.house.account.charges_nano == PRICE
    assert len(studio.kie.creates) == 1


async def test_a_webhook_that_is_not_taken_comes_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_S", 0.3)
    studio.kie.hook_status = 503
    studio.kie.plan = studio.kie.done()
    received = await studio.generate(callback_url=f"{studio.kie.url}/hook")
    await until(lambda: len(studio.kie.hooks) >= 2, "two deliveries")
    studio.kie.hook_status = 204
    async with asyncio.timeout(60):
        while (await studio.record(received.request_id)).callback != pb.CALLBACK_DELIVERED:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    count = len(studio.kie.hooks)
    await asyncio.sleep(0.8)
    assert len(studio.kie.hooks) == count


closed = pytest.mark.parametrize("media_settings", [{"callback_private_addresses": False}], indirect=True)


@closed
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/hook",
        "http://localhost/hook",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://user:pass@example.com/",
        "ftp://example.com/",
        "http://intranet/",
        "not a url",
        7,
    ],
)
async def test_a_webhook_into_a_network_is_refused_before_anything_is_held(studio: Studio, url: Any) -> None:
    received = await studio.generate(callback_url=url)
    assert received.code == "invalid_request"
    assert studio.house.account.held_nano == 0
    assert studio.kie.creates == []


async def test_receivers_that_hang_keep_no_task_from_its_end(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """One customer's dead webhooks must not delay another's video."""
    monkeypatch.setattr(follow, "WEBHOOKS_MAX", 2)
    studio.kie.hook_hang = asyncio.Event()
    studio.kie.plan = studio.kie.done()
    hung = [await studio.generate("google/imagen4-fast", callback_url=f"{studio.kie.url}/hook") for _ in range(3)]
    for received in hung:
        await studio.ends(received.request_id)
    await until(lambda: len(studio.kie.hooks) >= 2, "deliveries that hang")
    received = await studio.generate("google/imagen4-fast")
    await studio.ends(received.request_id)
    studio.kie.hook_hang.set()
