"""What can be refused in a chat request without knowing anything but the request."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import orjson

from proto.onysoft.v1 import work_pb2
from runtime.errors import Refusal
from runtime.parameters import (
    CHAT_RULES,
    MESSAGE_ROLES,
    MODEL_CHARACTERS_MAX,
    USAGE_DAYS,
    USAGE_DAYS_MAX,
    USAGE_GROUPS,
)

NESTING_MAX = 254  # what orjson writes; a body that a core could read and not write again is refused here
_BRACKETS_UNCHECKED = 128
_ROLES = frozenset(MESSAGE_ROLES)
_ROLES_WITHOUT_CONTENT = frozenset(("assistant", "tool", "function"))  # it may stand in tool calls, or be empty


ISTANBUL_OFFSET = timedelta(hours=3)
EARLIEST_DAY, LATEST_DAY = date(2020, 1, 1), date(2149, 1, 1)
"""What a ClickHouse Date can hold, and more than a ledger can."""
_USAGE_PARAMETERS = frozenset({"from", "to", "group_by"})


def parse_chat(body: bytes) -> tuple[str, bool]:
    """The model's id and whether the answer is streamed.

    Raises Refusal `invalid_request`, whose detail names the parameter and never quotes it.
    """
    request = _parse(body)
    model = _model(request)
    _check_messages(request.get("messages"))
    for name in _CHECKS.keys() & request.keys():
        value = request[name]
        if value is not None and not _CHECKS[name](value):
            raise _refusal(name)
    if request.get("models") is not None or request.get("route") is not None:
        raise _refusal("models" if request.get("models") is not None else "route")
    return model, request.get("stream") is True


def parse_generate(body: bytes) -> str:
    """The model's id; its parameters are the core's to check. Raises Refusal `invalid_request`."""
    return _model(_parse(body))


def _model(request: dict[str, Any]) -> str:
    model = request.get("model")
    if not isinstance(model, str) or not model or len(model) > MODEL_CHARACTERS_MAX:
        raise _refusal("model")
    return model


def parse_usage(query: bytes, now_s: float) -> work_pb2.UsageQuestion:
    """Which days, grouped how, of `from=2026-11-01&to=2026-11-30&group_by=day`; the last 30 days when nothing is said.

    Raises Refusal `invalid_request`, whose detail names the parameter.
    """
    try:
        given = parse_qs(query.decode(), keep_blank_values=True, max_num_fields=16, strict_parsing=bool(query))
    except ValueError:
        raise _refusal("query") from None
    for name, values in given.items():
        if name not in _USAGE_PARAMETERS or len(values) > 1:
            raise _refusal(name if name in _USAGE_PARAMETERS else "query")
    today = (datetime.fromtimestamp(now_s, UTC) + ISTANBUL_OFFSET).date()
    last = _day(given, "to", today)
    first = _day(given, "from", last - timedelta(days=USAGE_DAYS - 1))
    if not timedelta(0) <= last - first < timedelta(days=USAGE_DAYS_MAX):
        raise _refusal("from")
    group_by = given.get("group_by", ["day"])[0]
    if group_by not in USAGE_GROUPS:
        raise _refusal("group_by")
    return work_pb2.UsageQuestion(first_day=first.isoformat(), last_day=last.isoformat(), group_by=group_by)


def _day(given: dict[str, list[str]], name: str, otherwise: date) -> date:
    if name not in given:
        return otherwise
    try:
        day = date.fromisoformat(given[name][0])
    except ValueError:
        raise _refusal(name) from None
    if not EARLIEST_DAY <= day <= LATEST_DAY:
        raise _refusal(name)
    return day


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
        role = message.get("role")
        if type(role) is not str or role not in _ROLES:
            raise _refusal(f"messages[{index}].role")
        content = message.get("content")
        if type(content) is not str and not (content is None and role in _ROLES_WITHOUT_CONTENT):
            _check_parts(content, f"messages[{index}].content")


def _check_parts(content: Any, name: str) -> None:
    if type(content) is not list:
        raise _refusal(name)
    for index, part in enumerate(content):
        if type(part) is not dict or type(part.get("type")) is not str:
            raise _refusal(f"{name}[{index}]")


_CHECKS = {name: rule.check() for name, rule in CHAT_RULES.items()}


def _refusal(detail: str) -> Refusal:
    return Refusal("invalid_request", detail)
