"""`GET /v1/models`: what a caller may call, and what it costs that very caller, in its own currency.

Prices are the provider's after the caller's markup (a partner customer's on top of its partner's) and the exchange
rate. What the caller's key may not use, or what is blocked for it, is left out.
"""

from collections.abc import Hashable
from typing import Any

import orjson

from core.admission import tariff_of
from core.catalogue import Catalogue, Entry
from core.ledger.accounts import Account, Key
from core.ledger.owners import Owner
from core.ledger.patterns import matches
from core.ledger.state import State
from core.media.catalogue import MediaCatalogue
from core.pricing import UNITS, Price, Tariff, atto_to_text
from core.tasks import offer
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.errors import Refusal

KEPT = 64
"""Lists that are kept, one for each set of markups, rates and blocks; the oldest goes."""


class PriceLists:
    """Lists for callers, each made once while the catalogue and the caller's terms stay as they are.

    `media` is None where no provider of media is set up.
    """

    def __init__(self, catalogue: Catalogue, media: MediaCatalogue | None) -> None:
        self._catalogue = catalogue
        self._media = media
        self._kept: dict[Hashable, bytes] = {}

    def every(self, state: State, account: Account, key: Key | None) -> bytes:
        """All that the caller may call. Raises Refusal while a rate is missing."""
        terms = (self._catalogue.version, *_terms(state, account, key))
        body = self._kept.get(terms)
        if body is None:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            body = self._kept[terms] = orjson.dumps({"object": "list", "data": self._models(state, account, key)})
        return body

    def one(self, state: State, account: Account, key: Key | None, model_id: str) -> bytes:
        """One model, by its id or an alias. Raises Refusal(model_not_found)."""
        named = state.aliases.get(model_id, model_id)
        medium = self._media.get(named) if self._media is not None else None
        if medium is not None and medium.callable and offer.is_on_sale(state, medium):
            described = offer.describe(medium, tariff_of(account, state, medium.id), _currency(account))
        else:
            entry = self._catalogue.find(model_id)
            described = describe(entry, tariff_of(account, state, entry.id), _currency(account), model_id)
        if not _is_allowed(described.get("alias_of", described["id"]), account, key):
            raise Refusal("model_not_found")
        return orjson.dumps(described)

    def _models(self, state: State, account: Account, key: Key | None) -> list[dict[str, Any]]:
        currency, entries = _currency(account), self._catalogue.entries
        names = [(model_id, model_id) for model_id in entries]
        names += [(alias, model_id) for alias, model_id in self._catalogue.aliases.items() if model_id in entries]
        models = [
            describe(entries[model_id], tariff_of(account, state, model_id), currency, name)
            for name, model_id in names
            if _is_allowed(model_id, account, key)
        ]
        media = self._media.callable_models() if self._media is not None else ()
        models += [
            offer.describe(medium, tariff_of(account, state, medium.id), currency)
            for medium in media
            if offer.is_on_sale(state, medium) and _is_allowed(medium.id, account, key)
        ]
        return models


def describe(entry: Entry, tariff: Tariff, currency: str, name: str) -> dict[str, Any]:
    """One chat model as a client sees it under `name`; prices are decimal strings for one unit."""
    described = {
        "id": name,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.id.partition("/")[0],
        "name": entry.name,
        "type": "chat",
        "context_length": entry.context_length,
        "max_output_tokens": entry.output_tokens_max,
        "pricing": {"currency": currency, **_own_prices(entry.price, tariff)},
    }
    return described if name == entry.id else described | {"alias_of": entry.id}


def _own_prices(price: Price, tariff: Tariff) -> dict[str, str]:
    rates = price.rates
    shown = {}
    for unit in UNITS:
        atto = getattr(rates, unit)
        if atto or unit in ("prompt", "completion"):
            shown[unit] = atto_to_text(tariff.own_price_atto(atto)) or "0"
    return shown


def _currency(account: Account) -> str:
    return pb.Currency.Name(pb.Currency.ValueType(account.currency))


def _owners(account: Account, key: Key | None) -> tuple[Owner, ...]:
    return account.lineage if key is None else (key, *account.lineage)


def _is_allowed(model_id: str, account: Account, key: Key | None) -> bool:
    if key is not None and key.allowed_models and not any(matches(pattern, model_id) for pattern in key.allowed_models):
        return False
    return not any(matches(pattern, model_id) for owner in _owners(account, key) for pattern in owner.blocks)


def _terms(state: State, account: Account, key: Key | None) -> tuple[Hashable, ...]:
    """All that a list depends on, beside the catalogue."""
    payers = (account,) if account.payer is None else (account, account.payer)
    return (
        tuple((payer.currency, payer.markup_bps, frozenset(payer.markups.items())) for payer in payers),
        frozenset(state.fx_rates.items()),
        frozenset(pattern for owner in _owners(account, key) for pattern in owner.blocks),
        frozenset() if key is None else frozenset(key.allowed_models),
    )
