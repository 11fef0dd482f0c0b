"""Recomputes what a request was charged, from its parts alone: tokens and price, or the provider's word; markups; rate.

It shares the arithmetic's rule with the code that settles, and none of its code but the reading of a price: integers of
10⁻¹⁸ USD, one rounding, up, at the end. What comes in is a request's story, as the log has it.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import orjson

from core.media.pricing import CREDIT_ATTO
from core.pricing import ATTO, ATTO_PLACES, Rates, Unpriced, parse_price

NANO = 10**9
BPS = 10_000

Lines = list[str]


def explain(story: Mapping[str, Any]) -> dict[str, Any]:
    """Every settlement of a story recomputed: `equal`, and under `settlements` each with its steps and lines to read.

    A request without a settlement has nothing to recompute and is equal.
    """
    prices = story.get("prices", {})
    settlements = [
        _settlement(story, attempt, attempt["settled"], prices) for attempt in story["attempts"] if "settled" in attempt
    ]
    return {
        "request_id": story["request_id"],
        "status": story["status"],
        "model": story.get("model", ""),
        "currency": story.get("currency", ""),
        "equal": all(settlement["equal"] for settlement in settlements),
        "settlements": settlements,
    }


def _settlement(
    story: Mapping[str, Any], attempt: Mapping[str, Any], settled: Mapping[str, Any], prices: Mapping[str, str]
) -> dict[str, Any]:
    cost = Fraction(settled["provider_cost_usd"] or 0)
    steps = [_cost(settled, prices, cost), _charge(settled, cost, story.get("currency", ""))]
    if "parent_fx_rate" in settled:
        steps.append(_parent_charge(settled, cost))
    steps += [_taken(settled), _hold(attempt, settled)]
    return {
        "attempt": attempt["attempt"],
        "position": settled["position"],
        "price_version": settled["price_version"],
        "basis": settled["basis"],
        "equal": all(step["equal"] for step in steps),
        "steps": steps,
    }


def _step(name: str, lines: Lines, computed: str, logged: str) -> dict[str, Any]:
    return {
        "step": name,
        "computed": computed,
        "logged": logged,
        "equal": Decimal(computed) == Decimal(logged),
        "lines": lines,
    }


def _cost(settled: Mapping[str, Any], prices: Mapping[str, str], logged: Fraction) -> dict[str, Any]:
    """The provider's cost in USD."""
    if "quantities" in settled:
        return _cost_of_task(settled, logged)
    if settled["basis"] == "provider_cost":
        line = f"the provider named its cost: {_exact(logged)} USD ({_tokens(settled)})"
        return _step("cost", [line], _exact(logged), _exact(logged))
    version = settled["price_version"]
    try:
        price = parse_price(orjson.loads(prices[version]))
    except (KeyError, Unpriced, orjson.JSONDecodeError):
        return _step("cost", [f"price version {version} is not in the history"], "NaN", _exact(logged))
    rates = price.at(settled["prompt_tokens"])
    parts = _token_parts(settled, rates)
    lines = [f"{_tokens(settled)}, at price version {version}"]
    if settled.get("counted_by"):
        lines.append(f"the provider sent no counts; counted here with {settled['counted_by']}")
    lines += [
        f"{count:>12} {unit} × {_usd(rate)} = {_usd(count * rate)}" for unit, count, rate in parts if count * rate
    ]
    total = sum(count * rate for _, count, rate in parts)
    lines.append(f"cost = {_usd(total)} USD")
    return _step("cost", lines, _usd(total), _exact(logged))


def _cost_of_task(settled: Mapping[str, Any], logged: Fraction) -> dict[str, Any]:
    """A media task's: so many of a unit under conditions, in the provider's credits; its own figure at most that."""
    quantities = orjson.loads(settled["quantities"])
    credits = Fraction(quantities["credits"])
    quoted = Fraction(ceil(credits * CREDIT_ATTO), ATTO)
    unit, count = quantities["unit"], quantities["count"]
    when = ", ".join(f"{name} {quantities[name]}" for name in sorted(set(quantities) - {"unit", "count", "credits"}))
    quote = f"{count} × {unit}{f' ({when})' if when else ''} = {quantities['credits']} credits = {_exact(quoted)} USD"
    lines = [f"{quote}, at price version {settled['price_version']}"]
    if settled["basis"] != "provider_cost":
        return _step("cost", lines, _exact(quoted), _exact(logged))
    lines.append(f"the provider's own figure: {_exact(logged)} USD, which may be at most that")
    return _step("cost", lines, _exact(min(logged, quoted)), _exact(logged))


