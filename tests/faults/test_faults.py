"""No death loses money (invariant 6): processes are killed under load, then everything is held against the log."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from tests.faults.gateway import Customer, Gateway
from tests.faults.load import Call, Load, ask_sandbox
from tests.faults.reconcile import reconcile
from tests.faults.strike import Aftermath, Strike, everything, hit, show

IN_FLIGHT = 40
LEASE_S = 6.0
PACE = {"tokens_per_second": 60, "latency_ms": 100, "jitter_ms": 200}
MODELS = ("openai/gpt-4o-mini", "anthropic/claude-3.5-haiku")


async def run(gateway: Gateway, customers: Sequence[Customer], strikes: Sequence[Strike]) -> list[Call]:
    """Load, strikes one after another, and the figures; what the clients saw."""
    gateway.control(**PACE)
    questions = [await ask_sandbox(gateway, model, "[[tokens=40]] Merhaba") for model in MODELS]
    load = Load(gateway, customers, questions, IN_FLIGHT)
    load.start()
    await load.until_answered(IN_FLIGHT)
    aftermaths: list[Aftermath] = []
    for strike in strikes:
        aftermaths.append(await hit(gateway, load, strike))
    await load.stop()
    show(aftermaths, load, Console(width=160))
    return load.calls


async def assert_reconciled(gateway: Gateway, calls: Sequence[Call]) -> None:
    report = await reconcile(gateway, calls, wait_s=2 * LEASE_S)
    report.show(Console(width=160))
    assert report.ok, report.told()


def each_in_turn(gateway: Gateway) -> list[Strike]:
    return [Strike((name,)) for name in everything(gateway)]


def all_at_once(gateway: Gateway) -> list[Strike]:
    return [Strike(everything(gateway))]


def core_asleep_past_its_lease(_: Gateway) -> list[Strike]:
    return [Strike(("core-2",), stopped_s=LEASE_S + 2)]


@pytest.mark.slow
@pytest.mark.parametrize("strikes", [each_in_turn, all_at_once, core_asleep_past_its_lease])
async def test_no_death_loses_or_doubles_money(hurt: Gateway, strikes: Callable[[Gateway], list[Strike]]) -> None:
    """A kuruş lost or charged twice, a hold that stays, or an answer that nobody paid for."""
    customers = [hurt.open_account("500", markup_bps=5000), hurt.open_account("500")]
    calls = await run(hurt, customers, strikes(hurt))
    await assert_reconciled(hurt, calls)


@pytest.mark.slow
async def test_a_power_cut_loses_nothing(hurt: Gateway) -> None:
    """After the machine's power fails, the same data folder must come up with every balance as it was."""
    customer = hurt.open_account("500")
    hurt.control(**PACE)
    load = Load(hurt, [customer], [await ask_sandbox(hurt, MODELS[0], "[[tokens=40]] Merhaba")], IN_FLIGHT)
    load.start()
    await load.until_answered(IN_FLIGHT)
    await asyncio.to_thread(hurt.cut_power)
    await load.stop()
    await asyncio.to_thread(hurt.start)
    await assert_reconciled(hurt, load.calls)


@pytest.mark.slow
async def test_a_balance_runs_out_among_kills(hurt: Gateway) -> None:
    """On its last lira an account is neither driven below zero nor locked by holds of the dead."""
    customer = hurt.open_account("0.20")
    hurt.control(**PACE)
    question = await ask_sandbox(hurt, MODELS[1], "[[tokens=40]] Son kuruş")
    load = Load(hurt, [customer], [question], IN_FLIGHT)
    load.start()
    await load.until_answered(10)
    await asyncio.to_thread(hurt.wait_restarted, await asyncio.to_thread(hurt.kill, "core-1"))
    await load.stop()
    await assert_reconciled(hurt, load.calls)
    assert any(call.code == "insufficient_balance" for call in load.calls)
