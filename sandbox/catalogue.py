"""The models that the sandbox sells: `catalogue.json`, and OpenRouter's shapes for them.

Prices are USD per token as decimal strings. Inside, they are integers of 10⁻¹⁸ USD, so that costs are exact.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

UNITS_PER_USD = 10**18
DISCOUNT_STEPS = 10_000

_PARAMETERS = (
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "presence_penalty",
    "response_format",
    "seed",
    "stop",
    "structured_outputs",
    "temperature",
    "top_p",
)
_NEW_ROW: dict[str, Any] = {
    "name": "",
    "provider": "Sandbox",
    "created": 1_700_000_000,
    "context_length": 32_768,
    "max_completion_tokens": 4_096,
    "input": ["text"],
    "output": ["text"],
    "tools": False,
    "reasoning": False,
    "pricing": {},
}
_TOKENIZERS = {
    "Anthropic": "Claude",
    "DeepSeek": "DeepSeek",
    "Google": "Gemini",
    "Mistral": "Mistral",
    "OpenAI": "GPT",
    "xAI": "Grok",
}
_TOOL_PARAMETERS = ("parallel_tool_calls", "tool_choice", "tools")
_REASONING_PARAMETERS = ("include_reasoning", "reasoning", "reasoning_effort")


@dataclass(frozen=True, slots=True)
class Prices:
    """Units of 10⁻¹⁸ USD; the names are OpenRouter's. A price that the catalogue leaves out is 0."""

    prompt: int = 0
    completion: int = 0
    request: int = 0
    image: int = 0
    image_output: int = 0
    audio: int = 0
    web_search: int = 0
    internal_reasoning: int = 0
    input_cache_read: int = 0
    input_cache_write: int = 0
    input_cache_write_1h: int = 0


_PRICE_NAMES = tuple(each.name for each in fields(Prices))


def units(price: str) -> int:
    """Units of 10⁻¹⁸ USD in a decimal string; a router's "-1" is 0."""
    return max(0, int(Decimal(price) * UNITS_PER_USD))


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the catalogue.

    `tiers` are prices from a number of prompt tokens on; the last that fits wins. A window of the day is always open
    here. What ends in `_json` is ready to be put into answers.
    """

    id: str
    provider: str
    context_length: int
    max_completion_tokens: int
    reasons: bool
    calls_tools: bool
    makes_images: bool
    prices: Prices
    tiers: tuple[tuple[int, Prices], ...]
    discount: int
    routes_to: str
    seed: int
    id_json: bytes
    provider_json: bytes
    row: dict[str, Any] = field(hash=False, compare=False)

    def prices_at(self, prompt_tokens: int) -> Prices:
        """The prices that hold for a prompt of this size."""
        prices = self.prices
        for least, tier in self.tiers:
            if prompt_tokens >= least:
                prices = tier
        return prices


def _prices(pricing: dict[str, Any]) -> dict[str, int]:
    return {name: units(pricing[name]) for name in _PRICE_NAMES if name in pricing}


def _model(row: dict[str, Any]) -> Model:
    pricing = row["pricing"] or {}
    prices = Prices(**_prices(pricing))
    return Model(
        id=row["id"],
        provider=row["provider"],
        context_length=row["context_length"],
        max_completion_tokens=row["max_completion_tokens"] or row["context_length"],
        reasons=row["reasoning"],
        calls_tools=row["tools"],
        makes_images="image" in row["output"],
        prices=prices,
        tiers=tuple(
            (each.get("min_prompt_tokens", 0), replace(prices, **_prices(each)))
            for each in pricing.get("overrides", ())
        ),
        discount=int(Decimal(str(pricing.get("discount", 0))) * DISCOUNT_STEPS),
        routes_to=row.get("routes_to", ""),
        seed=zlib.crc32(row["id"].encode()),
        id_json=orjson.dumps(row["id"]),
        provider_json=orjson.dumps(row["provider"]),
        row=row,
    )


def _parameters(model: Model) -> list[str]:
    names = list(_PARAMETERS)
    if model.calls_tools:
        names += _TOOL_PARAMETERS
    if model.reasons:
        names += _REASONING_PARAMETERS
    return sorted(names)


def _architecture(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "modality": "+".join(row["input"]) + "->" + "+".join(row["output"]),
        "input_modalities": row["input"],
        "output_modalities": row["output"],
        "tokenizer": _TOKENIZERS.get(row["provider"], "Other"),
        "instruct_type": None,
    }


def openrouter_model(model: Model) -> dict[str, Any]:
    """The object of `GET /models`."""
    row = model.row
    return {
        "id": model.id,
        "canonical_slug": model.id.removesuffix(":free"),
        "hugging_face_id": "",
        "name": row["name"],
        "created": row["created"],
        "description": f"{row['name']}, as simulated by the sandbox.",
        "context_length": model.context_length,
        "architecture": _architecture(row),
        "pricing": row["pricing"],
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": row["max_completion_tokens"],
            "is_moderated": model.provider == "OpenAI",
        },
        "per_request_limits": None,
        "supported_parameters": _parameters(model),
        "default_parameters": {},
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
    }


def openrouter_endpoints(model: Model) -> dict[str, Any]:
    """The object of `GET /models/{author}/{slug}/endpoints`: one provider for each model."""
    row = model.row
    endpoint = {
        "name": f"{model.provider} | {model.id}",
        "model_name": row["name"],
        "context_length": model.context_length,
        "pricing": row["pricing"],
        "provider_name": model.provider,
        "tag": model.provider.lower().replace(" ", "-"),
        "quantization": None,
        "max_completion_tokens": row["max_completion_tokens"],
        "max_prompt_tokens": None,
        "supported_parameters": _parameters(model),
        "status": 0,
        "uptime_last_30m": 100,
        "supports_implicit_caching": model.prices.input_cache_read > 0,
    }
    return {
        "id": model.id,
        "name": row["name"],
        "created": row["created"],
        "description": f"{row['name']}, as simulated by the sandbox.",
        "architecture": _architecture(row),
        "endpoints": [endpoint],
    }


def openai_model(model: Model) -> dict[str, Any]:
    """The object of the generic face's `GET /models`."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.row["created"],
        "owned_by": model.id.partition("/")[0],
    }


def load() -> dict[str, Model]:
    """The catalogue by model id, in the file's order."""
    rows = orjson.loads(Path(__file__).with_name("catalogue.json").read_bytes())
    return {row["id"]: _model(row) for row in rows}


def changed(catalogue: Mapping[str, Model], changes: Mapping[str, Any]) -> dict[str, Model]:
    """The catalogue with models taken out (null), put in (an id it does not have) or changed.

    A change is an object of the row's fields. `pricing` is laid over the row's prices: a null in it takes a price away,
    and null in its place takes all of them. Raises ValueError that names the model.
    """
    models = dict(catalogue)
    for model_id, change in changes.items():
        if change is None:
            models.pop(model_id, None)
            continue
        try:
            models[model_id] = _model(_changed_row(model_id, models.get(model_id), change))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{model_id}: not a model's fields") from None
    return models


def _changed_row(model_id: str, model: Model | None, change: dict[str, Any]) -> dict[str, Any]:
    row = _NEW_ROW | {"id": model_id, "name": model_id} if model is None else model.row
    unknown = set(change) - set(_NEW_ROW)
    if unknown:
        raise ValueError(f"{min(unknown)}: unknown field")
    pricing = change.get("pricing", {})
    if pricing is not None:
        pricing = {name: price for name, price in ((row["pricing"] or {}) | pricing).items() if price is not None}
    return row | change | {"pricing": pricing}