def _token_parts(settled: Mapping[str, Any], rates: Rates) -> list[tuple[str, int, int]]:
    """What was consumed: unit, count, atto-USD for one."""
    prompt, cached = settled["prompt_tokens"], settled["cached_tokens"]
    cached = min(cached, prompt) if rates.input_cache_read else 0
    return [
        ("prompt tokens", prompt - cached, rates.prompt),
        ("cached prompt tokens", cached, rates.input_cache_read),
        ("output tokens", settled["completion_tokens"], max(rates.completion, rates.image_output)),
        ("request", 1, rates.request),
        ("images", settled.get("images", 0), rates.image),
    ]


def _charge(settled: Mapping[str, Any], cost: Fraction, currency: str) -> dict[str, Any]:
    """The account's leg."""
    parent_bps, own_bps = settled.get("parent_markup_bps", 0), settled["markup_bps"]
    rate = Fraction(settled["fx_rate"])
    exact = cost * (BPS + parent_bps) * (BPS + own_bps) * rate / BPS**2
    computed = _rounded_up(exact)
    markups = (
        f"× {_factor(parent_bps)} × {_factor(own_bps)}" if "parent_fx_rate" in settled else f"× {_factor(own_bps)}"
    )
    line = f"charge = {_exact(cost)} USD {markups} × {_exact(rate)} = {computed} {currency}, rounded up to a nano-unit"
    return _step("charge", [line], computed, settled["charge_asked"])


def _parent_charge(settled: Mapping[str, Any], cost: Fraction) -> dict[str, Any]:
    """The partner's leg."""
    rate = Fraction(settled["parent_fx_rate"])
    computed = _rounded_up(cost * (BPS + settled["parent_markup_bps"]) * rate / BPS)
    factor = _factor(settled["parent_markup_bps"])
    line = f"partner's charge = {_exact(cost)} USD × {factor} × {_exact(rate)} = {computed}"
    return _step("parent_charge", [line], computed, settled["parent_charge_asked"])


def _taken(settled: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for is what was charged and what could not be."""
    charged, shortfall = Decimal(settled["charge"]), Decimal(settled["shortfall"])
    if settled["outcome"] == "not_open":
        line = f"the attempt was no longer open: nothing was charged of {settled['charge_asked']}"
        return _step("taken", [line], f"{charged + shortfall:f}", "0")
    line = (
        f"charged {settled['charge']} and {settled['shortfall']} of shortfall, of {settled['charge_asked']} asked for"
    )
    return _step("taken", [line], f"{charged + shortfall:f}", settled["charge_asked"])


def _hold(attempt: Mapping[str, Any], settled: Mapping[str, Any]) -> dict[str, Any]:
    """What had been held, and what of it went back."""
    extended = sum((Decimal(each["added"]) for each in attempt.get("extended", ()) if _is_extended(each)), Decimal(0))
    first = Decimal(attempt["opened"]["hold"]) if "opened" in attempt else Decimal(0)
    held = first + extended
    back = held - min(held, Decimal(settled["charge"]))
    grown = f" + {extended:f} of extensions" if extended else ""
    line = f"held {first:f}{grown}; {back:f} of it went back"
    if Decimal(settled["charge"]) > held:
        line += f"; {Decimal(settled['charge']) - held:f} beyond it came from the free balance"
    return _step("hold", [line], f"{held - back:f}", f"{min(held, Decimal(settled['charge'])):f}")


def _is_extended(extension: Mapping[str, Any]) -> bool:
    return bool(extension["outcome"] == "extended")


def _tokens(settled: Mapping[str, Any]) -> str:
    prompt, cached, output = (settled[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    return f"{prompt} prompt tokens, {cached} of them cached, and {output} of output"


def _factor(markup_bps: int) -> str:
    return _exact(Fraction(BPS + markup_bps, BPS))


def _rounded_up(amount: Fraction) -> str:
    return _exact(Fraction(ceil(amount * NANO), NANO))


def _usd(atto: int) -> str:
    return _exact(Fraction(atto, 10**ATTO_PLACES))


def _exact(value: Fraction) -> str:
    """The decimal of a fraction that has one with at most ATTO_PLACES places; of another, its end rounded up."""
    whole, rest = divmod(ceil(value * 10**ATTO_PLACES), 10**ATTO_PLACES)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")
