"""Error bodies of the two faces."""

from typing import Any

import orjson

BAD_GATEWAY_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    502: "provider_unavailable",
    503: "provider_unavailable",
    529: "provider_overloaded",
}
_MESSAGES = {
    401: "User not found.",
    402: "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
    403: "Key limit exceeded.",
    408: "Request timed out.",
    429: "Provider returned error: rate limited upstream. Please retry shortly.",
    502: "Provider returned error",
    503: "No instances available.",
    529: "Provider returned error: overloaded.",
}
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def injected_message(status: int) -> str:
    """What the provider says when the operator asked for this status."""
    return _MESSAGES.get(status, "Provider returned error")


def openrouter_error(status: int, message: str, provider: str = "") -> bytes:
    """`{"error": {"code", "message", "metadata"}}`; a provider's name marks an error that is the provider's."""
    metadata: dict[str, Any] = {"error_type": _TYPES.get(status, "server")}
    if provider:
        metadata |= {"provider_name": provider, "raw": message}
    return orjson.dumps(
        {"error": {"message": message, "code": status, "metadata": metadata}, "user_id": "user_sandbox"}
    )


def openai_error(status: int, message: str, param: str | None = None, code: str | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    kind = _OPENAI_TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def limit_headers(status: int, retry_after_s: int) -> bytes:
    """Header lines that go with a refusal that may be tried again."""
    if status not in (429, 503):
        return b""
    lines = b"retry-after: %d\r\n" % retry_after_s
    return lines + b"x-ratelimit-limit: 20\r\nx-ratelimit-remaining: 0\r\n" if status == 429 else lines
