"""A hundred calls at once on a balance for fifty.

Five rounds by default; `ONYSOFT_TEST_ROUNDS=20 ./dev test tests/clients/test_last_lira.py` for more.
"""

import asyncio
import os
from collections import Counter

import aiohttp
import openai
import pytest

from tests.faults.gateway import FIXED_PRICE_MODEL, Gateway, wait_until
from tests.faults.load import Call, Question, make_call
from tests.faults.reconcile import reconcile

ROUNDS = int(os.environ.get("ONYSOFT_TEST_ROUNDS", "5"))
CALLS = 100
PROMPT = "Merhaba"


async def call_with_sdk(client: openai.AsyncOpenAI) -> str:
    try:
        await client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=[{"role": "user", "content": PROMPT}])
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.code}"
    return "answer"


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_a_hundred_calls_on_a_balance_for_fifty(gateway: Gateway, number: int) -> None:
    """Over two edges and two cores: exactly 50 answers, 50 refusals, nothing left, nothing owed."""
    customer = gateway.open_account("5.00")
    clients = [
        openai.AsyncOpenAI(base_url=url, api_key=customer.api_key, max_retries=0, timeout=60)
        for url in gateway.base_urls
    ]
    outcomes = await asyncio.gather(*(call_with_sdk(clients[each % 2]) for each in range(CALLS)))
    for client in clients:
        await client.close()
    assert Counter(outcomes) == {"answer": 50, "402 insufficient_balance": 50}
    balance = gateway.balance(customer.account_id)
    assert (balance.balance, balance.held, balance.charges, balance.shortfall) == ("0.00", "0.00", "5.00", "0.00")


async def test_streams_too_stop_at_the_last_lira(gateway: Gateway) -> None:
    """A stream must be held and charged like any other call."""
    customer = gateway.open_account("2.00")
    question = Question(FIXED_PRICE_MODEL, PROMPT, "")
    calls = [Call(each, gateway.base_urls[each % 2], customer.account_id, True, 0.0) for each in range(40)]
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(make_call(session, call, customer.api_key, question) for call in calls))
    assert Counter(call.code or "answer" for call in calls) == {"answer": 20, "insufficient_balance": 20}
    assert gateway.balance(customer.account_id).balance == "0.00"


async def test_everything_so_far_reconciles(gateway: Gateway) -> None:
    """All that the client tests did so far: log, both readings of it, cores, projections and provider agree."""
    wait_until(lambda: not any(each.open_requests for each in gateway.statuses().values()), 30, "the end of every hold")
    report = await reconcile(gateway)
    assert report.ok, report.told()
