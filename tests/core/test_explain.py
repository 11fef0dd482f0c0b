"""The explanation of a charge. A wrong charge that it calls equal is a wrong charge that nobody finds."""

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.explain import explain
from core.ledger.money import NANO, to_text
from core.pricing import ATTO, atto_to_text, parse_price, token_cost_atto

PRICING = {
    "prompt": "0.000003",
    "completion": "0.000015",
    "request": "0.001",
    "image": "0.0048",
    "input_cache_read": "0.0000003",
    "discount": 0.1,
    "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"}],
}
PRICE = parse_price(PRICING)
VERSION = PRICE.version.hex()


def ceiling(amount: int, divisor: int) -> int:
    return -(-amount // divisor)


def story(cost_atto: int, **changes: Any) -> dict[str, Any]:
    """A settled request as the log has it: markup 50 %, rate 40, as much held as is charged."""
    own, parent, rate = changes.get("markup_bps", 5_000), changes.get("parent_markup_bps", 0), 40 * NANO
    charge_nano = ceiling(cost_atto * (10_000 + own) * (10_000 + parent) * rate, 10**8 * ATTO)
    settled = {
        "position": 7,
        "outcome": "settled",
        "charge": to_text(charge_nano),
        "charge_asked": to_text(charge_nano),
        "shortfall": "0.00",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "provider_cost_usd": atto_to_text(cost_atto),
        "fx_rate": "40.00",
        "markup_bps": own,
        "price_version": VERSION,
        "basis": "provider_tokens",
    }
    opened = {"hold": to_text(charge_nano), "price_version": VERSION, "outcome": "admitted"}
    attempt = {"attempt": 1, "opened": opened, "settled": settled | changes}
    prices = {VERSION: orjson.dumps(PRICING).decode()}
    return {
        "request_id": "req_1",
        "status": "settled",
        "currency": "TRY",
        "model": "m",
        "attempts": [attempt],
        "prices": prices,
    }


@given(
    prompt=st.integers(0, 400_000),
    completion=st.integers(0, 100_000),
    cached=st.integers(0, 400_000),
    images=st.integers(0, 3),
    parent=st.none() | st.integers(0, 20_000),
)
def test_what_the_gateway_charges_is_what_its_parts_say(
    prompt: int, completion: int, cached: int, images: int, parent: int | None
) -> None:
    cost_atto = token_cost_atto(PRICE, prompt, completion, cached, images)
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached, "images": images}
    legs: dict[str, Any] = {}
    if parent is not None:
        charge_nano = ceiling(cost_atto * (10_000 + parent), 10_000 * 10**9)
        legs = {
            "parent_markup_bps": parent,
            "parent_fx_rate": "1.00",
            "parent_charge_asked": to_text(charge_nano),
            "markup_bps": 3_000,
        }
    explained = explain(story(cost_atto, **counts, **legs))
    assert explained["equal"], explained


WRONG: list[tuple[str, Any, str]] = [
    ("prompt_tokens", 11, "cost"),
    ("completion_tokens", 0, "cost"),
    ("provider_cost_usd", "0.0011", "cost"),
    ("price_version", "00" * 8, "cost"),
    ("charge_asked", "0.10", "charge"),
    ("fx_rate", "41.00", "charge"),
    ("markup_bps", 4_999, "charge"),
    ("charge", "0.05", "taken"),
    ("shortfall", "0.01", "taken"),
]


@pytest.mark.parametrize(("part", "value", "step"), WRONG)
def test_any_part_that_does_not_fit_is_found(part: str, value: Any, step: str) -> None:
    cost_atto = token_cost_atto(PRICE, 10, 5, 0)
    right = story(cost_atto, prompt_tokens=10, completion_tokens=5)
    assert explain(right)["equal"]
    right["attempts"][0]["settled"][part] = value
    explained = explain(right)
    assert not explained["equal"]
    assert step in {each["step"] for each in explained["settlements"][0]["steps"] if not each["equal"]}


def test_a_partners_leg_that_does_not_fit_is_found() -> None:
    cost_atto = 10**15
    legs = {"parent_markup_bps": 5_000, "parent_fx_rate": "1.00", "parent_charge_asked": "0.0015"}
    right = story(cost_atto, basis="provider_cost", **legs)
    assert explain(right)["equal"]
    right["attempts"][0]["settled"]["parent_charge_asked"] = "0.0016"
    assert not explain(right)["equal"]


def test_the_providers_own_cost_needs_no_price() -> None:
    """A price that was never in this ledger would make every charge of its time look wrong."""
    told = story(2_500_000_000_000_000, basis="provider_cost")
    told["prices"] = {}
    explained = explain(told)
    assert explained["equal"]
    assert explained["settlements"][0]["steps"][1]["lines"] == [
        "charge = 0.0025 USD × 1.5 × 40 = 0.15 TRY, rounded up to a nano-unit"
    ]


def test_shortfall_and_late_outcomes_fit() -> None:
    cost_atto = 10**15
    short = story(cost_atto, basis="provider_cost", charge="0.04", shortfall="0.02")
    assert explain(short)["equal"]
    lost = story(cost_atto, basis="provider_cost", charge="0.00", outcome="not_open")
    assert explain(lost)["equal"]


def test_a_request_without_a_settlement_has_nothing_to_explain() -> None:
    told = story(0)
    del told["attempts"][0]["settled"]
    assert explain(told) | {"settlements": []} == explain(told)


def test_the_lines_show_each_part_of_the_price() -> None:
    cost_atto = token_cost_atto(PRICE, 1_000, 10, 100, 1)
    told = story(cost_atto, prompt_tokens=1_000, completion_tokens=10, cached_tokens=100, images=1)
    (lines,) = [step["lines"] for step in explain(told)["settlements"][0]["steps"] if step["step"] == "cost"]
    assert [line.split() for line in lines[1:-1]] == [
        ["900", "prompt", "tokens", "×", "0.0000027", "=", "0.00243"],
        ["100", "cached", "prompt", "tokens", "×", "0.00000027", "=", "0.000027"],
        ["10", "output", "tokens", "×", "0.0000135", "=", "0.000135"],
        ["1", "request", "×", "0.0009", "=", "0.0009"],
        ["1", "images", "×", "0.00432", "=", "0.00432"],
    ]
    assert Decimal(lines[-1].split()[2]) == Decimal("0.007812")


@pytest.mark.parametrize(
    ("basis", "cost", "equal"),
    [
        ("provider_tokens", "0.04", True),
        ("provider_tokens", "0.03", False),
        ("provider_cost", "0.03", True),
        ("provider_cost", "0.041", False),
    ],
)
def test_a_media_task_costs_its_quantities_or_the_providers_lower_figure(basis: str, cost: str, equal: bool) -> None:
    """A film would be charged by the minute where it was sold by the second."""
    quantities = orjson.dumps({"unit": "second", "count": "4", "credits": "8", "resolution": "1080p"}).decode()
    told = story(int(Decimal(cost) * ATTO), basis=basis, quantities=quantities, price_version="00" * 8)
    explained = explain(told)
    assert explained["equal"] is equal
    assert "4 × second (resolution 1080p) = 8 credits = 0.04 USD" in explained["settlements"][0]["steps"][0]["lines"][0]
