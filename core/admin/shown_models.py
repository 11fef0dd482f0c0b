"""A catalogue entry as the admin service shows it."""

from collections.abc import Container, Mapping

import orjson

from core.ledger.records import Model
from core.pricing import UNITS, Unpriced, parse_price
from proto.onysoft.v1 import admin_pb2 as pb


def show_model(model: Model, aliases: Mapping[str, str], providers: Container[str]) -> pb.Model:
    """One model; `providers` are the names of those that are set up here."""
    entry = model.set
    return pb.Model(
        id=entry.model_id,
        name=entry.name,
        provider=", ".join(dict.fromkeys(route.provider for route in entry.routes)),
        context_length=entry.context_length,
        max_output_tokens=entry.output_tokens_max,
        price_json=entry.price,
        price_version=entry.price_version,
        free=is_free(entry.price),
        kind=entry.kind,
        active=model.active,
        unlisted=entry.unlisted,
        routes=[
            pb.Route(
                provider=route.provider,
                upstream_id=route.upstream_id,
                order=route.order,
                weight=route.weight or 1,
                price_json=route.price,
                price_version=route.price_version,
                usable=route.provider in providers,
            )
            for route in entry.routes
        ],
        aliases=sorted(alias for alias, model_id in aliases.items() if model_id == entry.model_id),
        defaults_json=entry.defaults,
        created=entry.created,
        tokenizer=entry.tokenizer,
    )


def is_free(price: bytes) -> bool:
    """Does a chat price ask for nothing? A price of another shape is taken to ask for something."""
    try:
        pricing = orjson.loads(price)
        return set(pricing) <= {*UNITS, "discount", "overrides"} and parse_price(pricing).free
    except (Unpriced, orjson.JSONDecodeError, TypeError, AttributeError):
        return False
