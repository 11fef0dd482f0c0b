"""What a call may cost at most, and what it did cost. Exact integers; one rounding, up, at the end.

Prices come as decimals in USD for one unit (a token, a request, an image) and are kept as atto-USD (10^-18).
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from core.ledger.money import ceil_div

ATTO_PLACES = 18
ATTO: int = 10**ATTO_PLACES

BPS = 10_000
IMAGE_TOKENS_MAX = 8_192
"""Most prompt tokens that one input image is taken to cost."""

MESSAGE_OVERHEAD_TOKENS = 16
"""Tokens that a provider's chat template may add for one message."""

WEB_SEARCHES_MAX = 10
"""Searches that one call with a web plugin is taken to make."""

UNITS = (
    "prompt",
    "completion",
    "request",
    "image",
    "image_output",
    "image_token",
    "audio",
    "audio_output",
    "web_search",
    "internal_reasoning",
    "input_cache_read",
    "input_cache_write",
    "input_cache_write_1h",
    "input_audio_cache",
)
_CONDITIONS_UNSEEN = frozenset({"utc_start", "utc_end"})
"""Conditions of which a settlement does not know whether they held: such a price counts where it is the dearer one."""

_KNOWN_PARTS = frozenset({*UNITS, *_CONDITIONS_UNSEEN, "min_prompt_tokens", "discount", "overrides"})


class Unpriced(ValueError):
    """The price is missing, negative or not a number: the model cannot be called."""


@dataclass(frozen=True)
class Rates:
    """Atto-USD for one unit of each kind."""

    prompt: int
    completion: int
    request: int = 0
    image: int = 0
    image_output: int = 0
    image_token: int = 0
    audio: int = 0
    audio_output: int = 0
    web_search: int = 0
    internal_reasoning: int = 0
    input_cache_read: int = 0
    input_cache_write: int = 0
    input_cache_write_1h: int = 0
    input_audio_cache: int = 0

    @cached_property
    def prompt_max(self) -> int:
        """The dearest that one prompt token can be."""
        return max(
            self.prompt,
            self.image_token,
            self.audio,
            self.input_cache_read,
            self.input_cache_write,
            self.input_cache_write_1h,
            self.input_audio_cache,
        )

    @cached_property
    def completion_max(self) -> int:
        """The dearest that one output token can be."""
        return max(self.completion, self.image_output, self.audio_output, self.internal_reasoning)


@dataclass(frozen=True, slots=True)
class Override:
    """Other rates for calls with at least `min_prompt_tokens`; `sometimes` under a condition that is not seen here."""

    min_prompt_tokens: int
    rates: Rates
    sometimes: bool = False


@dataclass(frozen=True)
class Price:
    """A model's price: rates, conditional rates, and the version that every settlement names.

    A provider's discount is in the rates. `upper` is the most that any condition asks for each unit, without discount.
    """

    rates: Rates
    overrides: tuple[Override, ...]
    version: bytes
    upper: Rates

    @property
    def free(self) -> bool:
        """Is every part of it zero? Free is a price."""
        return not any(getattr(self.upper, unit) for unit in UNITS)

    def at(self, prompt_tokens: int) -> Rates:
        """The rates of a call with so many prompt tokens; of several conditions that hold, the later wins."""
        rates = self.rates
        for override in self.overrides:
            if prompt_tokens >= override.min_prompt_tokens:
                rates = dearest((rates, override.rates)) if override.sometimes else override.rates
        return rates


def dearest(every: Iterable[Rates]) -> Rates:
    """For each unit the most that any of them asks."""
    rates = tuple(every)
    return Rates(**{unit: max(getattr(one, unit) for one in rates) for unit in UNITS})


class Demand(NamedTuple):
    """An upper bound of what a call consumes before its first output token."""

    prompt_tokens: int
    images: int
    web_searches: int

    def cost_atto(self, rates: Rates) -> int:
        """Atto-USD for all but the output."""
        return (
            self.prompt_tokens * rates.prompt_max
            + rates.request
            + self.images * (rates.image + IMAGE_TOKENS_MAX * rates.prompt_max)
            + self.web_searches * rates.web_search
        )


