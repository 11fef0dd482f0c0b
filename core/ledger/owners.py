"""What accounts and keys have alike under rules version 2: limits, blocks, and what was used of each model.

Use is counted by model and window, whether or not a limit looks at it. So a limit that is set, changed or removed finds
what has been used, and never resets it. Gauges are sums of that use: one for each limit, kept so that a verdict adds up
nothing. They are derived, and in no digest.
"""

import hashlib
import struct
from enum import IntEnum, unique

from core.ledger.patterns import EVERY, most_specific
from core.ledger.windows import Windows

MODULUS = 2**256
ZERO_HASH = bytes(32)
LIMITS_MAX = 200
"""Limits of one account or key, and as many blocks."""

_USE = struct.Struct(">QIQIQQQ")


@unique
class LimitKind(IntEnum):
    """What a limit bounds. The numbers are those of LimitSet's fields, in the order in which they are looked at."""

    REQUESTS_PER_MINUTE = 3
    REQUESTS_PER_DAY = 4
    DAILY_REQUESTS = 5
    DAILY_TOKENS = 6
    MONTHLY_TOKENS = 7


KINDS = {kind.name.lower(): kind for kind in LimitKind}
"""Field of LimitSet → kind."""

_OF_REQUESTS = frozenset({LimitKind.REQUESTS_PER_MINUTE, LimitKind.REQUESTS_PER_DAY, LimitKind.DAILY_REQUESTS})
_WHOLE = frozenset({LimitKind.REQUESTS_PER_MINUTE, LimitKind.REQUESTS_PER_DAY})
"""Under `*` these bound every call of the owner, beside a more specific limit of the same kind."""


def is_whole(kind: LimitKind, pattern: str) -> bool:
    """Is this a limit on all of the owner's calls together?"""
    return kind in _WHOLE and pattern == EVERY


class Use:
    """What one owner has used of one model, in the windows that are named by their numbers."""

    __slots__ = (
        "day",
        "day_requests",
        "day_tokens",
        "held_tokens",
        "leaf",
        "minute",
        "minute_requests",
        "month",
        "month_tokens",
    )

    def __init__(self) -> None:
        self.minute = 0
        self.minute_requests = 0
        self.day = 0
        self.day_requests = 0
        self.day_tokens = 0
        self.month = 0
        self.month_tokens = 0
        self.held_tokens = 0  # of open requests: derived
        self.leaf = 0

    def enter(self, windows: Windows) -> None:
        """Counters of windows that are over begin anew."""
        minute, day, month = windows
        if self.minute != minute:
            self.minute, self.minute_requests = minute, 0
            if self.day != day:
                self.day, self.day_requests, self.day_tokens = day, 0, 0
                if self.month != month:
                    self.month, self.month_tokens = month, 0

    def used(self, kind: LimitKind, windows: Windows) -> int:
        """What counts against a limit of this kind now."""
        if kind is LimitKind.REQUESTS_PER_MINUTE:
            return self.minute_requests if self.minute == windows.minute else 0
        if kind is LimitKind.MONTHLY_TOKENS:
            return self.month_tokens if self.month == windows.month else 0
        if self.day != windows.day:
            return 0
        return self.day_tokens if kind is LimitKind.DAILY_TOKENS else self.day_requests

    def digest(self, model: str) -> int:
        """This use's part of its owner's digest."""
        packed = _USE.pack(
            self.minute,
            self.minute_requests,
            self.day,
            self.day_requests,
            self.day_tokens,
            self.month,
            self.month_tokens,
        )
        return int.from_bytes(hashlib.sha256(packed + model.encode()).digest(), "big")


class Gauge:
    """One limit and how far it is used. `window` is the number of the window that `used` belongs to."""

    __slots__ = ("held", "kind", "most", "pattern", "used", "window")

    def __init__(self, kind: LimitKind, pattern: str, most: int) -> None:
        self.kind = kind
        self.pattern = pattern
        self.most = most
        self.window = 0
        self.used = 0
        self.held = 0

    def window_of(self, windows: Windows) -> int:
        """The number of the window that this limit counts in now."""
        if self.kind is LimitKind.REQUESTS_PER_MINUTE:
            return windows.minute
        return windows.month if self.kind is LimitKind.MONTHLY_TOKENS else windows.day

    def count(self, amount: int, windows: Windows) -> None:
        """Add to what is used."""
        window = self.window_of(windows)
        if self.window != window:
            self.window, self.used = window, 0
        self.used += amount

    def used_now(self, windows: Windows) -> int:
        """What is used of the window that is on."""
        return self.used if self.window == self.window_of(windows) else 0


