"""KieAI's envelope `{"code", "msg", "data"}`: what counts is `code`, whatever the HTTP status says. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from core.providers.port import FailureKind, ProviderFailure

OK = 200
NOT_KNOWN = frozenset({404, 422})
"""Of a question about a task: its record is not there (yet, or any more)."""

_KINDS = {
    400: (FailureKind.REFUSED_INPUT, "refused"),
    401: (FailureKind.OPERATOR, "authentication"),
    402: (FailureKind.OPERATOR, "payment_required"),
    403: (FailureKind.OPERATOR, "permission_denied"),
    404: (FailureKind.REFUSED_INPUT, "not_found"),
    405: (FailureKind.OPERATOR, "permission_denied"),
    409: (FailureKind.REFUSED_INPUT, "conflict"),
    413: (FailureKind.REFUSED_INPUT, "known_work"),
    422: (FailureKind.REFUSED_INPUT, "unprocessable"),
    429: (FailureKind.RATE_LIMITED, "rate_limit_exceeded"),
    433: (FailureKind.OPERATOR, "key_limit"),
    451: (FailureKind.REFUSED_INPUT, "image_download_failed"),
    455: (FailureKind.UNAVAILABLE, "maintenance"),
    505: (FailureKind.REFUSED_INPUT, "feature_disabled"),
    550: (FailureKind.UNAVAILABLE, "connection_denied"),
}
_TERMINAL = frozenset({408, 501})
"""Of a question about a task: the provider has given it up."""

_MAY_HAVE_BEGUN = frozenset({408, 500, 501, 502, 503, 504, 524})
"""Codes after which a create may have made a task all the same."""


def data_of(status: int, content: bytes) -> Any:
    """The `data` of an answer that is well. Raises ProviderFailure for any other."""
    code, data = _opened(status, content)
    if code != OK:
        raise failure_of(code, status)
    return data


def looked_up(status: int, content: bytes) -> tuple[int, Mapping[str, Any]]:
    """Code and data of a question about a task; a code that speaks of the task itself is no failure."""
    code, data = _opened(status, content)
    if code in NOT_KNOWN or code in _TERMINAL:
        return code, {}
    if code != OK:
        raise failure_of(code, status)
    if data is None:
        return 404, {}
    if not isinstance(data, dict):
        raise ProviderFailure(FailureKind.PROTOCOL, "no_data", began=True, status=status)
    return code, data


def failure_of(code: int, status: int) -> ProviderFailure:
    """The failure that a code tells."""
    if code in _KINDS:
        kind, reason = _KINDS[code]
        return ProviderFailure(kind, reason, status=status)
    began = code in _MAY_HAVE_BEGUN
    if code in (408, 504, 524):
        return ProviderFailure(FailureKind.TIMEOUT, "timeout", began=began, status=status)
    return ProviderFailure(FailureKind.UNAVAILABLE, "server", began=began or code >= 500, status=status)


def _opened(status: int, content: bytes) -> tuple[int, Any]:
    """Code and data. What is no envelope (an error page on the way) speaks by its HTTP status."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    if type(code) is str and code.isdecimal():
        code = int(code)
    if type(code) is int:
        return code, body.get("data")
    if status == OK:
        raise ProviderFailure(FailureKind.PROTOCOL, "no_code", began=True, status=status)
    if status >= 500 or status == 408:
        raise ProviderFailure(FailureKind.UNAVAILABLE, "not_json", began=True, status=status)
    raise failure_of(status, status)
