"""What the provider offers, read from `market.txt` and `endpoints.txt`, and rules that one line cannot say."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.kie.notation import BadInput, Spec, parse_fields

_FOLDER = Path(__file__).parent


def _lines(name: str) -> list[str]:
    text = (_FOLDER / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def market() -> Mapping[str, Spec]:
    """Market models by id."""
    found: dict[str, Spec] = {}
    result = ""
    for line in _lines("market.txt"):
        if line.startswith("["):
            result = line.strip("[]")
            continue
        name, _, fields = line.partition(" :")
        found[name] = Spec(name, "market", "market", result, parse_fields(fields.strip()))
    return found


@cache
def endpoints() -> Mapping[str, Spec]:
    """Other create endpoints by their path after `/api/v1`."""
    found = {}
    for line in _lines("endpoints.txt"):
        head, _, fields = line.partition(" :")
        family, shape, result, path = head.split(" ")
        found[path] = Spec(path, family, shape, result, parse_fields(fields.strip()))
    return found


def judge_together(spec: Spec, given: Mapping[str, Any]) -> None:
    """Rules between parameters.

    Raises BadInput.
    """
    if spec.name == "/runway/generate" and (given["quality"], given["duration"]) == ("1080p", 10):
        raise BadInput(422, "1080p is not available for 10 seconds")
    if spec.name.startswith("hailuo/2-3") and (given.get("resolution"), given.get("duration")) == ("1080P", "10"):
        raise BadInput(422, "1080P is not available for 10 seconds")
    if spec.name == "/gpt4o-image/generate" and not given.get("prompt") and not given.get("filesUrl"):
        raise BadInput(422, "prompt or filesUrl is required")
    if spec.name == "/generate/mashup" and len(given["uploadUrlList"]) != 2:
        raise BadInput(422, "uploadUrlList must have exactly 2 items")
    if spec.name == "/generate/replace-section" and not 6 <= given["infillEndS"] - given["infillStartS"] <= 60:
        raise BadInput(422, "The replaced section must be between 6 and 60 seconds")
    if "customMode" in spec.fields:
        _judge_song(given)
    elif given.get("defaultParamFlag") and not all(given.get(name) for name in ("style", "title")):
        raise BadInput(422, "Please enter style and title.")


def _judge_song(given: Mapping[str, Any]) -> None:
    prompt, style = given.get("prompt") or "", given.get("style") or ""
    if not given["customMode"]:
        if not prompt:
            raise BadInput(422, "Please enter prompt.")
        if len(prompt) > 500:
            raise BadInput(422, "The prompt exceeds the limit of 500 characters.")
        return
    if not style or not given.get("title"):
        raise BadInput(422, "Please enter style and title.")
    if not given["instrumental"] and not prompt:
        raise BadInput(422, "Please enter prompt.")
    if given["model"] == "V4" and (len(prompt) > 3_000 or len(style) > 200):
        raise BadInput(422, "The prompt or style exceeds the limit of this model.")
