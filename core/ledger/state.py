"""The fold's state at one position of the log, its digest, and its snapshot.

Only `fold` and `rules` change a State. Two States at one position are equal exactly when their digests are.
"""

import hashlib
import heapq
import struct
from collections import deque
from collections.abc import Iterator

from proto.onysoft.v1 import ledger_pb2, snapshot_pb2

ZERO_HASH = bytes(32)

SETTLED_ATTEMPT = 255
"""Stands for "no attempt may open this request again"."""

FINGERPRINT_EVERY = 256
"""Positions between two fingerprints: what a checkpoint can name."""

FINGERPRINTS_KEPT = 64

STALE_DEADLINES_MAX = 4096
"""Deadlines of ended requests that may wait in the heap, beyond one for each request."""

_MODULUS = 2**256
_ACCOUNT = struct.Struct(">12sBBIIIBqqqQIQIQ32s")
_REQUEST = struct.Struct(">12sB12sqQBQ")
_WRITER = struct.Struct(">8sIQQ")


class Account:
    """Who pays. Amounts in nano-units of `currency`; `credits - charges - held >= 0` at every position."""

    __slots__ = (
        "account_id",
        "charges_nano",
        "credits_nano",
        "currency",
        "day",
        "day_requests",
        "held_nano",
        "kind",
        "leaf",
        "markup_bps",
        "minute",
        "minute_requests",
        "open_holds",
        "references",
        "references_hash",
        "requests_per_day",
        "requests_per_minute",
        "requests_settled",
        "shortfall_nano",
        "suspended",
    )

    def __init__(self, account_id: bytes, kind: int, currency: int, markup_bps: int) -> None:
        self.account_id = account_id
        self.kind = kind
        self.currency = currency
        self.markup_bps = markup_bps
        self.requests_per_minute = 0
        self.requests_per_day = 0
        self.suspended = False
        self.credits_nano = 0
        self.charges_nano = 0
        self.held_nano = 0
        self.shortfall_nano = 0
        self.open_holds = 0
        self.minute = 0
        self.minute_requests = 0
        self.day = 0
        self.day_requests = 0
        self.requests_settled = 0
        self.references: dict[str, None] = {}
        self.references_hash = ZERO_HASH
        self.leaf = 0

    @property
    def balance_nano(self) -> int:
        """Credits less charges; what running calls hold is still in it."""
        return self.credits_nano - self.charges_nano

    @property
    def available_nano(self) -> int:
        """What a new hold may take."""
        return self.credits_nano - self.charges_nano - self.held_nano

    def add_reference(self, reference: str) -> None:
        """Remember that this credit reference has counted."""
        self.references[reference] = None
        self.references_hash = hashlib.sha256(self.references_hash + reference.encode()).digest()

    def digest(self) -> int:
        """This account's part of the state digest."""
        packed = _ACCOUNT.pack(
            self.account_id,
            self.kind,
            self.currency,
            self.markup_bps,
            self.requests_per_minute,
            self.requests_per_day,
            self.suspended,
            self.credits_nano,
            self.charges_nano,
            self.shortfall_nano,
            self.minute,
            self.minute_requests,
            self.day,
            self.day_requests,
            self.requests_settled,
            self.references_hash,
        )
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")


class Key:
    """An API key; only its hash is known."""

    __slots__ = ("account_id", "key_hash", "key_id", "leaf", "revoked")

    def __init__(self, key_id: bytes, account_id: bytes, key_hash: bytes) -> None:
        self.key_id = key_id
        self.account_id = account_id
        self.key_hash = key_hash
        self.revoked = False
        self.leaf = 0

    def digest(self) -> int:
        """This key's part of the state digest."""
        packed = b"key" + self.key_id + self.account_id + self.key_hash + bytes((self.revoked,))
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")


class Request:
    """A request whose current attempt is open, or has expired and may still be settled late."""

    __slots__ = ("account_id", "attempt", "deadline_ms", "expired", "expired_ms", "hold_nano", "request_id")

    def __init__(self, request_id: bytes, attempt: int, account_id: bytes, hold_nano: int, deadline_ms: int) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self.account_id = account_id
        self.hold_nano = hold_nano
        self.deadline_ms = deadline_ms
        self.expired = False
        self.expired_ms = 0

    def digest(self) -> int:
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


class Writer:
    """The last batch number applied for one writer and partition."""

    __slots__ = ("number", "seen_ms")

    def __init__(self, number: int, seen_ms: int) -> None:
        self.number = number
        self.seen_ms = seen_ms


