"""Calls through a core: what is charged, what is given back, what the client is told."""

import asyncio
from typing import Any

import pytest

from bus.frames import answer_subject
from core.ledger.money import NANO
from runtime import ids
from tests.core.conftest import House, until

FIXED = 100_000_000  # nano-lira: 0.0025 USD at rate 40, markup 0


async def test_a_whole_answer_is_charged_before_it_is_sent(house: House) -> None:
    received = await house.call()
    assert received.ended
    assert received.body["id"] == ids.text(ids.REQUEST, received.request_id)
    assert received.body["cost"] == {"amount": 0.1, "currency": "TRY"}
    assert house.account.charges_nano == FIXED
    assert house.account.held_nano == 0
    assert "cost" not in received.body["usage"]


async def test_a_stream_ends_with_usage_cost_and_done_under_one_id(house: House) -> None:
    received = await house.call(stream=True)
    *chunks, last, done = received.events
    assert done == "[DONE]"
    assert {chunk["id"] for chunk in [*chunks, last]} == {ids.text(ids.REQUEST, received.request_id)}
    assert {chunk["model"] for chunk in [*chunks, last]} == {"sandbox/fixed-price"}
    assert last["choices"] == []
    assert last["cost"] == {"amount": 0.1, "currency": "TRY"}
    assert last["usage"]["total_tokens"] > 0
    assert all("usage" not in chunk for chunk in chunks)
    assert house.account.charges_nano == FIXED


