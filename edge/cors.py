"""CORS: only for the origins that the operator has named."""

from edge.responses import Fields

_ALLOWED_METHODS = b"GET, POST, OPTIONS"
_EXPOSED = (
    b"x-request-id, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, retry-after, x-onysoft-max-tokens"
)
_PREFLIGHT_MAX_AGE_S = b"600"


class Cors:
    """`origins` as in the settings: comma separated, `*` for any, empty for none."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(origin.strip().encode() for origin in origins.split(",") if origin.strip())

    def fields(self, headers: dict[bytes, bytes]) -> Fields:
        """What a browser must see on a response; nothing for other clients and other origins."""
        if not self._origins:
            return []
        origin = headers.get(b"origin", b"")
        if not origin or not (origin in self._origins or b"*" in self._origins):
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

    def preflight_fields(self, headers: dict[bytes, bytes]) -> Fields:
        """The answer to a browser's question before the call; empty when it is none or not allowed."""
        fields = self.fields(headers)
        if not fields or b"access-control-request-method" not in headers:
            return []
        requested = headers.get(b"access-control-request-headers", b"authorization, content-type")
        return [
            *fields,
            (b"access-control-allow-methods", _ALLOWED_METHODS),
            (b"access-control-allow-headers", requested),
            (b"access-control-max-age", _PREFLIGHT_MAX_AGE_S),
        ]
