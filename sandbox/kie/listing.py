"""The provider's catalogue: models, schemas and prices, the latter in prose."""

import hashlib
from collections.abc import Iterator
from typing import Any

from sandbox.kie import specs
from sandbox.kie.notation import BadInput, Field, Spec
from sandbox.kie.prices import price_of

_LISTED_AS = {
    "/veo/generate": "veo-3-1",
    "/veo/extend": "veo/extend",
    "/runway/generate": "runway",
    "/runway/extend": "runway/extend-ai-video",
    "/aleph/generate": "runway/aleph",
    "/gpt4o-image/generate": "4o-image-api",
    "/flux/kontext/generate": "flux1-kontext",
    "/generate": "ai-music-api/generate",
    "/generate/extend": "ai-music-api/extend",
    "/generate/upload-cover": "ai-music-api/upload-and-cover-audio",
    "/generate/upload-extend": "ai-music-api/upload-and-extend-audio",
    "/generate/add-instrumental": "ai-music-api/add-instrumental",
    "/generate/add-vocals": "ai-music-api/add-vocals",
    "/generate/mashup": "ai-music-api/mashup",
    "/generate/replace-section": "ai-music-api/replace-section",
    "/generate/sounds": "ai-music-api/sounds",
    "/generate/generate-persona": "ai-music-api/generate-persona",
    "/generate/get-timestamped-lyrics": "ai-music-api/timeStamped-lyrics",
    "/lyrics": "ai-music-api/generate-lyrics",
    "/wav/generate": "ai-music-api/convert-to-wav-format",
    "/vocal-removal/generate": "ai-music-api/separate-vocals",
    "/mp4/generate": "ai-music-api/create-music-video",
    "/midi/generate": "ai-music-api/generate-midi-from-audio",
    "/suno/cover/generate": "ai-music-api/cover-generate",
    "/style/generate": "ai-music-api/boost-music-style",
}
_TYPES = {"bool": "boolean", "num": "number", "int": "integer", "string": "string", "voice": "string"}


class Listing:
    """Answers `/models…`."""

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The `data` of an answer. Raises BadInput."""
        if not path:
            return self._models(query)
        name, _, what = path.strip("/").rpartition("/")
        spec = dict(_all()).get(name)
        if spec is None or what not in ("schema", "price", "success-rate"):
            raise BadInput(404, "Not found")
        if what == "schema":
            return {"model": name, "input": {each.name: _schema(each) for each in spec.fields.values()}}
        if what == "price":
            return {"model": name, "pricingDesc": price_of(spec).prose()}
        return {"model": name, "successRate": 100.0}

    def _models(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = query.get("q", "").lower()
        rows = [_row(name, spec) for name, spec in _all() if wanted in name.lower()]
        if "provider" in query:
            rows = [row for row in rows if row["provider"] == query["provider"]]
        if "taskType" in query:
            rows = [row for row in rows if query["taskType"] in row["taskType"]]
        return {"total": len(rows), "models": rows}


def _all() -> Iterator[tuple[str, Spec]]:
    for name, spec in specs.market().items():
        if not name.startswith("sora-2"):
            yield name, spec
    for path, listed in _LISTED_AS.items():
        yield listed, specs.endpoints()[path]


def _row(name: str, spec: Spec) -> dict[str, Any]:
    return {
        "model": name,
        "slug": name,
        "title": name.replace("/", " ").replace("-", " ").title(),
        "provider": name.partition("/")[0],
        "taskType": [f"Text to {spec.result.title()}"],
        "description": None,
        "pricingDesc": price_of(spec).prose(),
        "id": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
    }


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES.get(field.kind, "array" if "[" in field.kind else "object")}
    if field.values:
        schema["enum"] = list(field.values)
    if field.default is not None:
        schema["default"] = field.default
    return {**schema, "required": field.required}
