"""One API call from the edge's point of view: what it asks, what has been answered, what is reported about it."""

import time
from typing import Any

from edge.errors import body_of, language_of
from edge.responses import EVENT_STREAM, JSON, Fields, Limit, common_fields, refusal_fields
from proto.onysoft.v1 import usage_pb2
from runtime import ids
from runtime.errors import Refusal

_monotonic = time.monotonic


class Call:
    """`request_id` names it everywhere. The response goes through `respond`, or `begin` and `send_piece`."""

    __slots__ = (
        "_send",
        "account_id",
        "attempts",
        "began_at",
        "code",
        "cors_fields",
        "disconnected",
        "first_byte_at",
        "headers",
        "key_id",
        "model",
        "provider",
        "received_ms",
        "request_bytes",
        "request_id",
        "response_bytes",
        "route",
        "scope",
        "status",
        "streamed",
    )

    def __init__(self, scope: Any, send: Any) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = scope["fields"]
        self.request_id = ids.mint()
        self.received_ms = time.time_ns() // 1_000_000
        self.began_at = _monotonic()
        self.route = ""
        self.account_id = b""
        self.key_id = b""
        self.model = ""
        self.provider = ""
        self.request_bytes = 0
        self.response_bytes = 0
        self.status = 0
        self.code = ""
        self.first_byte_at = 0.0
        self.streamed = False
        self.disconnected = False
        self.attempts = 0
        self.cors_fields: Fields = []
        self._send = send

    @property
    def begun(self) -> bool:
        """Whether the client has been sent anything."""
        return self.status != 0

    @property
    def language(self) -> str:
        """Of error messages."""
        return language_of(self.headers.get(b"accept-language", b""))

    def fields(self, limit: Limit | None) -> Fields:
        """The headers that every response carries."""
        return common_fields(ids.text(ids.REQUEST, self.request_id).encode(), limit) + self.cors_fields

    async def respond(self, status: int, body: bytes, fields: Fields) -> None:
        """The whole response; `fields` without content-type and content-length."""
        self._mark(status)
        self.response_bytes = len(body)
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *fields]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def begin_file(self, status: int, fields: Fields) -> None:
        """The head of a file, or of a part of it; `fields` with content-type and content-length."""
        self._mark(status)
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def begin(self, streamed: bool, fields: Fields) -> None:
        """The head of a response whose length is not known yet; it leaves with the first piece."""
        self._mark(200)
        self.streamed = streamed
        if streamed:
            headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-cache"), *fields]
        else:
            headers = [(b"content-type", JSON), *fields]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_piece(self, data: bytes, more: bool = True) -> None:
        """A piece of the body; returns when the socket can take more, or the client has left."""
        self.response_bytes += len(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def refuse(self, refusal: Refusal, limit: Limit | None = None) -> None:
        """The response to a refused call. Nothing may have been sent before."""
        status = refusal.error.status
        self.code = refusal.error.code
        body = body_of(self.code, refusal.detail, self.language)
        more = refusal_fields(status, refusal.retry_after_s, refusal.do_not_retry)
        await self.respond(status, body, self.fields(limit) + more)

    def _mark(self, status: int) -> None:
        self.status = status
        self.first_byte_at = _monotonic()

    def usage(self) -> usage_pb2.UsageEvent:
        """What is reported about the call once it has ended."""
        now = _monotonic()
        first_byte_at = self.first_byte_at or now
        return usage_pb2.UsageEvent(
            request_id=self.request_id,
            received_ms=self.received_ms,
            account_id=self.account_id,
            key_id=self.key_id,
            model=self.model,
            provider=self.provider,
            route=self.route,
            status=self.status,
            code=self.code,
            first_byte_us=_microseconds(first_byte_at - self.began_at),
            duration_us=_microseconds(now - self.began_at),
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            streamed=self.streamed,
            disconnected=self.disconnected,
            attempts=self.attempts,
        )


def _microseconds(seconds: float) -> int:
    return min(int(seconds * 1_000_000), 0xFFFF_FFFF)
