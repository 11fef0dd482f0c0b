"""Holds that grow with a streamed answer: one call does not lock out the next, and no balance is overdrawn."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from core.admission import Hold, Purse, Terms, affordable_output, grown, size_hold, terms_of
from core.catalogue import Entry
from core.ledger.money import NANO
from core.pricing import ATTO, Demand, Tariff, parse_price
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime import ids
from tests.core.conftest import House, until

MODEL = "openai/gpt-4o"
FIRST = 64


def asking_for(tokens: int) -> dict[str, Any]:
    return {"stream": True, "messages": [{"role": "user", "content": f"[[tokens={tokens}]]"}]}


def finish_reasons(events: list[Any]) -> list[str]:
    chosen = [choice for event in events if event != "[DONE]" for choice in event["choices"]]
    return [choice["finish_reason"] for choice in chosen if choice.get("finish_reason")]


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"first_hold_output_tokens": FIRST}


async def test_a_hold_begins_small_and_grows_with_the_answer(house: House) -> None:
    """The first streamed call would hold the whole balance, and the customer's second call would be refused."""
    await house.control(tokens_per_second=400)
    request_id = ids.mint()
    pending = house.inbox.open(request_id)
    pending.begin(1)
    house.send(MODEL, request_id, **asking_for(600))
    await until(lambda: request_id in house.core.replica.state.requests, "admitted")
    request = house.core.replica.state.requests[request_id]
    first_nano, first_tokens = request.hold_nano, request.hold_tokens
    assert first_nano < house.account.balance_nano // 50
    await until(lambda: request.hold_nano >= 4 * first_nano, "the hold has grown")
    assert request.hold_tokens >= first_tokens + 3 * FIRST
    await until(lambda: house.settlements(request_id) == 1, "settled")
    pending.close()
    assert house.account.held_nano == 0
    assert house.account.shortfall_nano == 0
    entry = (await house.journal())[-1]
    assert entry["completion_tokens"] == 600
    assert house.account.charges_nano == int(float(entry["cost_usd"]) * 40 * NANO)


async def test_many_streams_share_a_small_balance(house: House) -> None:
    received = await asyncio.gather(*(house.call(MODEL, **asking_for(40)) for _ in range(40)))
    assert all(call.ended for call in received)
    assert house.account.held_nano == 0
    assert house.account.balance_nano > 0


async def test_an_answer_ends_where_the_balance_does(house: House) -> None:
    """The house would pay for what the customer's balance does not cover, or the balance would go below zero."""
    await house.control(tokens_per_second=300)
    calling = asyncio.create_task(house.call(MODEL, **asking_for(4_000)))
    await until(lambda: house.account.held_nano > 0, "the stream runs")
    rival = pb.RequestOpened(request_id=ids.mint(), attempt=1, account_id=house.account_id, key_id=house.key_id)
    rival.hold_nano, rival.lease_ms = house.account.available_nano, 60_000
    outcome = await house.append(pb.Event(request_opened=rival))
    assert outcome.code.name == "ADMITTED"
    received = await calling
    assert received.ended
    assert finish_reasons(received.events)[-1] == "length"
    assert received.events[-1] == "[DONE]"
    await house.idle()
    assert house.account.held_nano == rival.hold_nano
    assert house.account.available_nano >= 0


async def test_a_stated_limit_is_held_whole(house: House) -> None:
    """A limit that the caller chose is what the call may cost: it must not be cut short of it."""
    request_id = ids.mint()
    await house.control(first_token_ms=500)
    pending = house.inbox.open(request_id)
    pending.begin(1)
    house.send(MODEL, request_id, max_tokens=5_000, **asking_for(10))
    await until(lambda: request_id in house.core.replica.state.requests, "admitted")
    assert house.core.replica.state.requests[request_id].hold_tokens > 5_000
    await until(lambda: house.settlements(request_id) == 1, "settled")
    pending.close()


PRICE = parse_price({"prompt": "0.000001", "completion": "0.00001"})
ENTRY = Entry("m", "m", 0, 100_000, 10_000, True, PRICE, {}, (), False)
STREAMED = Terms(1, 10_000, "max_tokens", False, True)
CUSTOMER = Tariff(3_000, 40 * NANO, 5_000, NANO)


def sized(purse: Purse, terms: Terms = STREAMED) -> Hold:
    return size_hold(ENTRY, Demand(100, 0, 0), terms, CUSTOMER, purse, 16, 1_000)


def test_both_legs_bound_what_an_answer_may_have() -> None:
    """A partner that has run dry would let its customers go on at the house's cost."""
    rich, poor = 10**15, NANO // 100
    assert sized(Purse(rich, rich)).output_tokens == 10_000
    assert sized(Purse(rich, rich)).held_output == 1_000
    by_parent = sized(Purse(rich, poor))
    assert by_parent.lowered
    assert by_parent.output_tokens < 10_000
    whole = grown(ENTRY, Demand(100, 0, 0), STREAMED, CUSTOMER, by_parent, by_parent.output_tokens)
    assert whole.parent_nano <= poor
    one_more = grown(ENTRY, Demand(100, 0, 0), STREAMED, CUSTOMER, by_parent, by_parent.output_tokens + 1)
    assert one_more.parent_nano > poor
    assert affordable_output(ENTRY, STREAMED, CUSTOMER, Purse(rich, 0)) == 0


def test_what_does_not_show_in_a_stream_is_held_whole() -> None:
    """The house would pay for thoughts and pictures that a growing hold has not seen coming."""
    request = {"messages": []}
    assert terms_of(request, ENTRY, streamed=True).grows
    assert not terms_of(request, ENTRY, streamed=False).grows
    assert not terms_of({**request, "max_tokens": 9}, ENTRY, streamed=True).grows
    assert not terms_of({**request, "reasoning": {"effort": "high"}}, ENTRY, streamed=True).grows
    assert not terms_of(request, replace(ENTRY, reasons_always=True), streamed=True).grows
    assert not terms_of(request, replace(ENTRY, image_output=True), streamed=True).grows


def test_the_legs_of_a_charge_are_as_stated() -> None:
    """A partner or its customer would pay another price than the contract names."""
    cost = ATTO // 100  # one US cent
    assert CUSTOMER.parent_charge_nano(cost) == 15_000_000  # 0.01 × 1.5 USD
    assert CUSTOMER.charge_nano(cost) == 780_000_000  # 0.01 × 1.5 × 1.3 × 40 TRY
    assert Tariff(3_000, 40 * NANO).parent_charge_nano(cost) == 0
    assert Tariff(1, 1).charge_nano(1) == 1  # rounded up once
