"""Prices, holds and charges. A wrong number here is money lost by a customer or by the house."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.pricing import (
    ATTO,
    Demand,
    Tariff,
    Unpriced,
    atto_to_text,
    cost_to_atto,
    demand_of,
    parse_price,
    token_cost_atto,
)

TRY_AT_40 = Tariff(markup_bps=0, fx_rate_nano=40_000_000_000)


def test_the_fixed_price_model_costs_ten_kurus_at_rate_40() -> None:
    price = parse_price({"prompt": "0", "completion": "0", "request": "0.0025"})
    cost = token_cost_atto(price, 1_000, 1_000, 0)
    assert TRY_AT_40.charge_nano(cost) == 100_000_000


def test_prices_finer_than_a_nano_dollar_are_not_rounded_before_the_end() -> None:
    price = parse_price({"prompt": "0.0000000375", "completion": "0"})
    assert token_cost_atto(price, 3, 0, 0) == Fraction("0.0000001125") * ATTO
    assert Tariff(5_000, 1_000_000_000).charge_nano(token_cost_atto(price, 3, 0, 0)) == 169  # 168.75, up


@given(
    cost=st.decimals(min_value=0, max_value=1_000, places=12),
    markup=st.integers(0, 100_000),
    rate=st.integers(1, 10**12),
)
def test_one_rounding_up_and_never_more_than_one_nano(cost: Decimal, markup: int, rate: int) -> None:
    exact = Fraction(cost) * (10_000 + markup) / 10_000 * rate
    charged = Tariff(markup, rate).charge_nano(cost_to_atto(cost))
    assert exact <= charged < exact + 1


@given(amount=st.integers(0, 10**15), markup=st.integers(0, 100_000), rate=st.integers(1, 10**12))
def test_what_is_affordable_never_costs_more_than_there_is(amount: int, markup: int, rate: int) -> None:
    tariff = Tariff(markup, rate)
    affordable = tariff.affordable_atto(amount)
    assert tariff.charge_nano(affordable) <= amount < tariff.charge_nano(affordable + 1) + 1


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"prompt": "0.1"},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "x", "completion": "0"},
        {"prompt": "NaN", "completion": "0"},
        {"prompt": "0", "completion": "0", "request": "Infinity"},
        {"prompt": "0", "completion": "0", "request": "sNaN"},
        {"prompt": "0", "completion": "0", "overrides": ["x"]},
        {"prompt": "0", "completion": "0", "overrides": [{"prompt": "-1"}]},
        {"prompt": "0", "completion": "0", "overrides": [{"min_prompt_tokens": "many", "prompt": "1"}]},
        {"prompt": "0", "completion": "0", "overrides": [{"region": "eu", "prompt": "1"}]},
        {"prompt": "0", "completion": "0", "discount": 1.5},
        {"prompt": "0", "completion": "0", "discount": "half"},
        {"prompt": "0", "completion": "0", "per_moon_phase": "1"},
    ],
)
def test_a_half_priced_model_cannot_be_called(pricing: dict[str, object]) -> None:
    with pytest.raises(Unpriced):
        parse_price(pricing)


def test_free_is_a_price() -> None:
    assert parse_price({"prompt": "0", "completion": "0"}).free
    assert not parse_price({"prompt": "0", "completion": "0", "overrides": [{"completion": "0.1"}]}).free


def test_overrides_raise_the_hold_and_price_long_prompts() -> None:
    price = parse_price(
        {
            "prompt": "0.000001",
            "completion": "0.000002",
            "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000003"}],
        }
    )
    assert price.upper.prompt == 3 * ATTO // 10**6
    assert price.upper.completion == 2 * ATTO // 10**6
    assert price.at(199_999).prompt == ATTO // 10**6
    assert price.at(200_000).prompt == 3 * ATTO // 10**6


def test_the_version_names_the_price_and_nothing_else() -> None:
    one = parse_price({"prompt": "1", "completion": "2"})
    assert one.version == parse_price({"completion": "2", "prompt": "1"}).version
    assert one.version != parse_price({"prompt": "1", "completion": "3"}).version


def test_cached_tokens_are_charged_once_at_their_own_price() -> None:
    price = parse_price({"prompt": "0.000002", "completion": "0", "input_cache_read": "0.000001"})
    assert token_cost_atto(price, 10, 0, 4) == 16 * ATTO // 10**6
    without = parse_price({"prompt": "0.000002", "completion": "0"})
    assert token_cost_atto(without, 10, 0, 4) == 20 * ATTO // 10**6


def test_image_data_is_not_counted_as_text() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    request = {"model": "m", "messages": [{"role": "user", "content": [part, {"type": "text", "text": "what?"}]}]}
    demand = demand_of(request, 1_000_200)
    assert demand.images == 1
    assert demand.prompt_tokens < 1_000


def test_the_hold_bounds_any_answer_within_its_limits() -> None:
    price = parse_price({"prompt": "0.000001", "completion": "0.000004", "request": "0.01", "image": "0.002"})
    demand = Demand(prompt_tokens=500, images=2, web_searches=0)
    hold = demand.cost_atto(price.upper) + 100 * price.upper.completion_max
    assert token_cost_atto(price, 500, 100, 0, images=2) <= hold


def test_cost_text_is_exact() -> None:
    assert atto_to_text(cost_to_atto(Decimal("0.0000612"))) == "0.0000612"
    assert atto_to_text(cost_to_atto(Decimal(3))) == "3"
    assert atto_to_text(0) == "0"


def test_a_part_that_is_free_may_have_any_name() -> None:
    """A provider that lists one more zero would empty the shop."""
    assert parse_price({"prompt": "0", "completion": "0", "per_moon_phase": "0"}).free


def test_a_discount_lowers_what_is_charged_and_not_what_is_held() -> None:
    """A discount that has ended by the time of the call would leave a hold that does not cover it."""
    price = parse_price({"prompt": "0.000001", "completion": "0.000003", "discount": 0.1})
    assert token_cost_atto(price, 10, 10, 0) == 36 * ATTO // 10**6
    assert price.upper.prompt == ATTO // 10**6


def test_a_price_of_some_hours_counts_where_it_is_the_dearer() -> None:
    """The settlement does not know the provider's clock: the house would pay for the evening."""
    evening = {"utc_start": "16:00", "utc_end": "22:00", "prompt": "0.000002", "completion": "0.000001"}
    price = parse_price({"prompt": "0.000001", "completion": "0.000003", "overrides": [evening]})
    assert token_cost_atto(price, 1, 0, 0) == 2 * ATTO // 10**6
    assert token_cost_atto(price, 0, 1, 0) == 3 * ATTO // 10**6
    assert price.upper == price.at(0)
