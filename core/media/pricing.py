"""What a media task costs: an upper bound to hold, and the amount to settle. Pure, exact, and recomputable."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from core.media.prepare import Prepared
from core.media.refusals import refused
from core.media.schema import MediaModel, MediaPrice, PriceRow, holds
from core.pricing import ATTO, Tariff, atto_to_text

CREDIT_ATTO = 5 * ATTO // 1_000
"""One of the provider's credits: 0.005 USD."""

CREDITS_MAX = 100_000
"""More than this the provider cannot mean for one task."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a task will cost at most (atto-USD), and why.

    `exact`: it will cost just that. Otherwise the provider's own figure settles it. `units` are plain JSON values from
    which the cost can be computed again: the unit, its count, and the input values on which the price depends.
    """

    cost_atto: int
    exact: bool
    units: Mapping[str, str]
    price_version: bytes

    def settled_atto(self, credits_consumed: str | float | None = None) -> int:
        """Provider cost of a task that succeeded.

        `credits_consumed` is the provider's own figure, where it names one; an exact quote does not need it, and
        without it an inexact quote is settled at its bound. A figure that is no sane number counts as none.
        """
        if self.exact or credits_consumed is None or isinstance(credits_consumed, bool):
            return self.cost_atto
        try:
            credits = Decimal(str(credits_consumed))
        except InvalidOperation:
            return self.cost_atto
        if not credits.is_finite() or not 0 <= credits <= CREDITS_MAX:
            return self.cost_atto
        return credits_to_atto(Fraction(credits.quantize(Decimal("1e-12"))))


def quote(model: MediaModel, prepared: Prepared) -> Quote:
    """The cost of a prepared request.

    Raises Refusal invalid_request where the provider does not sell that combination of values.
    """
    price = model.price
    if price is None:
        raise ValueError(f"{model.id} has no price")
    values = model.effective(prepared.input)
    row = _row(model, price, values)
    count, exact = _count(price, values)
    inputs = _items(values.get(price.input_field)) if price.input_field else 0
    count += inputs * price.input_each_max
    credits = row.credits * count
    extras = 0
    for extra in price.extras:
        beyond = max(0, _items(values.get(extra.field)) - extra.free)
        extras += beyond
        credits += beyond * extra.credits
    units = {
        name: _text(values[name]) for name in row.when if name in values and not isinstance(values[name], list | dict)
    }
    units |= {"unit": price.unit, "count": _decimal(count), "credits": _decimal(credits)}
    if price.extras:
        units["extra_sources"] = str(extras)
    return Quote(
        cost_atto=credits_to_atto(credits),
        exact=exact and not inputs and not price.settled_by_provider,
        units=units,
        price_version=price.version,
    )


def credits_to_atto(credits: Fraction) -> int:
    """Credits as atto-USD; what is finer is rounded up."""
    scaled = credits * CREDIT_ATTO
    return -(-scaled.numerator // scaled.denominator)


def price_list(model: MediaModel, tariff: Tariff) -> list[dict[str, Any]]:
    """The model's prices for one account: a decimal string in its own currency for one unit, and its conditions."""
    if model.price is None:
        return []
    rows = []
    for row in model.price.rows:
        if all(name not in model.fixed or model.fixed[name] == wanted for name, wanted in row.when.items()):
            shown = {name: wanted for name, wanted in row.when.items() if name not in model.fixed}
            rows.append({"unit": model.price.unit, "price": _own_price(row.credits, tariff), "when": shown})
    extras = [
        {"unit": f"{extra.field} beyond {extra.free}", "price": _own_price(extra.credits, tariff), "when": {}}
        for extra in model.price.extras
    ]
    return rows + extras


def _own_price(credits: Fraction, tariff: Tariff) -> str:
    nano = tariff.charge_nano(credits_to_atto(credits))
    return atto_to_text(nano * 10**9) or "0"


def _row(model: MediaModel, price: MediaPrice, values: Mapping[str, Any]) -> PriceRow:
    for row in price.rows:
        if holds(row.when, values):
            return row
    names = sorted({name for row in price.rows for name in row.when if name not in model.fixed})
    raise refused(" / ".join(names), "the model is not offered with this combination of values")


def _count(price: MediaPrice, values: Mapping[str, Any]) -> tuple[Fraction, bool]:
    """How many units, at most, and whether that is certain."""
    value = values.get(price.count) if price.count else None
    if value is None:
        return (price.count_fixed, True) if price.count_max is None else (price.count_max, False)
    if price.unit == "thousand_characters":
        return Fraction(_characters(value), 1_000), True
    count = Fraction(str(value))
    if price.count_per:
        count /= Fraction(str(values[price.count_per]))
    return count, True


def _characters(value: Any) -> int:
    return len(value) if isinstance(value, str) else sum(len(turn["text"]) for turn in value)


def _items(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(bool(value))


def _text(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _decimal(value: Fraction) -> str:
    """An exact decimal where there is one, else a fraction."""
    scaled = value * 10**12
    if scaled.denominator != 1:
        return str(value)
    units, rest = divmod(scaled.numerator, 10**12)
    return f"{units}.{rest:012d}".rstrip("0").rstrip(".")
