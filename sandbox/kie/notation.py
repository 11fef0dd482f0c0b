"""The provider's schemas in one line each, and the judge of a request: what it lacks, and what does not fit.

`name*(type; a|b; >=0 <=9; n<=3; len<=500; =default)`. Types: bool, num, int, any, voice, [string], [object], [integer],
[array]; none: a string. Fields that are called like a URL hold http(s) URLs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_FIELD = re.compile(r"([A-Za-z0-9_]+)(\*?)(?:\((.*)\))?")
_URL_FIELD = re.compile(
    r"(?:.*_url|.*_urls|.*Url|.*Urls|.*UrlList|imageUrls|image_input|image|inputImage|filesUrl|reference_image|"
    r"reference_video|reference_voice|referenceImage|first_frame)"
)
_VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
_VOICES = frozenset(
    {
        "Rachel",
        "Aria",
        "Roger",
        "Sarah",
        "Laura",
        "Charlie",
        "George",
        "Callum",
        "River",
        "Liam",
        "Charlotte",
        "Alice",
        "Matilda",
        "Will",
        "Jessica",
        "Eric",
        "Chris",
        "Brian",
        "Daniel",
        "Lily",
        "Bill",
    }
)
URL_LENGTH_MAX = 8_192


class BadInput(Exception):
    """The provider refuses a request: its code, and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter. `kind` is a type of the notation, `string` where none is written."""

    name: str
    required: bool
    kind: str = "string"
    values: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    items_max: int | None = None
    length_max: int | None = None
    default: Any = None

    @property
    def is_url(self) -> bool:
        """Does it hold URLs, by its name?"""
        return self.kind in ("string", "[string]") and _URL_FIELD.fullmatch(self.name) is not None


@dataclass(frozen=True, slots=True)
class Spec:
    """A model or an endpoint: `name` is the model's id, or the endpoint's path."""

    name: str
    family: str
    shape: str
    result: str
    fields: Mapping[str, Field] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """What the provider takes for what is left out."""
        return {each.name: each.default for each in self.fields.values() if each.default is not None}


def parse_fields(text: str) -> dict[str, Field]:
    """The fields of one line."""
    return {each.name: each for each in map(_field, _split(text)) if each is not None}


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for index, char in enumerate(text):
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            yield text[start:index].strip()
            start = index + 1
    yield text[start:].strip()


def _field(text: str) -> Field | None:
    match = _FIELD.fullmatch(text)
    if match is None:
        if text:
            raise ValueError(f"no field: {text}")
        return None
    name, star, body = match.groups()
    found: dict[str, Any] = {}
    for part in filter(None, (body or "").split("; ")):
        found |= _part(part.strip())
    return Field(name, bool(star), **found)


def _part(part: str) -> dict[str, Any]:
    if part in ("bool", "num", "int", "any", "voice", "[string]", "[object]", "[integer]", "[array]"):
        return {"kind": part}
    if part.startswith("="):
        return {"default": orjson.loads(part[1:])}
    if part.startswith("n<="):
        return {"items_max": int(part[3:])}
    if part.startswith("len<="):
        return {"length_max": int(part[5:])}
    if part.startswith((">=", "<=")):
        sides = {">=": "least", "<=": "most"}
        return {sides[bound[:2]]: float(bound[2:]) for bound in part.split(" ")}
    return {"values": tuple(part.split("|"))}


def judge(spec: Spec, given: Any, refuse_unknown: bool) -> None:
    """Does the input fit?

    Raises BadInput with the first thing that does not.
    """
    if not isinstance(given, dict):
        raise BadInput(422, "input must be an object")
    for each in spec.fields.values():
        value = given.get(each.name)
        if value is None or value == "" or (value == [] and each.is_url):
            if each.required:
                raise BadInput(
                    422, f"Please enter {each.name}." if spec.family == "suno" else f"{each.name} is required"
                )
        else:
            _judge_value(each, value)
    unknown = sorted(set(given) - set(spec.fields))
    if unknown and refuse_unknown:
        raise BadInput(422, f"{unknown[0]} is not a parameter of {spec.name}")


def _judge_value(each: Field, value: Any) -> None:
    if not _has_type(each.kind, value):
        raise BadInput(422, f"{each.name} must be of type {each.kind}")
    if each.kind == "voice" and value not in _VOICES and not _VOICE_ID.fullmatch(value):
        raise BadInput(500, "This voice is not within the range of allowed options")
    if each.values and each.kind != "bool" and str(value) not in each.values:
        raise BadInput(422, f"{each.name} is not within the range of allowed options")
    if isinstance(value, str) and each.length_max is not None and len(value) > each.length_max:
        raise BadInput(422, f"{each.name} exceeds the maximum length of {each.length_max}")
    if isinstance(value, list) and each.items_max is not None and len(value) > each.items_max:
        raise BadInput(422, f"{each.name} may have at most {each.items_max} items")
    if each.kind in ("num", "int") and not _in_range(each, value):
        raise BadInput(422, f"{each.name} is out of range")
    if each.is_url:
        for url in value if isinstance(value, list) else [value]:
            if not re.match(r"https?://[^/]", url) or len(url) > URL_LENGTH_MAX:
                raise BadInput(422, f"{each.name} must be an http(s) URL")


def _has_type(kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "num":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("string", "voice"):
        return isinstance(value, str)
    if kind == "any":
        return True
    items = {"[string]": str, "[object]": dict, "[integer]": int, "[array]": list}
    return isinstance(value, list) and all(isinstance(item, items[kind]) for item in value)


def _in_range(each: Field, value: float) -> bool:
    return (each.least is None or value >= each.least) and (each.most is None or value <= each.most)
