"""Requests: those whose attempt is open or expired, and those that ended a short while ago."""

import hashlib
import struct
from collections import deque
from collections.abc import Iterator

SETTLED_ATTEMPT = 255
"""Stands for "no attempt may open this request again"."""

_REQUEST = struct.Struct(">12sB12sqQBQ")
_REQUEST_2 = struct.Struct(">12sqQB")


class Request:
    """A request whose current attempt is open, or has expired and may still be settled late.

    Holds are in nano-units: `hold_nano` of the account, `parent_hold_nano` of its parent in the parent's currency.
    What rules version 1 opened has no key, model, parent's hold or tokens.
    """

    __slots__ = (
        "account_id",
        "attempt",
        "deadline_ms",
        "expired",
        "expired_ms",
        "hold_nano",
        "hold_tokens",
        "key_id",
        "model",
        "parent_hold_nano",
        "request_id",
        "task",
    )

    def __init__(self, request_id: bytes, attempt: int, account_id: bytes, hold_nano: int, deadline_ms: int) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self.account_id = account_id
        self.hold_nano = hold_nano
        self.deadline_ms = deadline_ms
        self.expired = False
        self.expired_ms = 0
        self.key_id = b""
        self.model = ""
        self.parent_hold_nano = 0
        self.hold_tokens = 0
        self.task = False

    def digest(self, rules_version: int) -> int:
        """This request's part of the state digest."""
        packed = _REQUEST.pack(
            self.request_id,
            self.attempt,
            self.account_id,
            self.hold_nano,
            self.deadline_ms,
            self.expired,
            self.expired_ms,
        )
        if rules_version > 1:
            packed += _REQUEST_2.pack(self.key_id, self.parent_hold_nano, self.hold_tokens, self.task)
            packed += self.model.encode()
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")


class Ended:
    """Requests that ended a short while ago, so that a late attempt cannot open them again.

    Kept by the minute of the log's time in which they ended, and dropped with it: a fast minute holds 200,000 of them,
    which must not be touched one by one. In the digest the sum of id × entry stands for them: it does not depend on
    their order, and a swap of two entries changes it.
    """

    __slots__ = ("_buckets", "_newest", "weight")

    def __init__(self) -> None:
        self._buckets: deque[_EndedMinute] = deque()  # oldest first
        self._newest = _EndedMinute(-1)
        self.weight = 0

    def last_attempt(self, request_id: bytes) -> int:
        """The last attempt that may not be opened again; 0 when nothing is remembered."""
        for bucket in self._buckets:
            attempt = bucket.attempts.get(request_id)
            if attempt is not None:
                return attempt
        return 0

    def add(self, request_id: bytes, attempt: int, minute: int) -> None:
        """Attempts up to `attempt` may not open this request again."""
        for bucket in self._buckets:
            before = bucket.attempts.get(request_id)
            if before is not None:
                self._count(bucket, -_ended_weight(request_id, bucket.minute, before))
                if bucket.minute != minute:
                    del bucket.attempts[request_id]
        if not self._buckets or self._newest.minute != minute:
            self._newest = _EndedMinute(minute)
            self._buckets.append(self._newest)
        self._newest.attempts[request_id] = attempt
        self._count(self._newest, _ended_weight(request_id, minute, attempt))

    def _count(self, bucket: "_EndedMinute", weight: int) -> None:
        bucket.weight += weight
        self.weight += weight

    def forget_before(self, minute: int) -> None:
        """Drop what ended in an earlier minute."""
        while self._buckets and self._buckets[0].minute < minute:
            self.weight -= self._buckets.popleft().weight

    def buckets(self) -> Iterator[tuple[int, list[bytes]]]:
        """Minute and the ids that ended in it, oldest first."""
        for bucket in self._buckets:
            yield bucket.minute, list(bucket.attempts)

    def __len__(self) -> int:
        return sum(len(bucket.attempts) for bucket in self._buckets)


class _EndedMinute:
    """Request id → last attempt, of the requests that ended in one minute."""

    __slots__ = ("attempts", "minute", "weight")

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self.attempts: dict[bytes, int] = {}
        self.weight = 0


def _ended_weight(request_id: bytes, minute: int, attempt: int) -> int:
    return (int.from_bytes(request_id, "big") + 1) * (minute << 8 | attempt)