class State:
    """Everything a verdict depends on, after `position`."""

    def __init__(self) -> None:
        self.position = 0
        self.chain_hash = ZERO_HASH
        self.time_ms = 0
        self.rules_version = 1
        self.accounts: dict[bytes, Account] = {}
        self.keys: dict[bytes, Key] = {}
        self.keys_by_hash: dict[bytes, Key] = {}
        self.requests: dict[bytes, Request] = {}
        self.deadlines: list[tuple[int, bytes]] = []
        self.expired: deque[tuple[int, bytes]] = deque()
        self.ended = Ended()
        self.writers: dict[tuple[bytes, int], Writer] = {}
        self.fx_rates: dict[tuple[int, int], int] = {}
        self.fingerprints: dict[int, tuple[bytes, bytes]] = {}
        self.dirty_accounts: set[bytes] = set()
        self.dirty_keys: set[bytes] = set()
        self._changed_accounts: set[bytes] = set()
        self._sum = 0

    def watch_deadline(self, deadline_ms: int, request_id: bytes) -> None:
        """Have the fold look at this request when the log's time reaches `deadline_ms`.

        Entries of requests that have ended stay until then, so they are dropped before they outnumber the others.
        """
        heapq.heappush(self.deadlines, (deadline_ms, request_id))
        if len(self.deadlines) > STALE_DEADLINES_MAX + 2 * len(self.requests):
            self.deadlines = [
                (request.deadline_ms, request.request_id) for request in self.requests.values() if not request.expired
            ]
            heapq.heapify(self.deadlines)

    def next_deadline_ms(self) -> int | None:
        """The log time at which the next hold ends unless it is settled or extended; None when none is open."""
        while self.deadlines:
            deadline_ms, request_id = self.deadlines[0]
            request = self.requests.get(request_id)
            if request is not None and request.deadline_ms == deadline_ms:
                return deadline_ms
            heapq.heappop(self.deadlines)  # ended, superseded or extended since: no longer a deadline
        return None

    def take_changed_accounts(self) -> set[bytes]:
        """Accounts that have changed since this was last called, however many digests were taken in between."""
        self._renew_account_leaves()
        changed, self._changed_accounts = self._changed_accounts, set()
        return changed

    def _renew_account_leaves(self) -> None:
        for account_id in self.dirty_accounts:
            account = self.accounts[account_id]
            leaf = account.digest()
            self._sum = (self._sum + leaf - account.leaf) % _MODULUS
            account.leaf = leaf
        self._changed_accounts |= self.dirty_accounts
        self.dirty_accounts.clear()

    def digest(self) -> bytes:
        """32 bytes that any difference in state changes. Costs one hash for each account touched since the last."""
        self._renew_account_leaves()
        for key_id in self.dirty_keys:
            key = self.keys[key_id]
            leaf = key.digest()
            self._sum = (self._sum + leaf - key.leaf) % _MODULUS
            key.leaf = leaf
        self.dirty_keys.clear()
        total = hashlib.sha256(struct.pack(">QQI", self.position, self.time_ms, self.rules_version))
        total.update(self._sum.to_bytes(32, "big"))
        total.update((sum(request.digest() for request in self.requests.values()) % _MODULUS).to_bytes(32, "big"))
        total.update(struct.pack(">Q", len(self.ended)) + self.ended.weight.to_bytes(32, "big"))
        for (writer_id, partition), writer in sorted(self.writers.items()):
            total.update(_WRITER.pack(writer_id, partition, writer.number, writer.seen_ms))
        for (base, quote), rate_nano in sorted(self.fx_rates.items()):
            total.update(struct.pack(">BBq", base, quote, rate_nano))
        return total.digest()

    def remember_fingerprint(self) -> None:
        """Keep what this fold is now, for a checkpoint that comes later; the oldest goes."""
        self.fingerprints[self.position] = (self.chain_hash, self.digest())
        if len(self.fingerprints) > FINGERPRINTS_KEPT:
            del self.fingerprints[min(self.fingerprints)]

    def to_snapshot(self) -> snapshot_pb2.Snapshot:
        """The whole state as a message."""
        snapshot = snapshot_pb2.Snapshot(
            position=self.position,
            chain_hash=self.chain_hash,
            state_digest=self.digest(),
            time_ms=self.time_ms,
            rules_version=self.rules_version,
        )
        for account in self.accounts.values():
            snapshot.accounts.append(_account_to_message(account))
        for key in self.keys.values():
            snapshot.keys.add(key_id=key.key_id, account_id=key.account_id, key_hash=key.key_hash, revoked=key.revoked)
        for request in self.requests.values():
            snapshot.requests.add(**{name: getattr(request, name) for name in Request.__slots__})
        for minute, request_ids in self.ended.buckets():
            attempts = bytes(self.ended.last_attempt(request_id) for request_id in request_ids)
            snapshot.ended.add(minute=minute, request_ids=b"".join(request_ids), attempts=attempts)
        for (writer_id, partition), writer in self.writers.items():
            snapshot.writers.add(writer=writer_id, partition=partition, number=writer.number, seen_ms=writer.seen_ms)
        for (base, quote), rate_nano in self.fx_rates.items():
            currencies = {"base": ledger_pb2.Currency.ValueType(base), "quote": ledger_pb2.Currency.ValueType(quote)}
            snapshot.fx_rates.add(rate_nano=rate_nano, **currencies)
        for position, (chain_hash, digest) in self.fingerprints.items():
            snapshot.fingerprints.add(position=position, chain_hash=chain_hash, state_digest=digest)
        return snapshot

    @classmethod
    def from_snapshot(cls, snapshot: snapshot_pb2.Snapshot) -> "State":
        """The state that the snapshot holds.

        Raises ValueError when it contradicts itself or its digest is not the one it states.
        """
        try:
            state = cls._restored(snapshot)
            digest = state.digest()
        except (KeyError, struct.error):
            raise ValueError(f"the snapshot at position {snapshot.position} contradicts itself") from None
        if digest != snapshot.state_digest:
            raise ValueError(f"the snapshot at position {snapshot.position} does not have the digest it states")
        return state

    @classmethod
    def _restored(cls, snapshot: snapshot_pb2.Snapshot) -> "State":
        state = cls()
        state.position = snapshot.position
        state.chain_hash = snapshot.chain_hash
        state.time_ms = snapshot.time_ms
        state.rules_version = snapshot.rules_version
        for account_message in snapshot.accounts:
            account = _account_from_message(account_message)
            state.accounts[account.account_id] = account
        for key_message in snapshot.keys:
            key = Key(key_message.key_id, key_message.account_id, key_message.key_hash)
            key.revoked = key_message.revoked
            state.keys[key.key_id] = state.keys_by_hash[key.key_hash] = key
        state._restore_requests(snapshot)
        for bucket in snapshot.ended:
            minute, request_ids = bucket.minute, bucket.request_ids  # each access copies all of them
            for index, attempt in enumerate(bucket.attempts):
                state.ended.add(request_ids[12 * index : 12 * index + 12], attempt, minute)
        for writer in snapshot.writers:
            state.writers[writer.writer, writer.partition] = Writer(writer.number, writer.seen_ms)
        for rate in snapshot.fx_rates:
            state.fx_rates[rate.base, rate.quote] = rate.rate_nano
        for fingerprint in snapshot.fingerprints:
            state.fingerprints[fingerprint.position] = (fingerprint.chain_hash, fingerprint.state_digest)
        state.dirty_accounts.update(state.accounts)
        state.dirty_keys.update(state.keys)
        return state

    def _restore_requests(self, snapshot: snapshot_pb2.Snapshot) -> None:
        for message in snapshot.requests:
            request = Request(
                message.request_id, message.attempt, message.account_id, message.hold_nano, message.deadline_ms
            )
            request.expired = message.expired
            request.expired_ms = message.expired_ms
            self.requests[request.request_id] = request
            if request.expired:
                self.expired.append((request.expired_ms, request.request_id))
            else:
                self.deadlines.append((request.deadline_ms, request.request_id))
                account = self.accounts[request.account_id]
                account.held_nano += request.hold_nano
                account.open_holds += 1
        heapq.heapify(self.deadlines)
        self.expired = deque(sorted(self.expired))


_ACCOUNT_FIELDS = (
    "account_id",
    "kind",
    "currency",
    "markup_bps",
    "requests_per_minute",
    "requests_per_day",
    "suspended",
    "credits_nano",
    "charges_nano",
    "shortfall_nano",
    "minute",
    "minute_requests",
    "day",
    "day_requests",
    "requests_settled",
)


def _account_to_message(account: Account) -> snapshot_pb2.AccountState:
    message = snapshot_pb2.AccountState(**{name: getattr(account, name) for name in _ACCOUNT_FIELDS})
    message.references.extend(account.references)
    return message


def _account_from_message(message: snapshot_pb2.AccountState) -> Account:
    account = Account(message.account_id, message.kind, message.currency, message.markup_bps)
    for name in _ACCOUNT_FIELDS[4:]:
        setattr(account, name, getattr(message, name))
    for reference in message.references:
        account.add_reference(reference)
    return account
