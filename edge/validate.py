"""What can be refused in a chat request without knowing anything but the request."""

from collections.abc import Callable
from typing import Any

import orjson

from runtime.errors import Refusal

MODEL_CHARACTERS_MAX = 256
N_MAX = 128
NESTING_MAX = 254  # what orjson writes; a body that a core could read and not write again is refused here
_BRACKETS_UNCHECKED = 128


def parse_chat(body: bytes) -> tuple[str, bool]:
    """The model's id and whether the answer is streamed.

    Raises Refusal `invalid_request`, whose detail names the parameter and never quotes it.
    """
    request = _parse(body)
    model = request.get("model")
    if not isinstance(model, str) or not model or len(model) > MODEL_CHARACTERS_MAX:
        raise _refusal("model")
    _check_messages(request.get("messages"))
    for name in _CHECKS.keys() & request.keys():
        value = request[name]
        if value is not None and not _CHECKS[name](value):
            raise _refusal(name)
    if request.get("models") is not None or request.get("route") is not None:
        raise _refusal("models" if request.get("models") is not None else "route")
    return model, request.get("stream") is True


def _parse(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _refusal("JSON") from None
    if not isinstance(request, dict):
        raise _refusal("JSON")
    if body.count(b"[") + body.count(b"{") > _BRACKETS_UNCHECKED:
        _check_nesting(request)
    return request


def _check_nesting(request: dict[str, Any]) -> None:
    try:
        orjson.dumps(request)
    except orjson.JSONEncodeError:
        raise _refusal("JSON") from None


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise _refusal("messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _refusal(f"messages[{index}]")
        if not isinstance(message.get("role"), str):
            raise _refusal(f"messages[{index}].role")


def _is_positive(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "stream": lambda value: type(value) is bool,
    "temperature": _is_between(0, 2),
    "top_p": _is_between(0, 1),
    "max_tokens": _is_positive,
    "max_completion_tokens": _is_positive,
    "n": lambda value: _is_positive(value) and value <= N_MAX,
    "stream_options": lambda value: isinstance(value, dict),
}


def _refusal(detail: str) -> Refusal:
    return Refusal("invalid_request", detail)
