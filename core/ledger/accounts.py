"""Who pays, and with which key."""

import hashlib
import struct

from core.ledger.owners import ZERO_HASH, Owner
from core.ledger.patterns import EVERY, most_specific
from proto.onysoft.v1 import ledger_pb2 as pb

FREE_CALLS = 5
"""Calls of free models that an account may make in a rolling day."""

_ACCOUNT = struct.Struct(">12sBBIIIBqqqQIQIQ32s")
_ACCOUNT_2 = struct.Struct(">12sq32s")
_KEY_2 = struct.Struct(">BQI32sQQIIQIQI")


class Account(Owner):
    """Who pays. Amounts in nano-units of `currency`; `credits - charges - held >= 0` at every position."""

    __slots__ = (
        "_markups_hash",
        "account_id",
        "charges_nano",
        "credits_nano",
        "currency",
        "free_times_ms",
        "held_nano",
        "kind",
        "leaf",
        "lineage",
        "markup_bps",
        "markups",
        "open_holds",
        "parent_id",
        "receivable_nano",
        "references",
        "references_hash",
        "requests_settled",
        "shortfall_nano",
        "suspended",
    )

    def __init__(self, account_id: bytes, kind: int, currency: int, markup_bps: int) -> None:
        super().__init__()
        self.account_id = account_id
        self.kind = kind
        self.currency = currency
        self.markup_bps = markup_bps
        self.suspended = False
        self.credits_nano = 0
        self.charges_nano = 0
        self.held_nano = 0
        self.shortfall_nano = 0
        self.receivable_nano = 0
        self.open_holds = 0
        self.requests_settled = 0
        self.references: dict[str, None] = {}
        self.references_hash = ZERO_HASH
        self.parent_id = b""
        self.lineage: tuple[Account, ...] = (self,)
        self.markups: dict[str, int] = {}
        self._markups_hash = ZERO_HASH
        self.free_times_ms: list[int] = []
        self.leaf = 0

    @property
    def balance_nano(self) -> int:
        """Credits less charges; what running calls hold is still in it."""
        return self.credits_nano - self.charges_nano

    @property
    def available_nano(self) -> int:
        """What a new hold may take."""
        return self.credits_nano - self.charges_nano - self.held_nano

    @property
    def root_id(self) -> bytes:
        """The billing root, whose partition holds every event about this account."""
        return self.lineage[-1].account_id

    @property
    def payer(self) -> "Account | None":
        """The account that a call of this one charges too: a partner customer's parent."""
        return self.lineage[1] if self.kind == pb.PARTNER_CUSTOMER and len(self.lineage) > 1 else None

    def adopt(self, parent: "Account") -> None:
        """Put this account under another, for good."""
        self.parent_id = parent.account_id
        self.lineage = (self, *parent.lineage)

    def markup_for(self, model: str) -> int:
        """Basis points that this account pays for calls of a model."""
        pattern = most_specific(self.markups, model) if self.markups else None
        return self.markup_bps if pattern is None else self.markups[pattern]

    def set_markup(self, pattern: str, markup_bps: int | None) -> None:
        """Set the markup for models of a pattern; None removes it."""
        if pattern == EVERY and markup_bps is not None:
            self.markup_bps = markup_bps
        elif markup_bps is None:
            self.markups.pop(pattern, None)
        else:
            self.markups[pattern] = markup_bps
        total = hashlib.sha256()
        for each, bps in sorted(self.markups.items()):
            total.update(struct.pack(">IH", bps, len(each)) + each.encode())
        self._markups_hash = total.digest() if self.markups else ZERO_HASH

    def add_reference(self, reference: str) -> None:
        """Remember that this credit reference has counted."""
        self.references[reference] = None
        self.references_hash = hashlib.sha256(self.references_hash + reference.encode()).digest()

    def digest(self, rules_version: int) -> int:
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
        if rules_version > 1:
            packed += _ACCOUNT_2.pack(self.parent_id, self.receivable_nano, self._markups_hash)
            packed += struct.pack(f">{len(self.free_times_ms)}Q", *self.free_times_ms) + self.owner_digest()
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")


class Key(Owner):
    """An API key; only hashes of its secrets are known: the current one, and for a while the one before."""

    __slots__ = (
        "account_id",
        "allowed_ips",
        "allowed_models",
        "expires_ms",
        "key_hash",
        "key_id",
        "last_used_ms",
        "leaf",
        "old_hash",
        "old_until_ms",
        "revoked",
        "secret",
        "suspended",
    )

    def __init__(self, key_id: bytes, account_id: bytes, key_hash: bytes) -> None:
        super().__init__()
        self.account_id = account_id
        self.key_hash = key_hash
        self.key_id = key_id
        self.revoked = False
        self.suspended = False
        self.expires_ms = 0
        self.allowed_models: tuple[str, ...] = ()
        self.allowed_ips: tuple[str, ...] = ()
        self.secret = 0
        self.old_hash = b""
        self.old_until_ms = 0
        self.last_used_ms = 0
        self.leaf = 0

    def adopt_policy(self, policy: pb.KeyPolicy) -> None:
        """What the key may be used for, as a whole."""
        self.expires_ms = policy.expires_ms
        self.allowed_models = tuple(policy.allowed_models)
        self.allowed_ips = tuple(policy.allowed_ips)

    def secret_of(self, key_hash: bytes) -> tuple[int, int]:
        """Which of the key's secrets this is the hash of, and when it stops to count (unix milliseconds; 0: never)."""
        if key_hash == self.key_hash:
            return self.secret, self.expires_ms
        return self.secret - 1, min(each for each in (self.expires_ms, self.old_until_ms) if each)

    def is_secret_valid(self, secret: int, time_ms: int) -> bool:
        """Does this secret of the key still count? The last but one does until its grace is over."""
        return secret == self.secret or (secret + 1 == self.secret and time_ms < self.old_until_ms)

    def digest(self, rules_version: int) -> int:
        """This key's part of the state digest."""
        packed = b"key" + self.key_id + self.account_id + self.key_hash + bytes((self.revoked,))
        if rules_version > 1:
            packed += _KEY_2.pack(
                self.suspended,
                self.expires_ms,
                self.secret,
                self.old_hash,
                self.old_until_ms,
                self.last_used_ms,
                self.requests_per_minute,
                self.requests_per_day,
                self.minute,
                self.minute_requests,
                self.day,
                self.day_requests,
            )
            for text in (*self.allowed_models, "", *self.allowed_ips):
                packed += struct.pack(">H", len(text)) + text.encode()
            packed += self.owner_digest()
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")