class Tariff(NamedTuple):
    """How an account turns provider cost into its own currency: `cost × (1 + markup) × FX`.

    A partner customer's call has a second leg. Its own charge is `cost × (1 + parent's markup) × (1 + markup) × FX`,
    its parent's `cost × (1 + parent's markup) × parent's FX`. A parent's rate of 0 means that there is no such leg.
    """

    markup_bps: int
    fx_rate_nano: int
    parent_markup_bps: int = 0
    parent_fx_rate_nano: int = 0

    def charge_nano(self, cost_atto: int) -> int:
        """Nano-units of the account's currency, rounded up once."""
        marked_up = cost_atto * (BPS + self.markup_bps) * (BPS + self.parent_markup_bps)
        return ceil_div(marked_up * self.fx_rate_nano, BPS * BPS * ATTO)

    def parent_charge_nano(self, cost_atto: int) -> int:
        """Nano-units of the parent's currency, rounded up once; 0 without a parent's leg."""
        return ceil_div(cost_atto * (BPS + self.parent_markup_bps) * self.parent_fx_rate_nano, BPS * ATTO)

    def affordable_atto(self, amount_nano: int, parent_amount_nano: int = 0) -> int:
        """The dearest provider cost whose charge is at most `amount_nano`, and the parent's at most its amount."""
        factor = (BPS + self.markup_bps) * (BPS + self.parent_markup_bps) * self.fx_rate_nano
        affordable = amount_nano * BPS * BPS * ATTO // factor
        if not self.parent_fx_rate_nano:
            return affordable
        parent_factor = (BPS + self.parent_markup_bps) * self.parent_fx_rate_nano
        return min(affordable, parent_amount_nano * BPS * ATTO // parent_factor)

    def own_price_atto(self, price_atto: int) -> int:
        """A price of the catalogue as the account pays it: atto-units of its currency, rounded up."""
        marked_up = price_atto * (BPS + self.markup_bps) * (BPS + self.parent_markup_bps)
        return ceil_div(marked_up * self.fx_rate_nano, BPS * BPS * 10**9)


def parse_price(pricing: Mapping[str, Any]) -> Price:
    """The price in a provider's `pricing` object.

    Raises Unpriced when prompt or completion is missing, any part is negative or not a decimal, or a part or condition
    is unknown here, so that nobody can say what a call costs at most.
    """
    kept = 1 - _discount(pricing.get("discount"))
    listed = _rates(pricing, None)
    rates = _discounted(listed, kept)
    overrides, ceilings = [], [listed]
    for override in pricing.get("overrides") or ():
        if not isinstance(override, Mapping):
            raise Unpriced("an override is not an object")
        ceiling = _rates(override, listed)
        ceilings.append(ceiling)
        sometimes = not _CONDITIONS_UNSEEN.isdisjoint(override)
        overrides.append(Override(_min_prompt_tokens(override), _discounted(ceiling, kept), sometimes))
    version = price_version(canonical_price(pricing))
    return Price(rates, tuple(overrides), version, dearest(ceilings))


def canonical_price(pricing: Mapping[str, Any]) -> bytes:
    """The JSON that stands for a price in the ledger."""
    return orjson.dumps(pricing, option=orjson.OPT_SORT_KEYS)


def price_version(canonical: bytes) -> bytes:
    """Eight bytes that name a price and nothing else."""
    return hashlib.sha256(canonical).digest()[:8]


def _discount(value: Any) -> Fraction:
    try:
        discount = Fraction(Decimal(str(value or 0)))
    except (ArithmeticError, ValueError):
        raise Unpriced("the discount is not a number") from None
    if not 0 <= discount <= 1:
        raise Unpriced("the discount is not between 0 and 1")
    return discount


def _discounted(rates: Rates, kept: Fraction) -> Rates:
    if kept == 1:
        return rates
    return Rates(**{unit: math.ceil(getattr(rates, unit) * kept) for unit in UNITS})


def _min_prompt_tokens(override: Mapping[str, Any]) -> int:
    tokens = override.get("min_prompt_tokens") or 0
    if type(tokens) is not int or tokens < 0:
        raise Unpriced("min_prompt_tokens is not a count")
    return tokens


def _rates(pricing: Mapping[str, Any], default: Rates | None) -> Rates:
    values = {}
    for unit in UNITS:
        value = pricing.get(unit)
        if value is None and default is not None:
            values[unit] = getattr(default, unit)
        elif value is None and unit in ("prompt", "completion"):
            raise Unpriced(f"no price for {unit}")
        else:
            values[unit] = _atto(unit, value or "0")
    for name, value in pricing.items():
        if name not in _KNOWN_PARTS and (default is not None or _atto(name, value or "0")):
            raise Unpriced(f"{name} is no part of a price that is known here")
    return Rates(**values)


def _atto(unit: str, value: Any) -> int:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise Unpriced(f"the price for {unit} is not a number") from None
    if not price.is_finite() or price < 0 or price > 1_000_000:
        varies = price.is_finite() and price == -1
        raise Unpriced(f"the price for {unit} {'varies from call to call' if varies else 'is not in range'}")
    return cost_to_atto(price)


def cost_to_atto(cost_usd: Decimal) -> int:
    """USD as atto-USD; what is finer is rounded up."""
    return int(cost_usd.scaleb(ATTO_PLACES).to_integral_value(ROUND_CEILING))


def atto_to_text(cost_atto: int) -> str:
    """Exact decimal USD: `2500000000000000` → `0.0025`."""
    units, rest = divmod(cost_atto, ATTO)
    return f"{units}.{rest:018d}".rstrip("0").rstrip(".")


def token_cost_atto(
    price: Price, prompt_tokens: int, completion_tokens: int, cached_tokens: int, images: int = 0
) -> int:
    """What so many tokens cost by the catalogue: the price where a provider names no cost."""
    rates = price.at(prompt_tokens)
    cached = min(cached_tokens, prompt_tokens) if rates.input_cache_read else 0
    return (
        (prompt_tokens - cached) * rates.prompt
        + cached * rates.input_cache_read
        + completion_tokens * max(rates.completion, rates.image_output)
        + rates.request
        + images * rates.image
    )


def demand_of(request: Mapping[str, Any], body_bytes: int) -> Demand:
    """The upper bound for a chat request whose JSON has `body_bytes` bytes: a token is at least one byte.

    Images are counted apart and their data is taken out of the bytes; audio and files stay in.
    """
    images = 0
    image_bytes = 0
    messages = request["messages"]
    for message in messages:
        content = message.get("content")
        if type(content) is list:
            for part in content:
                if type(part) is dict and part.get("type") == "image_url":
                    images += 1
                    image_bytes += _image_bytes(part)
    searches = request.get("web_search_options") is not None or bool(request.get("plugins"))
    searches = searches or request["model"].endswith(":online")
    return Demand(
        prompt_tokens=body_bytes - image_bytes + MESSAGE_OVERHEAD_TOKENS * len(messages),
        images=images,
        web_searches=WEB_SEARCHES_MAX if searches else 0,
    )


def _image_bytes(part: Mapping[str, Any]) -> int:
    image = part.get("image_url")
    url = image.get("url") if type(image) is dict else image
    return len(url) if type(url) is str and url.startswith("data:") else 0
