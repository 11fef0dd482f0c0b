"""Reads `models/*.toml` and checks that it makes sense: a mistake in the data is found at start, not by a customer."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from core.media.schema import FIELD_TYPES, ExtraPrice, Field, MediaModel, MediaPrice, PriceRow, Rule
from runtime.errors import Refusal

FOLDER = Path(__file__).with_name("models")

_PATHS = {
    "market": ("/api/v1/jobs/createTask", "/api/v1/jobs/recordInfo"),
    "veo": ("/api/v1/veo/generate", "/api/v1/veo/record-info"),
    "runway": ("/api/v1/runway/generate", "/api/v1/runway/record-detail"),
    "aleph": ("/api/v1/aleph/generate", "/api/v1/aleph/record-info"),
    "suno": ("/api/v1/generate", "/api/v1/generate/record-info"),
    "gpt4o_image": ("/api/v1/gpt4o-image/generate", "/api/v1/gpt4o-image/record-info"),
    "flux_kontext": ("/api/v1/flux/kontext/generate", "/api/v1/flux/kontext/record-info"),
}
_UNITS = ("image", "clip", "second", "minute", "request", "megapixel", "thousand_characters")
_MODEL_KEYS = frozenset(
    {
        "id",
        "aliases",
        "kind",
        "family",
        "endpoint",
        "query",
        "provider_model",
        "fixed",
        "variants",
        "text",
        "images",
        "rules",
        "any_of",
        "callback",
        "at_once",
        "result",
        "off",
        "input",
        "price",
    }
)


class BadCatalogue(ValueError):
    """The data files contradict themselves; the text names the model."""


class MediaCatalogue:
    """Every media model, by canonical id and by alias."""

    def __init__(self, models: Iterable[MediaModel]) -> None:
        self.models: Mapping[str, MediaModel] = MappingProxyType({model.id: model for model in models})
        self._by_name = dict(self.models)
        for model in self.models.values():
            for alias in model.aliases:
                if alias in self._by_name:
                    raise BadCatalogue(f"{alias}: two models have this name")
                self._by_name[alias] = model

    def get(self, model_id: str) -> MediaModel | None:
        """The model of that id or alias, callable or not."""
        return self._by_name.get(model_id)

    def find(self, model_id: str) -> MediaModel:
        """The callable model of that id or alias.

        Raises Refusal model_not_found, for models that are off or unpriced as well.
        """
        model = self._by_name.get(model_id)
        if model is None or not model.callable:
            raise Refusal("model_not_found")
        return model

    def callable_models(self) -> list[MediaModel]:
        """Those that can be sold, in the order of the files."""
        return [model for model in self.models.values() if model.callable]


@cache
def load() -> MediaCatalogue:
    """The catalogue that is shipped.

    Raises BadCatalogue when a file contradicts itself.
    """
    return parse(tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml")))


def parse(files: Iterable[Mapping[str, Any]]) -> MediaCatalogue:
    """A catalogue of parsed files. Raises BadCatalogue."""
    models: list[MediaModel] = []
    for file in files:
        for row in file["model"]:
            try:
                models.extend(_models(row))
            except (KeyError, TypeError, ValueError) as error:
                raise BadCatalogue(f"{row.get('id')}: {error}") from error
    return MediaCatalogue(models)


def _models(row: Mapping[str, Any]) -> list[MediaModel]:
    unknown = set(row) - _MODEL_KEYS
    if unknown:
        raise BadCatalogue(f"unknown keys {sorted(unknown)}")
    own = _model(row, row["id"], row.get("fixed", {}), tuple(row.get("aliases", ())))
    return [own, *(_model(row, name, fixed, ()) for name, fixed in row.get("variants", {}).items())]


def _model(row: Mapping[str, Any], name: str, fixed: Mapping[str, Any], aliases: tuple[str, ...]) -> MediaModel:
    family = row.get("family", "market")
    create, query = _PATHS[family]
    fields = {key: _field(key, spec) for key, spec in row.get("input", {}).items()}
    text = row.get("text", "prompt" if "prompt" in fields else "")
    model = MediaModel(
        id=name,
        kind=row["kind"],
        family=family,
        endpoint=row.get("endpoint", create),
        query=row.get("query", query),
        provider_model=row.get("provider_model", row["id"]) if family == "market" else "",
        fields=MappingProxyType(fields),
        price=_price(row["id"], row["price"]) if "price" in row else None,
        aliases=aliases,
        fixed=MappingProxyType(dict(fixed)),
        text=text,
        images=tuple(row.get("images", ())),
        rules=tuple(_rule(each) for each in row.get("rules", ())),
        any_of=tuple(tuple(names) for names in row.get("any_of", ())),
        callback=row.get("callback", "optional"),
        at_once=row.get("at_once", False),
        result=row.get("result", "media"),
        off=row.get("off", ""),
    )
    _check(model)
    return model


def _field(name: str, spec: Mapping[str, Any]) -> Field:
    values = {**spec, "enum": tuple(spec.get("enum", ()))}
    if spec["type"] not in FIELD_TYPES:
        raise BadCatalogue(f"{name}: no such type as {spec['type']}")
    return Field(name=name, **values)


def _rule(spec: Mapping[str, Any]) -> Rule:
    required, enum = tuple(spec.get("required", ())), tuple(spec.get("enum", ()))
    return Rule(**{**spec, "required": required, "enum": enum})


def _price(model_id: str, spec: Mapping[str, Any]) -> MediaPrice:
    rows = spec["rows"] if "rows" in spec else [{"credits": spec["credits"]}]
    each_max = spec.get("input_seconds", {})
    if spec["unit"] not in _UNITS:
        raise BadCatalogue(f"no such unit as {spec['unit']}")
    canonical = orjson.dumps([model_id, spec], option=orjson.OPT_SORT_KEYS)
    return MediaPrice(
        unit=spec["unit"],
        rows=tuple(PriceRow(MappingProxyType(row.get("when", {})), Fraction(row["credits"])) for row in rows),
        count=spec.get("count", ""),
        count_per=spec.get("count_per", ""),
        count_max=Fraction(spec["count_max"]) if "count_max" in spec else None,
        count_fixed=Fraction(spec.get("count_fixed", 1)),
        input_field=each_max.get("field", ""),
        input_each_max=Fraction(each_max.get("each_max", 0)),
        extras=tuple(
            ExtraPrice(each["field"], each["free"], Fraction(each["credits"])) for each in spec.get("extra", ())
        ),
        settled_by_provider=spec.get("settled_by") == "provider",
        assumed=spec.get("assumed", ""),
        version=hashlib.sha256(canonical).digest()[:8],
        canonical=canonical,
    )


def _check(model: MediaModel) -> None:
    """What must hold for every model, or a request could be mispriced."""
    named = {model.text, *model.images, *(name for names in model.any_of for name in names)} - {""}
    named |= {name for rule in model.rules for name in (*rule.when, *rule.required, rule.field)} - {""}
    price = model.price
    if price is not None:
        named |= price.fields | {extra.field for extra in price.extras} | ({price.input_field} - {""})
    unknown = named - set(model.fields) - set(model.fixed)
    if unknown:
        raise BadCatalogue(f"no field is called {sorted(unknown)}")
    if price is None:
        if not model.off:
            raise BadCatalogue("there is no price, and no word of why it is off")
        return
    if any(row.credits < 0 for row in price.rows):
        raise BadCatalogue("a price is negative")
    for name in (price.count, price.count_per):
        if name:
            _check_count(model.fields[name], price)


def _check_count(field: Field, price: MediaPrice) -> None:
    """A count that a caller could choose freely would be a price that he could choose freely."""
    if price.unit == "thousand_characters":
        bounded = field.max_length is not None
    else:
        bounded = bool(field.enum) or (field.min is not None and field.min > 0 and field.max is not None)
    if not bounded:
        raise BadCatalogue(f"{field.name}: a price depends on it, and it has no bounds")
    if field.default is None and not field.required and price.count_max is None:
        raise BadCatalogue(f"{field.name}: a price depends on it, and it may be missing")
