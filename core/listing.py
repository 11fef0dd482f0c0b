"""A provider's list of models in the catalogue's terms: what can be sold of it, and why the rest cannot.

Pure. What comes in is a provider's JSON and may be anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.pricing import Unpriced, canonical_price, parse_price, price_version
from proto.onysoft.v1.ledger_pb2 import ModelRoute, ModelSet

CHAT = "chat"
OUTPUT_TOKENS_UNSTATED = 8_192
"""Output limit of a model whose provider states none; the request then carries it."""

MODELS_MAX = 10_000
ID_CHARACTERS_MAX = 200
NAME_CHARACTERS_MAX = 200
_COUNT_MAX = 2**31

_CHAT_OUTPUTS = frozenset({"text", "image"})


@dataclass(frozen=True, slots=True)
class Listing:
    """What one provider lists: `models` can be sold, `unsold` says why a model cannot."""

    provider: str
    models: dict[str, ModelSet] = field(default_factory=dict)
    unsold: dict[str, str] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()


def read_listing(provider: str, raw_models: Iterable[Mapping[str, Any]]) -> Listing:
    """The provider's list, at most MODELS_MAX models of it."""
    listing: dict[str, ModelSet] = {}
    unsold: dict[str, str] = {}
    ids: set[str] = set()
    for raw in raw_models:
        model_id = raw.get("id")
        if not isinstance(model_id, str) or not is_id(model_id) or len(ids) >= MODELS_MAX:
            continue
        ids.add(model_id)
        try:
            listing[model_id] = _model_set(provider, model_id, raw)
        except Unpriced as error:
            unsold[model_id] = str(error)
    return Listing(provider, listing, unsold, frozenset(ids))


def is_id(model_id: str) -> bool:
    """Can this be the id of a model, or another name for one?"""
    return 0 < len(model_id) <= ID_CHARACTERS_MAX and model_id.isprintable() and not {" ", "*"} & set(model_id)


def _model_set(provider: str, model_id: str, raw: Mapping[str, Any]) -> ModelSet:
    """Raises Unpriced when it cannot be sold."""
    architecture = _object(raw, "architecture")
    modalities = architecture.get("output_modalities")
    outputs = [str(each) for each in modalities] if isinstance(modalities, list) else []
    if outputs and _CHAT_OUTPUTS.isdisjoint(outputs):
        raise Unpriced(f"chat has no use for its output: {', '.join(outputs[:3])}")
    pricing = raw.get("pricing")
    if not isinstance(pricing, Mapping):
        raise Unpriced("no price")
    parse_price(pricing)
    price = canonical_price(pricing)
    top = _object(raw, "top_provider")
    context_length = _count(raw.get("context_length")) or _count(top.get("context_length"))
    stated = _count(top.get("max_completion_tokens"))
    output_max = stated or OUTPUT_TOKENS_UNSTATED
    return ModelSet(
        model_id=model_id,
        kind=CHAT,
        name=str(raw.get("name") or model_id)[:NAME_CHARACTERS_MAX],
        created=_count(raw.get("created")),
        context_length=context_length,
        output_tokens_max=min(output_max, context_length) if context_length else output_max,
        output_stated=bool(stated),
        price=price,
        price_version=price_version(price),
        routes=[ModelRoute(provider=provider, upstream_id=model_id)],
        image_output="image" in outputs,
        reasons_always=_object(raw, "reasoning").get("mandatory") is True,
        tokenizer=str(architecture.get("tokenizer") or "")[:NAME_CHARACTERS_MAX],
    )


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(value: Any) -> int:
    """A count; 0 unless it is a plausible one."""
    return value if type(value) is int and 0 <= value < _COUNT_MAX else 0
