"""The catalogue."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin

__all__ = ["Shape", "difference_rows", "history", "model"]

_OFF_SALE = "not active"


def model(message: admin.Model) -> Shape:
    """One model of the catalogue; `pricing` is the provider's, in USD for one unit."""
    pricing = orjson.loads(message.price_json or b"{}")
    return {
        "id": message.id,
        "name": message.name,
        "kind": message.kind,
        "provider": message.provider,
        "context_length": message.context_length,
        "max_output_tokens": message.max_output_tokens,
        "free": message.free,
        "active": message.active,
        "unlisted": message.unlisted,
        "callable": message.active and not message.unlisted,
        "state": _state(message),
        "price_version": message.price_version.hex(),
        "pricing": pricing,
        "usd_per_1m_prompt": _per_million(pricing, "prompt"),
        "usd_per_1m_completion": _per_million(pricing, "completion"),
        "aliases": list(message.aliases),
        "defaults": orjson.loads(message.defaults_json or b"{}"),
        "routes": [_route(route) for route in message.routes],
    }


def history(message: admin.ModelHistory) -> Shape:
    """One model, and what it was before; oldest first."""
    return model(message.model) | {
        "versions": [
            {
                "position": version.position,
                "time": datetime.fromtimestamp(version.time_ms / 1000, UTC).isoformat(timespec="seconds"),
                "price_version": version.price_version.hex(),
                "pricing": orjson.loads(version.price_json),
                "unlisted": version.unlisted,
            }
            for version in message.versions
        ]
    }


def difference_rows(found: Shape) -> list[Shape]:
    """A difference as rows of a table; each amount of a repricing is one."""
    rows = []
    for kind in ("new", "gone", "back", "repriced", "changed", "routed"):
        for change in found[kind]:
            row = {"model": change["id"], "change": kind, "approval": "waits" if change["waits"] else "not needed"}
            if kind == "repriced":
                rows += [row | _part(part) for part in change["changes"]]
            else:
                rows.append(row | {"what": _what(change)})
    rows += [{"model": each["id"], "change": "not sold", "what": each["reason"]} for each in found["unpriced"]]
    rows += [{"model": each, "change": "not described here"} for each in found.get("not_described", ())]
    rows += [{"model": each, "change": "not listed there"} for each in found.get("not_listed", ())]
    rows += [
        {
            "model": each["id"],
            "change": "doubtful price",
            "what": f"{', '.join(each['credits'])} not in: {each['text']}",
        }
        for each in found.get("doubtful_prices", ())
    ]
    return rows


def _part(part: Shape) -> Shape:
    by = "from nothing" if part["percent"] is None else f"{Decimal(part['percent']):+f} %"
    return {"what": f"{part['part']}: {part['from']} → {part['to']}", "by": by}


def _what(change: Shape) -> str:
    if "pricing" in change:
        return ", ".join(f"{unit} {amount}" for unit, amount in change["pricing"].items() if unit != "overrides")
    return str(change.get("reason") or ", ".join(change.get("fields", ())))


def _route(route: admin.Route) -> Shape:
    return {
        "provider": route.provider,
        "upstream_id": route.upstream_id,
        "order": route.order,
        "weight": route.weight,
        "pricing": orjson.loads(route.price_json) if route.price_json else None,
        "usable": route.usable,
    }


def _state(message: admin.Model) -> str:
    if message.unlisted:
        return message.unlisted
    return "active" if message.active else _OFF_SALE


def _per_million(pricing: Any, unit: str) -> str:
    """A price for one token as people compare it; empty where the price has another shape."""
    price = pricing.get(unit) if isinstance(pricing, dict) else None
    if not isinstance(price, str):
        return ""
    return f"{Decimal(price) * 1_000_000:f}".rstrip("0").rstrip(".") if Decimal(price) else "0"
