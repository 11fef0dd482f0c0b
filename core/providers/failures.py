"""What a provider's error means: from HTTP status and error object to ProviderFailure. Pure.

The words are OpenRouter's (`error.code` a number or a word, `error.metadata.error_type`) and OpenAI's (`error.code` a
word, `error.type`). Only words listed here go on; the provider's message never does.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from core.providers.port import INPUT_REASONS, FailureKind, ProviderFailure, Usage

RETRY_AFTER_S_MAX = 3_600
ERROR_BYTES_MAX = 1024 * 1024
"""Of an answer that should have been a stream and is not, so much is read to learn why."""

_REFUSED = FailureKind.REFUSED_INPUT
_OPERATOR = FailureKind.OPERATOR
_UNAVAILABLE = FailureKind.UNAVAILABLE

_KINDS_BY_WORD = {
    **dict.fromkeys(INPUT_REASONS, _REFUSED),
    **dict.fromkeys(("content_policy_violation", "refusal", "unprocessable", "precondition_failed"), _REFUSED),
    **dict.fromkeys(("not_found", "model_not_found", "unsupported_parameter"), _REFUSED),
    **dict.fromkeys(("authentication", "invalid_api_key", "permission_denied"), _OPERATOR),
    **dict.fromkeys(("payment_required", "insufficient_quota"), _OPERATOR),
    **dict.fromkeys(("provider_overloaded", "provider_unavailable", "server", "server_error"), _UNAVAILABLE),
    "rate_limit_exceeded": FailureKind.RATE_LIMITED,
    "timeout": FailureKind.TIMEOUT,
}
_PARAMETER = re.compile(r"([a-z_]{1,40})(\[\d{1,4}\])?")
_PARAMETERS = frozenset(
    (
        "frequency_penalty",
        "presence_penalty",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "n",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "messages",
        "model",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "response_format",
        "user",
        "metadata",
        "functions",
        "function_call",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "web_search_options",
        "modalities",
        "audio",
        "prediction",
        "reasoning",
        "reasoning_effort",
        "service_tier",
        "verbosity",
    )
)
_MODERATION_FIELDS = ("reasons", "flagged_input")


def of_answer(
    status: int, headers: Mapping[bytes, bytes], body: bytes, generation_id: str, now: float
) -> ProviderFailure:
    """The failure that an answer other than 200 tells. `now` is unix seconds, for a Retry-After that is a date.

    A JSON error before the first token means that nothing was generated. An error page of something on the way says
    nothing about that, so generation may have begun.
    """
    error = error_object(_parsed(body))
    if error is None:
        kind = _kind_of_status(status) if status >= 500 or status == 429 else FailureKind.PROTOCOL
        reason = "redirect" if 300 <= status < 400 else "not_json"
        began = status >= 500
    else:
        kind, reason = _kind(status, error)
        began = kind is FailureKind.TIMEOUT
    return ProviderFailure(
        kind,
        reason,
        began=began,
        status=status,
        retry_after_s=_retry_after_s(headers.get(b"retry-after", b""), now),
        generation_id=generation_id,
        parameter="" if error is None else _parameter(error),
    )


def of_error(error: Mapping[str, Any], generation_id: str, usage: Usage | None, begun: bool) -> ProviderFailure:
    """The failure that an error inside an answer of status 200 tells: `begun` once something else arrived before it."""
    kind, reason = _kind(500, error)
    kind = FailureKind.BROKEN if begun else kind
    return ProviderFailure(kind, reason, began=True, status=200, generation_id=generation_id, usage=usage)


def error_object(body: Any) -> Mapping[str, Any] | None:
    """The `error` of an answer, whatever its form; None when there is none."""
    error = body.get("error") if isinstance(body, dict) else None
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": error}


def _parsed(body: bytes | str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _kind(status: int, error: Mapping[str, Any]) -> tuple[FailureKind, str]:
    """Kind and reason; a word that we know is more exact than a number."""
    code = error.get("code")
    metadata = error.get("metadata")
    details = metadata if isinstance(metadata, dict) else {}
    for word in (details.get("error_type"), code, error.get("type")):
        if isinstance(word, str) and word in _KINDS_BY_WORD:
            return _KINDS_BY_WORD[word], word
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    number = code if type(code) is int and 400 <= code <= 599 else status
    if number == 403 and any(field in details for field in _MODERATION_FIELDS):
        return _REFUSED, "content_policy_violation"
    return _kind_of_status(number), ""


def _parameter(error: Mapping[str, Any]) -> str:
    """The parameter of the request that the error blames; a router passes its provider's own error on as text.

    Only the protocol's own names, and a place in a list, go on: what follows may be the client's words.
    """
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    nested = error_object(_parsed(raw)) if isinstance(raw, str) else None
    for each in (error, nested or {}):
        named = each.get("param")
        found = _PARAMETER.match(named) if isinstance(named, str) else None
        if found is not None and found[1] in _PARAMETERS:
            return found[0]
    return ""


def _kind_of_status(status: int) -> FailureKind:
    if status in (401, 402, 403):
        return _OPERATOR
    if status in (408, 504, 524):
        return FailureKind.TIMEOUT
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status >= 500 or status in (409, 425):
        return _UNAVAILABLE
    return _REFUSED if status >= 400 else FailureKind.PROTOCOL


def _retry_after_s(value: bytes, now: float) -> int:
    """Whole seconds from a Retry-After of seconds or of a date; 0 when there is none that makes sense."""
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, now)
    if not seconds > 0:
        return 0
    return math.ceil(min(seconds, RETRY_AFTER_S_MAX))


def _until(date: str, now: float) -> float:
    try:
        moment: datetime = parsedate_to_datetime(date)
        return moment.timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
