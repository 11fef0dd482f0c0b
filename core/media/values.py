"""One parameter's value: of the right type, in range, and as the provider writes it (`"5"` or `5`)."""

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from core.media.refusals import refused
from core.media.schema import Field, shown_values

_VOICES_FILE = Path(__file__).with_name("voices.toml")
_ITEMS = {"strings": "string", "integers": "integer"}
_ENUM_SHOWN_MAX = 40
TURNS_MAX = 200
"""Most turns of one dialogue."""

DEFAULT_VOICE = "Rachel"


@cache
def voices() -> Mapping[str, str]:
    """What the provider is sent, for each voice that a caller may name."""
    file = tomllib.loads(_VOICES_FILE.read_text("utf-8"))
    return {**{each: each for each in file["ids"]["accepted"]}, **file["names"]}


def read(field: Field, shown: str, value: Any) -> Any:
    """The value as the provider wants it; `shown` is the caller's name for the parameter.

    Raises Refusal invalid_request.
    """
    if field.type == "voice":
        return _voice(shown, value)
    if field.is_list:
        return _list(field, shown, value)
    converted = _converted(field.type, field, shown, value)
    if field.enum and converted not in field.enum:
        raise refused(shown, "must be one of {allowed}", allowed=shown_values(field.enum[:_ENUM_SHOWN_MAX]))
    _check_range(field, shown, converted)
    return converted


def check_count(field: Field, shown: str, count: int) -> None:
    """Are there as many items as the field takes?"""
    if count < max(field.min_items, int(field.required)):
        raise refused(shown, "at least {least} item(s) must be given", least=max(field.min_items, 1))
    if field.max_items is not None and count > field.max_items:
        raise refused(shown, "at most {most} item(s) may be given", most=field.max_items)


def dialogue(field: Field, shown: str, value: Any, voice: Any) -> list[dict[str, Any]]:
    """Turns of a dialogue; those that name no voice are spoken by `voice`. Raises Refusal invalid_request."""
    turns = [{"text": value}] if isinstance(value, str) else value
    if not isinstance(turns, list) or not 0 < len(turns) <= TURNS_MAX:
        raise refused(shown, "must be a list of 1 to {most} objects with text and voice", most=TURNS_MAX)
    spoken = []
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("text"), str) or not turn["text"]:
            raise refused(shown, "each item must be an object with a text")
        spoken.append({**turn, "voice": _voice("voice", turn.get("voice", voice))})
    if field.max_length is not None and sum(len(turn["text"]) for turn in spoken) > field.max_length:
        raise refused(shown, "has at most {most} characters in all", most=field.max_length)
    return spoken


def _converted(kind: str, field: Field, shown: str, value: Any) -> Any:
    match kind:
        case "string" | "task" | "song":
            return _string(field, shown, value)
        case "integer":
            return _whole(shown, value)
        case "number":
            return _number(shown, value)
        case "boolean":
            return _flag(shown, value)
    return value


def _string(field: Field, shown: str, value: Any) -> str:
    if field.enum and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(int(value)) if float(value).is_integer() else str(value)
    if not isinstance(value, str):
        if field.enum:
            raise refused(shown, "must be one of {allowed}", allowed=shown_values(field.enum[:_ENUM_SHOWN_MAX]))
        raise refused(shown, "must be a string")
    if field.enum and value not in field.enum:
        same = [each for each in field.enum if each.lower() == value.lower()]
        return same[0] if len(same) == 1 else value
    if field.max_length is not None and len(value) > field.max_length:
        raise refused(shown, "has at most {most} characters", most=field.max_length)
    return value


def _number(shown: str, value: Any) -> int | float:
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            raise refused(shown, "must be a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refused(shown, "must be a number")
    return int(value) if float(value).is_integer() else value


def _whole(shown: str, value: Any) -> int:
    number = _number(shown, value)
    if not isinstance(number, int):
        raise refused(shown, "must be a whole number")
    return number


def _flag(shown: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise refused(shown, "must be true or false")
    return value


def _check_range(field: Field, shown: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if field.min is not None and field.max is not None and not field.min <= value <= field.max:
        raise refused(shown, "must be from {least} to {most}", least=field.min, most=field.max)
    if field.min is not None and value < field.min:
        raise refused(shown, "must be at least {least}", least=field.min)
    if field.max is not None and value > field.max:
        raise refused(shown, "must be at most {most}", most=field.max)


def _list(field: Field, shown: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise refused(shown, "must be a list")
    check_count(field, shown, len(value))
    if field.type in _ITEMS:
        return [_converted(_ITEMS[field.type], field, shown, item) for item in value]
    if field.type == "objects" and not all(isinstance(item, dict) for item in value):
        raise refused(shown, "must be a list of objects")
    return value


def _voice(shown: str, value: Any) -> str:
    known = voices()
    if not isinstance(value, str) or value not in known:
        named = [name for name in known if len(name) < 16]
        phrase = "must be one of {allowed} (capitals count), or a voice id of the provider's"
        raise refused(shown, phrase, allowed=shown_values(named))
    return known[value]
