"""The catalogue."""

from decimal import Decimal

import orjson

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin


def model(message: admin.Model) -> Shape:
    """One model of the catalogue; `pricing` is the provider's, in USD for one unit."""
    pricing = orjson.loads(message.price_json or b"{}")
    return {
        "id": message.id,
        "name": message.name,
        "provider": message.provider,
        "context_length": message.context_length,
        "max_output_tokens": message.max_output_tokens,
        "free": message.free,
        "price_version": message.price_version.hex(),
        "pricing": pricing,
        "usd_per_1m_prompt": _per_million(pricing.get("prompt")),
        "usd_per_1m_completion": _per_million(pricing.get("completion")),
    }


def _per_million(price: str | None) -> str:
    """A price for one token as people compare it."""
    return f"{Decimal(price) * 1_000_000:f}".rstrip("0").rstrip(".") if price and Decimal(price) else "0"
