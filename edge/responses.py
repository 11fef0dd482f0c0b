"""Response headers: what every response carries."""

import time

from proto.onysoft.v1 import work_pb2

Fields = list[tuple[bytes, bytes]]
Limit = tuple[int, int, int]  # limit, remaining, reset in unix seconds

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"

DEFAULT_LIMIT = 60
UNLIMITED = 2_147_483_647


def limit_of(message: work_pb2.Head | work_pb2.Failure | work_pb2.Answer) -> Limit | None:
    """The rate limit that a core has named, if it has."""
    if not message.HasField("rate_limit"):
        return None
    value = message.rate_limit
    return value.limit, value.remaining, value.reset_s


def common_fields(request_id: bytes, limit: Limit | None) -> Fields:
    """`x-request-id` and `X-RateLimit-*`. Where no core has spoken it is the default limit, untouched."""
    if limit is None:
        allowed = remaining = DEFAULT_LIMIT
        reset_s = (int(time.time()) // 60 + 1) * 60
    else:
        allowed, remaining, reset_s = limit
        if allowed == 0:
            allowed = remaining = UNLIMITED
    return [
        (b"x-request-id", request_id),
        (b"x-ratelimit-limit", b"%d" % allowed),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset_s),
    ]


def refusal_fields(status: int, retry_after_s: int, do_not_retry: bool) -> Fields:
    """How a client may go on: a 429 that waiting does not cure says so, a 503 always names a time."""
    if status == 503:
        retry_after_s = retry_after_s or 1
    fields: Fields = []
    if retry_after_s and not do_not_retry:
        fields.append((b"retry-after", b"%d" % retry_after_s))
    elif do_not_retry or status == 429:
        fields.append((b"x-should-retry", b"false"))
    return fields