async def test_the_trace_context_reaches_the_provider(house: House) -> None:
    await house.call()
    assert (await house.journal())[-1]["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


async def test_fifty_of_a_hundred_concurrent_calls_fit_five_lira(house: House) -> None:
    received = await asyncio.gather(*(house.call() for _ in range(100)))
    assert sum(call.ended for call in received) == 50
    refused = [call.code for call in received if not call.ended]
    assert set(refused) <= {"insufficient_balance", "insufficient_balance_held"}
    assert house.account.balance_nano == 0
    assert house.account.held_nano == 0


async def test_a_failing_provider_costs_nothing(house: House) -> None:
    await house.control(error_rates={"500": 1.0})
    received = await house.call()
    assert received.code == "provider_error"
    await house.idle()
    assert house.account.available_nano == 5 * NANO


async def test_one_failure_is_retried_before_the_first_byte(house: House) -> None:
    await house.control(error_rates={"500": 0.5}, seed=3)
    calls = [await house.call() for _ in range(10)]
    ended = sum(call.ended for call in calls)
    assert ended > 5
    assert house.account.charges_nano == ended * FIXED


@pytest.mark.parametrize(("status", "code"), [("401", "service_unavailable"), ("402", "service_unavailable")])
async def test_the_operators_trouble_is_never_the_customers(house: House, status: str, code: str) -> None:
    await house.control(error_rates={status: 1.0})
    received = await house.call()
    assert received.code == code
    assert received.retry_after_s > 0


async def test_a_providers_rate_limit_names_a_time(house: House) -> None:
    await house.control(error_rates={"429": 1.0}, retry_after_s=7)
    received = await house.call()
    assert (received.code, received.retry_after_s) == ("service_unavailable", 7)


@pytest.mark.parametrize("wrong", ["not_json", "truncated", "html", "empty"])
async def test_a_garbled_answer_is_a_provider_error_and_free(house: House, wrong: str) -> None:
    await house.control(wrong_content=wrong)
    received = await house.call()
    assert received.code == "provider_error"
    await house.idle()
    assert house.account.available_nano == 5 * NANO


async def test_an_error_inside_a_200_is_an_error(house: House) -> None:
    await house.control(error_in_200=True)
    received = await house.call()
    assert received.code == "provider_error"


async def test_a_stream_that_breaks_is_charged_for_what_it_gave(house: House) -> None:
    await house.control(error_after_tokens=5, tokens_per_second=100)
    received = await house.call("openai/gpt-4o-mini", stream=True)
    assert received.code == "provider_error"
    assert not received.ended
    await house.idle()
    assert 0 < house.account.charges_nano < NANO // 100
    assert house.account.held_nano == 0


async def test_a_stream_that_breaks_at_once_is_charged_only_if_something_was_sent(house: House) -> None:
    """A client that has an error and not one word would pay for words that never left the core."""
    await house.control(error_after_tokens=1)
    received = await house.call("openai/gpt-4o-mini", stream=True)
    await house.idle()
    assert received.code == "provider_error"
    assert (house.account.charges_nano > 0) == bool(received.data)
    assert house.account.held_nano == 0


async def test_a_dropped_stream_is_charged_by_the_providers_record(house: House) -> None:
    await house.control(drop_after_tokens=5, tokens_per_second=100)
    received = await house.call("openai/gpt-4o-mini", stream=True)
    assert received.code == "provider_error"
    await house.idle()
    [entry] = await house.journal()
    assert entry["completion_tokens"] >= 5
    assert 0 < house.account.charges_nano < NANO // 100


async def test_missing_usage_is_estimated_and_never_free(house: House) -> None:
    await house.control(missing_usage=True)
    for stream in (False, True):
        before = house.account.charges_nano
        received = await house.call("openai/gpt-4o-mini", stream=stream)
        assert received.ended
        assert house.account.charges_nano > before


async def test_a_cost_of_zero_for_a_priced_model_is_not_believed(house: House) -> None:
    await house.control(zero_cost=True)
    received = await house.call("openai/gpt-4o-mini")
    assert received.body["cost"]["amount"] > 0


async def test_a_client_that_leaves_a_stream_pays_for_what_was_generated(house: House) -> None:
    await house.control(tokens_per_second=40)
    request = {"messages": [{"role": "user", "content": "[[tokens=400]]"}]}
    await house.call("openai/gpt-4o-mini", leave_after=3, stream=True, **request)
    await house.idle()
    [entry] = await house.journal()
    assert entry["aborted"]
    assert entry["completion_tokens"] < 400
    assert house.account.charges_nano > 0
    assert house.account.held_nano == 0


async def test_the_last_kurus_is_spendable(house: House) -> None:
    received = await house.call("anthropic/claude-sonnet-4")
    assert received.ended
    assert 0 < received.lowered_to < 64_000


async def test_a_provider_that_ignores_the_limit_is_cut(house: House) -> None:
    await house.control(ignore_max_tokens=True)
    request = {"messages": [{"role": "user", "content": "[[tokens=3000]]"}], "max_tokens": 20}
    received = await house.call("openai/gpt-4o-mini", stream=True, **request)
    assert received.ended
    reasons = [choice["finish_reason"] for event in received.events[:-1] for choice in event["choices"]]
    assert reasons[-1] == "length"
    assert len(reasons) < 100


async def test_below_the_useful_minimum_the_refusal_is_402_and_appends_nothing(house: House) -> None:
    for _ in range(50):
        await house.call()
    position = house.core.replica.state.position
    received = await house.call()
    assert received.code == "insufficient_balance"
    assert house.core.replica.state.position == position


async def test_an_unpriced_model_is_not_callable(house: House) -> None:
    assert (await house.call("openrouter/auto")).code == "model_not_found"


async def test_a_free_model_needs_no_balance(house: House) -> None:
    for _ in range(50):
        await house.call()
    free = next(entry.id for entry in house.core.catalogue.entries.values() if entry.price.free)
    received = await house.call(free)
    assert received.ended
    assert received.body["cost"]["amount"] == 0


class TestShortLeases:
    @pytest.fixture
    def core_settings(self) -> dict[str, Any]:
        return {"hold_lease_s": 5.0}

    async def test_a_live_stream_keeps_its_hold(self, house: House) -> None:
        await house.control(tokens_per_second=5)
        request = {"messages": [{"role": "user", "content": "[[tokens=35]]"}]}
        received = await house.call("openai/gpt-4o-mini", stream=True, **request)
        assert received.ended
        assert house.account.requests_settled == 1

    async def test_a_hold_without_its_core_ends_with_the_lease(self, house: House) -> None:
        from proto.onysoft.v1 import ledger_pb2 as pb

        opened = pb.RequestOpened(
            request_id=ids.mint(),
            attempt=1,
            account_id=house.account_id,
            key_id=house.key_id,
            hold_nano=NANO,
            lease_ms=1_000,
        )
        await house.append(pb.Event(request_opened=opened))
        assert house.account.held_nano == NANO
        await until(lambda: house.account.held_nano == 0, "the hold ends by itself")


class TestTwoCores:
    @pytest.fixture
    def cores_wanted(self) -> int:
        return 2

    async def test_both_fold_to_one_state(self, house: House) -> None:
        await asyncio.gather(*(house.call() for _ in range(100)))
        await house.idle()
        await asyncio.gather(*(core.replica.fresh() for core in house.cores))
        one, other = (core.replica.state for core in house.cores)
        assert one.position == other.position
        assert one.digest() == other.digest()
        assert one.accounts[house.account_id].balance_nano == 0

    async def test_a_second_attempt_supersedes_the_first_and_only_one_is_charged(self, house: House) -> None:
        await house.control(latency_ms=1_500)
        request_id = ids.mint()
        ends: list[bytes] = []
        await house.connection.subscribe_direct(
            answer_subject(house.inbox.edge, request_id), lambda message: ends.append(message.data)
        )
        house.send(request_id=request_id)
        await until(lambda: request_id in house.core.replica.state.requests, "attempt 1 admitted")
        house.send(request_id=request_id, attempt=2)
        await until(lambda: house.account.requests_settled == 1, "settled")
        await house.idle()
        assert house.account.charges_nano == FIXED
        assert house.account.held_nano == 0
        house.send(request_id=request_id, attempt=3)
        await house.idle()
        await until(lambda: len(ends) >= 2, "an answer to the third attempt")
        assert house.account.charges_nano == FIXED


async def test_a_second_output_limit_does_not_widen_the_first(house: House) -> None:
    request = {"messages": [{"role": "user", "content": "[[tokens=500]]"}], "max_tokens": 400}
    received = await house.call("openai/gpt-4o-mini", max_completion_tokens=10, **request)
    assert received.body["usage"]["completion_tokens"] <= 10


async def test_a_hold_that_was_outrun_is_sized_again(house: House) -> None:
    """Two calls at once on a balance that covers one of them whole: the other gets less output, not a refusal."""
    await house.control(latency_ms=3_000)  # neither ends before the other is admitted
    calls = [house.call("anthropic/claude-sonnet-4", max_tokens=3_000) for _ in range(2)]
    received = await asyncio.gather(*calls)
    assert [call.code for call in received if not call.ended] == []
    assert any(call.lowered_to for call in received)
