"""The models that can be called: read from the providers, priced, published to the edges' directory.

A model without a complete price, or with a negative one, is listed nowhere and cannot be called.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bus.connection import Connection
from bus.directory import publish_model
from bus.errors import BusError
from core.pricing import Price, Tariff, Unpriced, atto_to_text, parse_price
from core.providers.port import Provider, ProviderFailure
from proto.onysoft.v1.directory_pb2 import ModelRecord
from runtime.errors import Refusal
from runtime.log import log

OUTPUT_TOKENS_UNSTATED = 8_192
"""Output limit of a model whose provider states none; the request then carries it."""

MODELS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Route:
    """One provider that serves a model, under the provider's own id for it."""

    provider: Provider
    upstream_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One callable model. Token counts; `output_stated` says whether the provider names its output limit."""

    id: str
    name: str
    created: int
    context_length: int
    output_tokens_max: int
    output_stated: bool
    price: Price
    pricing: Mapping[str, Any]
    routes: tuple[Route, ...]
    image_output: bool


class Catalogue:
    """The current entries by id. `providers[0]` sets ids and prices; the others add routes for ids they list too."""

    def __init__(self, connection: Connection, providers: Sequence[Provider]) -> None:
        self._connection = connection
        self._providers = providers
        self._published: dict[str, ModelRecord] = {}
        self.entries: dict[str, Entry] = {}

    def find(self, model_id: str) -> Entry:
        """The model of that id.

        Raises Refusal: before the first list was read nobody can say that a model does not exist.
        """
        entry = self.entries.get(model_id)
        if entry is None:
            raise Refusal("model_not_found") if self.entries else Refusal("service_unavailable", retry_after_s=2)
        return entry

    async def refresh(self) -> None:
        """Read the providers' lists, publish what changed, and make it current.

        Raises ProviderFailure when the first provider's list cannot be read; the entries stay as they were.
        """
        first, *others = self._providers
        listed = await first.list_models()
        extra = [(provider, await self._ids(provider)) for provider in others]
        entries = {}
        for raw in listed[:MODELS_MAX]:
            entry = _entry(raw, first, extra)
            if entry is not None:
                entries[entry.id] = entry
        self.entries = entries
        await self._publish(entries.values())

    async def keep_fresh(self, every_s: float, stop: asyncio.Event) -> None:
        """Refresh now and then until `stop`; a failure is logged and tried again."""
        while not stop.is_set():
            try:
                await self.refresh()
                pause_s = every_s
            except ProviderFailure as failure:
                log.warning("catalogue.unreadable", provider=self._providers[0].name, reason=str(failure))
                pause_s = min(every_s, 1.0 if not self.entries else 30.0)
            except BusError as error:
                log.warning("catalogue.unpublished", reason=type(error).__name__)
                pause_s = min(every_s, 1.0)
            try:
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _ids(self, provider: Provider) -> frozenset[str]:
        try:
            return frozenset(str(raw.get("id")) for raw in await provider.list_models())
        except ProviderFailure as failure:
            log.warning("catalogue.unreadable", provider=provider.name, reason=str(failure))
            return frozenset()

    async def _publish(self, entries: Iterable[Entry]) -> None:
        records = {
            entry.id: ModelRecord(
                id=entry.id,
                name=entry.name,
                created=entry.created,
                active=True,
                price_version=entry.price.version,
            )
            for entry in entries
        }
        for model_id, gone in self._published.items():
            if model_id not in records:
                records[model_id] = ModelRecord(id=model_id, name=gone.name, created=gone.created, active=False)
        for model_id, record in records.items():
            if self._published.get(model_id) != record:
                await publish_model(self._connection, record)
        self._published = records

    def listing(self, tariff: Tariff, currency: str) -> bytes:
        """`GET /v1/models` for one account: its own prices, in its currency, after markup and FX."""
        models = [describe(entry, tariff, currency) for entry in self.entries.values()]
        return orjson.dumps({"object": "list", "data": models})


def describe(entry: Entry, tariff: Tariff, currency: str) -> dict[str, Any]:
    """One model as a client sees it; prices are decimal strings for one unit."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.id.partition("/")[0],
        "name": entry.name,
        "context_length": entry.context_length,
        "max_output_tokens": entry.output_tokens_max,
        "pricing": {"currency": currency, **_own_prices(entry.price, tariff)},
    }


def _own_prices(price: Price, tariff: Tariff) -> dict[str, str]:
    rates = price.rates
    shown = {}
    for unit in ("prompt", "completion", "request", "image", "image_output", "input_cache_read", "web_search"):
        atto = getattr(rates, unit)
        if atto or unit in ("prompt", "completion"):
            shown[unit] = atto_to_text(tariff.own_price_atto(atto)) or "0"
    return shown


def _entry(raw: Mapping[str, Any], first: Provider, extra: list[tuple[Provider, frozenset[str]]]) -> Entry | None:
    model_id = raw.get("id")
    pricing = raw.get("pricing")
    if not isinstance(model_id, str) or not isinstance(pricing, Mapping):
        return None
    try:
        price = parse_price(pricing)
    except (Unpriced, ValueError):
        return None
    top = raw.get("top_provider") or {}
    context_length = int(raw.get("context_length") or top.get("context_length") or 0)
    stated = top.get("max_completion_tokens")
    output_max = int(stated or OUTPUT_TOKENS_UNSTATED)
    if context_length:
        output_max = min(output_max, context_length)
    routes = [Route(first, model_id)]
    routes += [Route(provider, model_id) for provider, ids in extra if model_id in ids]
    return Entry(
        id=model_id,
        name=str(raw.get("name") or model_id),
        created=int(raw.get("created") or 0),
        context_length=context_length,
        output_tokens_max=output_max,
        output_stated=bool(stated),
        price=price,
        pricing=pricing,
        routes=tuple(routes),
        image_output="image" in ((raw.get("architecture") or {}).get("output_modalities") or ()),
    )
