"""Images out of chat models: given without a further word, held for in full, charged as the provider bills them."""

from decimal import Decimal
from typing import Any

import pytest

from core.ledger.money import NANO
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.core.conftest import House, Received

MODEL = "google/gemini-2.5-flash-image"
LIRA_A_DOLLAR = 40


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"first_hold_output_tokens": 64}


def pictures(received: Received, stream: bool) -> list[str]:
    """The images of an answer, as data URIs."""
    if stream:
        choices = [choice for event in received.events if event != "[DONE]" for choice in event["choices"]]
        said = [choice["delta"] for choice in choices]
    else:
        said = [choice["message"] for choice in received.body["choices"]]
    return [image["image_url"]["url"] for each in said for image in each.get("images") or ()]


async def ask(house: House, stream: bool, **fields: Any) -> Received:
    return await house.call(MODEL, stream=stream, **fields) if stream else await house.call(MODEL, **fields)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_image_comes_as_base64_and_is_charged_with_its_tokens(house: House, stream: bool) -> None:
    """The documents promise it for `model` and `messages` alone; an image's tokens cost twelve times a text's."""
    credit = pb.CreditAdded(account_id=house.account_id, amount_nano=20 * NANO, reference="more")
    await house.append(pb.Event(credit_added=credit))
    before = house.account.balance_nano
    received = await ask(house, stream)
    assert received.ended, received.code
    (uri,) = pictures(received, stream)
    assert uri.startswith("data:image/png;base64,")
    last = received.events[-2] if stream else received.body
    entry = (await house.journal())[-1]
    assert before - house.account.balance_nano == int(Decimal(entry["cost_usd"]) * LIRA_A_DOLLAR * NANO)
    assert Decimal(str(last["cost"]["amount"])) == Decimal(entry["cost_usd"]) * LIRA_A_DOLLAR
    assert last["usage"]["completion_tokens"] > 1_000
    assert house.account.shortfall_nano == 0
    await house.idle()
    assert house.account.held_nano == 0


async def test_a_stream_that_makes_images_holds_for_all_of_them_at_once(house: House) -> None:
    """One chunk can hold a whole image: a hold that grew with the text would come too late, and the house would pay."""
    await house.control(tokens_per_second=20)
    received = await ask(house, True)
    assert received.lowered_to > 0, "5 lira do not cover 8,192 image tokens, and the client is told"
    await house.idle()
    assert house.account.shortfall_nano == 0


async def test_who_wants_text_alone_says_so(house: House) -> None:
    received = await ask(house, False, modalities=["text"])
    assert pictures(received, False) == []
