"""Media models on sale: in the ledger's catalogue, and in the list of models, with what they cost.

What a media model takes and costs is data of this release (`core/media/models`). A core puts it into the ledger where
the ledger says otherwise, as the versions that settlements name; whether a model is on sale is the operator's to say.
"""

from typing import Any

from core.ledger.state import State
from core.media.catalogue import MediaCatalogue
from core.media.pricing import price_list
from core.media.schema import MediaModel
from core.pricing import Tariff
from proto.onysoft.v1.ledger_pb2 import AliasSet, Event, ModelRoute, ModelSet

CREATED_S = 1_790_899_200
"""2 October 2026, the day of the price list; the provider's catalogue names no dates of its own."""


def missing(state: State, catalogue: MediaCatalogue, provider: str) -> list[Event]:
    """The events that bring the ledger's catalogue to what this release sells; none when it is there."""
    events = []
    for model in catalogue.callable_models():
        wanted = version_of(model, provider)
        known = state.models.get(model.id)
        if known is None or known.set != wanted:
            events.append(Event(model_set=wanted))
    for model in catalogue.callable_models():
        events += [
            Event(alias_set=AliasSet(alias=alias, model_id=model.id))
            for alias in model.aliases
            if state.aliases.get(alias) != model.id
        ]
    return events


def version_of(model: MediaModel, provider: str) -> ModelSet:
    """The model as the ledger has it. A model that can be called has a price."""
    assert model.price is not None
    return ModelSet(
        model_id=model.id,
        kind=model.kind,
        name=model.id,
        created=CREATED_S,
        price=model.price.canonical,
        price_version=model.price.version,
        routes=[ModelRoute(provider=provider, upstream_id=model.provider_model)],
    )


def is_on_sale(state: State, model: MediaModel) -> bool:
    """Has no operator withdrawn it?"""
    known = state.models.get(model.id)
    return known is None or known.active


def describe(model: MediaModel, tariff: Tariff, currency: str) -> dict[str, Any]:
    """One model as a client sees it; prices are decimal strings for one unit, each under its conditions."""
    return {
        "id": model.id,
        "object": "model",
        "created": CREATED_S,
        "owned_by": model.id.partition("/")[0],
        "name": model.id,
        "type": model.kind,
        "pricing": {"currency": currency, "prices": price_list(model, tariff)},
    }
