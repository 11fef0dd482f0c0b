"""Media models in the edges' directory and in the list of models: what can be asked for, and what it costs.

What a media model takes and costs is data of this release (`core/media/models`), so every core of a release says the
same; the record says it again only where it differs.
"""

from typing import Any

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_model
from core.media.catalogue import MediaCatalogue
from core.media.pricing import price_list
from core.media.schema import MediaModel
from core.pricing import Tariff
from proto.onysoft.v1.directory_pb2 import ModelRecord

CREATED_S = 1_790_899_200
"""2 October 2026, the day of the price list; the provider's catalogue names no dates of its own."""


def record_of(model: MediaModel, name: str) -> ModelRecord:
    """The directory's record of a model under one of its names."""
    return ModelRecord(
        id=name,
        name=name,
        created=CREATED_S,
        active=True,
        price_version=model.price.version if model.price is not None else b"",
        kind=model.kind,
        alias_of=model.id if name != model.id else "",
    )


async def publish(connection: Connection, mirror: DirectoryMirror, catalogue: MediaCatalogue) -> int:
    """Bring the directory up to date; how many records were written. Raises as `publish_model`."""
    written = 0
    for model in catalogue.callable_models():
        for name in (model.id, *model.aliases):
            record = record_of(model, name)
            if mirror.models.get(name) != record:
                await publish_model(connection, record)
                written += 1
    return written


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
