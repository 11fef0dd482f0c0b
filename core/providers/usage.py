"""Token counts and costs out of a provider's usage object. Pure; anything odd is as if it were not there."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.providers.port import Usage

TOKENS_MAX = 2**40


def tokens_only(usage: Mapping[str, Any]) -> Usage:
    """OpenAI's usage object. It names no cost."""
    return _usage(usage, None)


def with_cost(usage: Mapping[str, Any]) -> Usage:
    """OpenRouter's usage object: OpenAI's, and what the call cost us in all."""
    own_key = usage.get("is_byok") is True
    upstream = _object(usage, "cost_details").get("upstream_inference_cost") if own_key else None
    return _usage(usage, total_cost(usage.get("cost"), upstream, own_key))


def of_generation(record: Mapping[str, Any]) -> Usage:
    """OpenRouter's record of a generation. Native counts are what the model's own tokenizer billed."""
    prompt = record.get("native_tokens_prompt")
    completion = record.get("native_tokens_completion")
    return Usage(
        prompt_tokens=count(record.get("tokens_prompt") if prompt is None else prompt),
        completion_tokens=count(record.get("tokens_completion") if completion is None else completion),
        cached_tokens=count(record.get("native_tokens_cached")),
        reasoning_tokens=count(record.get("native_tokens_reasoning")),
        cost_usd=total_cost(
            record.get("total_cost"), record.get("upstream_inference_cost"), record.get("is_byok") is True
        ),
    )


def total_cost(cost: Any, upstream: Any, own_key: bool) -> Decimal | None:
    """The total in USD. `cost` is the total already, except with a key of our own at the upstream (BYOK): there it is
    OpenRouter's fee, the upstream bills us besides, and without its figure the total is unknown.
    """
    fee = decimal(cost)
    if not own_key or fee is None:
        return fee
    inference = decimal(upstream)
    return None if inference is None else fee + inference


def decimal(value: Any) -> Decimal | None:
    """A JSON number as the decimal that was written; None unless it is a number that is not negative.

    `repr` of a double gives the shortest digits that mean it, which are those that JavaScript prints: no digit is
    added or lost, and no arithmetic is done on the double.
    """
    if type(value) is int:
        return Decimal(value) if value >= 0 else None
    if type(value) is float:
        return Decimal(repr(value)) if value >= 0 else None
    return None


def count(value: Any) -> int:
    """A count of tokens; 0 unless it is a plausible one."""
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else 0


def _usage(usage: Mapping[str, Any], cost_usd: Decimal | None) -> Usage:
    return Usage(
        prompt_tokens=count(usage.get("prompt_tokens")),
        completion_tokens=count(usage.get("completion_tokens")),
        cached_tokens=count(_object(usage, "prompt_tokens_details").get("cached_tokens")),
        reasoning_tokens=count(_object(usage, "completion_tokens_details").get("reasoning_tokens")),
        cost_usd=cost_usd,
    )


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}
