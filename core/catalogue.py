"""The models that can be called: what the ledger's catalogue events say, ready for use.

The ledger is the truth. Entries are made from the replica's state, when they are asked for and it has changed. A model
is called only when it is active, its provider lists a whole price for it, and one of its routes' providers is set up
here.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from core.ledger.records import Model
from core.listing import CHAT
from core.pricing import Price, Unpriced, dearest, parse_price
from core.providers.port import Provider
from proto.onysoft.v1.ledger_pb2 import ModelRoute, ModelSet
from runtime.errors import Refusal
from runtime.log import log


@dataclass(frozen=True, slots=True)
class Route:
    """One provider that serves a model, under the provider's own id for it, at its own price where it has one.

    Lower orders are tried first; `weight` is the share among routes of one order.
    """

    provider: Provider
    upstream_id: str
    order: int = 0
    weight: int = 1
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One callable model. Token counts; `output_stated` says whether the provider names its output limit.

    `price` is the listed one; its `upper` covers the price of every route, so that a hold does, too. `defaults` are
    parameters that a request gets where it leaves them out.
    """

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
    defaults: Mapping[str, Any] = field(default_factory=dict)
    defaults_bytes: int = 0
    tokenizer: str = ""
    reasons_always: bool = False

    def completed(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with the defaults that it leaves out."""
        return {**self.defaults, **request} if self.defaults else request

    def price_of(self, route: Route) -> Price:
        """What a call over this route costs."""
        return route.price or self.price


class Source(Protocol):
    """What the fold knows of the catalogue."""

    models: dict[str, Model]
    aliases: dict[str, str]
    models_version: int


class Catalogue:
    """The current entries by id. `source` gives the replica's state; providers are those that are set up here."""

    def __init__(self, source: Callable[[], Source], providers: Sequence[Provider]) -> None:
        self._source = source
        self._providers = {provider.name: provider for provider in providers}
        self._made: dict[str, tuple[ModelSet, Entry | None]] = {}
        self._entries: dict[str, Entry] = {}
        self._aliases: Mapping[str, str] = {}
        self._version: tuple[int, int] | None = None

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every callable model by id."""
        self._renew()
        return self._entries

    @property
    def version(self) -> Hashable:
        """Another one whenever an entry or an alias has changed."""
        self._renew()
        return self._version

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names, and the ids that they stand for."""
        self._renew()
        return self._aliases

    def find(self, model_id: str) -> Entry:
        """The model of that id, or of which it is an alias.

        Raises Refusal: before the first list was read nobody can say that a model does not exist.
        """
        self._renew()
        entry = self._entries.get(model_id) or self._entries.get(self._aliases.get(model_id, ""))
        if entry is None:
            raise Refusal("model_not_found") if self._entries else Refusal("service_unavailable", retry_after_s=2)
        return entry

    def _renew(self) -> None:
        state = self._source()
        version = (id(state), state.models_version)
        if version == self._version:
            return
        made: dict[str, tuple[ModelSet, Entry | None]] = {}
        for model_id, model in state.models.items():
            before = self._made.get(model_id)
            if before is not None and before[0] is model.set:
                made[model_id] = before
            else:
                made[model_id] = (model.set, entry_of(model.set, self._providers))
        self._made = made
        self._entries = {
            model_id: entry
            for model_id, (_, entry) in made.items()
            if entry is not None and state.models[model_id].active
        }
        self._aliases = dict(state.aliases)
        self._version = version


def entry_of(model: ModelSet, providers: Mapping[str, Provider]) -> Entry | None:
    """The entry that a version of a model makes; None when it cannot be called here."""
    if model.kind != CHAT or model.unlisted:
        return None
    try:
        pricing = orjson.loads(model.price)
        price = parse_price(pricing)
        routes = [_route(route, providers) for route in model.routes if route.provider in providers]
        defaults = _defaults(model)
    except (Unpriced, orjson.JSONDecodeError) as error:
        log.error("catalogue.unusable", model=model.model_id, reason=str(error))
        return None
    if not routes:
        return None
    upper = dearest((price.upper, *(route.price.upper for route in routes if route.price is not None)))
    return Entry(
        id=model.model_id,
        name=model.name,
        created=model.created,
        context_length=model.context_length,
        output_tokens_max=model.output_tokens_max,
        output_stated=model.output_stated,
        price=replace(price, upper=upper),
        pricing=pricing,
        routes=tuple(sorted(routes, key=lambda route: route.order)),
        image_output=model.image_output,
        defaults=defaults,
        defaults_bytes=len(orjson.dumps(defaults)) if defaults else 0,
        tokenizer=model.tokenizer,
        reasons_always=model.reasons_always,
    )


def _defaults(model: ModelSet) -> dict[str, Any]:
    """What a request gets where it leaves it out. Who asks a model that makes images wants one, without a further word.

    Raises JSONDecodeError.
    """
    defaults: dict[str, Any] = orjson.loads(model.defaults or b"{}")
    return {"modalities": ["image", "text"], **defaults} if model.image_output else defaults


def _route(route: ModelRoute, providers: Mapping[str, Provider]) -> Route:
    price = parse_price(orjson.loads(route.price)) if route.price else None
    return Route(providers[route.provider], route.upstream_id, route.order, route.weight or 1, price)
