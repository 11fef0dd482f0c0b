"""From what a provider reports to what is charged. Missing and zero are different values."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson

from core.ledger.money import to_text
from core.pricing import Price, Tariff, atto_to_text, cost_to_atto, token_cost_atto
from core.providers.port import Usage
from core.tokens import OwnCount
from proto.onysoft.v1 import ledger_pb2 as pb

TOKENS_MAX = 2**31


class Cost(NamedTuple):
    """Tokens, exact provider cost in atto-USD, and where the cost comes from.

    `images` are the prompt's, where the catalogue's price was used; `counted_by` says how an estimate was counted.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_atto: int
    basis: pb.CostBasis.ValueType
    price_version: bytes
    images: int = 0
    counted_by: str = ""

    def shown_usage(self) -> dict[str, Any]:
        """OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


async def cost_of(price: Price, usage: Usage | None, images: int, own_count: Callable[[], Awaitable[OwnCount]]) -> Cost:
    """The cost of a call: the provider's word, else its tokens at the route's price, else our own count.

    `own_count` is asked only where the provider's tokens are missing. A provider that names a cost of 0 for a priced
    model is not believed: its tokens are priced instead.
    """
    if usage is None or not _plausible(usage):
        prompt, completion, counted_by = await own_count()
        cost_atto = token_cost_atto(price, prompt, completion, 0, images)
        return Cost(prompt, completion, 0, 0, cost_atto, pb.ESTIMATED, price.version, images, counted_by)
    prompt, completion, cached, reasoning, cost_usd = usage
    if cost_usd:
        cost_atto = cost_to_atto(cost_usd)
        return Cost(prompt, completion, cached, reasoning, cost_atto, pb.PROVIDER_COST, price.version)
    priced = token_cost_atto(price, prompt, completion, cached, images)
    basis = pb.PROVIDER_TOKENS if priced or cost_usd is None else pb.PROVIDER_COST
    return Cost(prompt, completion, cached, reasoning, priced, basis, price.version, images)


def _plausible(usage: Usage) -> bool:
    prompt, completion, cached, reasoning, cost_usd = usage
    return (
        0 <= prompt < TOKENS_MAX
        and 0 <= completion < TOKENS_MAX
        and 0 <= cached < TOKENS_MAX
        and 0 <= reasoning < TOKENS_MAX
        and (cost_usd is None or cost_usd >= 0)
    )


def settlement(request_id: bytes, attempt: int, cost: Cost, tariff: Tariff, end: pb.CallEnd.ValueType) -> pb.Event:
    """The settlement of a call, with every part that its charge can be recomputed from.

    Filled in where it lies: protobuf copies a message that is put into another.
    """
    event = pb.Event()
    settled = event.request_settled
    settled.request_id = request_id
    settled.attempt = attempt
    settled.charge_nano = tariff.charge_nano(cost.cost_atto)
    if tariff.parent_fx_rate_nano:
        settled.parent_charge_nano = tariff.parent_charge_nano(cost.cost_atto)
        settled.parent_fx_rate_nano = tariff.parent_fx_rate_nano
        settled.parent_markup_bps = tariff.parent_markup_bps
    settled.prompt_tokens = cost.prompt_tokens
    settled.completion_tokens = cost.completion_tokens
    settled.cached_tokens = cost.cached_tokens
    settled.reasoning_tokens = cost.reasoning_tokens
    settled.provider_cost_usd = atto_to_text(cost.cost_atto)
    settled.fx_rate_nano = tariff.fx_rate_nano
    settled.markup_bps = tariff.markup_bps
    settled.price_version = cost.price_version
    settled.images = cost.images
    settled.counted_by = cost.counted_by
    settled.basis = cost.basis
    settled.end = end
    return event


def shown_cost(charged_nano: int, currency: str) -> dict[str, Any]:
    """The `cost` object of an answer: an exact JSON number and the account's currency."""
    return {"amount": orjson.Fragment(to_text(charged_nano)), "currency": currency}