class Owner:
    """The part of an account or key that limits, blocks and use are kept in."""

    __slots__ = (
        "_gauges",
        "_governing",
        "_policy_hash",
        "_uses_sum",
        "blocks",
        "day",
        "day_requests",
        "dirty_uses",
        "limits",
        "minute",
        "minute_requests",
        "requests_per_day",
        "requests_per_minute",
        "uses",
    )

    def __init__(self) -> None:
        self.requests_per_minute = 0  # of all models together; 0: no limit
        self.requests_per_day = 0
        self.minute = 0
        self.minute_requests = 0
        self.day = 0
        self.day_requests = 0
        self.limits: dict[tuple[LimitKind, str], int] = {}
        self.blocks: set[str] = set()
        self.uses: dict[str, Use] = {}
        self.dirty_uses: set[str] = set()
        self._uses_sum = 0
        self._policy_hash = ZERO_HASH
        self._gauges: dict[tuple[LimitKind, str], Gauge] = {}
        self._governing: dict[str, tuple[Gauge, ...]] = {}

    def set_limit(self, kind: LimitKind, pattern: str, most: int) -> None:
        """Set a limit, or remove it with 0. `regauge` must follow."""
        if is_whole(kind, pattern):
            if kind is LimitKind.REQUESTS_PER_MINUTE:
                self.requests_per_minute = most
            else:
                self.requests_per_day = most
        elif most:
            self.limits[kind, pattern] = most
        else:
            self.limits.pop((kind, pattern), None)

    def regauge(self, windows: Windows) -> None:
        """Sum up anew what each limit has used, after limits have changed or a snapshot was restored."""
        self._policy_hash = self._hash_policy()
        self._governing.clear()
        self._gauges = {key: Gauge(*key, most) for key, most in self.limits.items()}
        if not self._gauges:
            return
        for model, use in self.uses.items():
            for gauge in self.gauges_of(model):
                gauge.count(use.used(gauge.kind, windows), windows)
                gauge.held += use.held_tokens

    def gauges_of(self, model: str) -> tuple[Gauge, ...]:
        """The limits that govern a model, in the order in which they are looked at."""
        if not self._gauges:
            return ()
        found = self._governing.get(model)
        if found is None:
            found = self._governing[model] = self._find_gauges(model)
        return found

    def _find_gauges(self, model: str) -> tuple[Gauge, ...]:
        found = []
        for kind in LimitKind:
            pattern = most_specific((pattern for each, pattern in self._gauges if each is kind), model)
            if pattern is not None:
                found.append(self._gauges[kind, pattern])
        return tuple(found)

    def gauges(self) -> tuple[Gauge, ...]:
        """All limits with a pattern, and how far each is used."""
        return tuple(self._gauges.values())

    def enter(self, model: str, windows: Windows) -> Use:
        """This owner's use of a model, brought into the windows that are on."""
        use = self.uses.get(model)
        if use is None:
            use = self.uses[model] = Use()
        use.enter(windows)
        self.dirty_uses.add(model)
        return use

    def count_request(self, model: str, windows: Windows) -> None:
        """One more call of a model was admitted."""
        if self.minute != windows.minute:
            self.minute, self.minute_requests = windows.minute, 0
            if self.day != windows.day:
                self.day, self.day_requests = windows.day, 0
        self.minute_requests += 1
        self.day_requests += 1
        use = self.enter(model, windows)
        use.minute_requests += 1
        use.day_requests += 1
        if self._gauges:
            for gauge in self.gauges_of(model):
                if gauge.kind in _OF_REQUESTS:
                    gauge.count(1, windows)

    def hold_tokens(self, model: str, tokens: int) -> None:
        """Hold tokens against this owner's token limits; a negative number gives them back."""
        use = self.uses.get(model)
        if use is None:
            use = self.uses[model] = Use()
            self.dirty_uses.add(model)
        use.held_tokens += tokens
        if self._gauges:
            for gauge in self.gauges_of(model):
                gauge.held += tokens

    def count_tokens(self, model: str, tokens: int, windows: Windows) -> None:
        """A call of the model used so many tokens."""
        use = self.enter(model, windows)
        use.day_tokens += tokens
        use.month_tokens += tokens
        if self._gauges:
            for gauge in self.gauges_of(model):
                if gauge.kind not in _OF_REQUESTS:
                    gauge.count(tokens, windows)

    def forget_uses_before(self, month: int) -> bool:
        """Drop what no window can need any more; was there anything?"""
        self._governing.clear()  # it has models of refused calls too, which have no use
        over = [model for model, use in self.uses.items() if use.month < month and not use.held_tokens]
        for model in over:
            use = self.uses.pop(model)
            self._uses_sum = (self._uses_sum - use.leaf) % MODULUS
            self.dirty_uses.discard(model)
        return bool(over)

    def change_blocks(self, pattern: str, blocked: bool) -> None:
        """Block a pattern of models, or unblock it."""
        if blocked:
            self.blocks.add(pattern)
        else:
            self.blocks.discard(pattern)
        self._policy_hash = self._hash_policy()

    def _hash_policy(self) -> bytes:
        if not self.limits and not self.blocks:
            return ZERO_HASH
        total = hashlib.sha256()
        for (kind, pattern), most in sorted(self.limits.items()):
            total.update(struct.pack(">BQH", kind, most, len(pattern)) + pattern.encode())
        for pattern in sorted(self.blocks):
            total.update(b"block" + struct.pack(">H", len(pattern)) + pattern.encode())
        return total.digest()

    def owner_digest(self) -> bytes:
        """Limits, blocks and use, for the digest of the account or key. Costs one hash for each use that changed."""
        for model in self.dirty_uses:
            use = self.uses[model]
            leaf = use.digest(model)
            self._uses_sum = (self._uses_sum + leaf - use.leaf) % MODULUS
            use.leaf = leaf
        self.dirty_uses.clear()
        return self._policy_hash + self._uses_sum.to_bytes(32, "big")
