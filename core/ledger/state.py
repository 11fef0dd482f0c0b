"""The fold's state at one position of the log, its digest, and its snapshot.

Only `fold` and `rules` change a State. Two States at one position are equal exactly when their digests are.
"""

import hashlib
import heapq
import struct
from collections import deque
from typing import Any

from core.ledger import snapshot
from core.ledger.accounts import Account, Key
from core.ledger.owners import MODULUS, ZERO_HASH
from core.ledger.records import Model, Rate, Writer
from core.ledger.requests import Ended, Request
from core.ledger.windows import MINUTE_MS, windows_of
from proto.onysoft.v1 import snapshot_pb2

FINGERPRINT_EVERY = 256
"""Positions between two fingerprints: what a checkpoint can name."""

FINGERPRINTS_KEPT = 64

STALE_DEADLINES_MAX = 4096
"""Deadlines of ended requests that may wait in the heap, beyond one for each request."""

_WRITER = struct.Struct(">8sIQQ")


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
        # Rules version 2
        self.windows = windows_of(0)
        self.rates: dict[tuple[int, int], Rate] = {}
        self.models: dict[str, Model] = {}
        self.aliases: dict[str, str] = {}
        self.models_version = 0  # grows with every change of the catalogue; not part of the state proper
        self._models_sum = 0

    def enter(self, time_ms: int) -> None:
        """Set the log's time."""
        self.time_ms = time_ms
        if time_ms // MINUTE_MS != self.windows.minute:
            self.windows = windows_of(time_ms)

    def activate_rules(self, version: int) -> None:
        """From the next event on other rules hold, and with them another digest of everything."""
        self.rules_version = version
        self.dirty_accounts.update(self.accounts)
        self.dirty_keys.update(self.keys)

    def touch_model(self, model: Model) -> None:
        """A catalogue entry has changed."""
        leaf = model.digest()
        self._models_sum = (self._models_sum + leaf - model.leaf) % MODULUS
        model.leaf = leaf
        self.models_version += 1

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
            leaf = account.digest(self.rules_version)
            self._sum = (self._sum + leaf - account.leaf) % MODULUS
            account.leaf = leaf
        self._changed_accounts |= self.dirty_accounts
        self.dirty_accounts.clear()

    def digest(self) -> bytes:
        """32 bytes that any difference in state changes. Costs one hash for each account touched since the last."""
        self._renew_account_leaves()
        for key_id in self.dirty_keys:
            key = self.keys[key_id]
            leaf = key.digest(self.rules_version)
            self._sum = (self._sum + leaf - key.leaf) % MODULUS
            key.leaf = leaf
        self.dirty_keys.clear()
        total = hashlib.sha256(struct.pack(">QQI", self.position, self.time_ms, self.rules_version))
        total.update(self._sum.to_bytes(32, "big"))
        requests = sum(request.digest(self.rules_version) for request in self.requests.values())
        total.update((requests % MODULUS).to_bytes(32, "big"))
        total.update(struct.pack(">Q", len(self.ended)) + self.ended.weight.to_bytes(32, "big"))
        for (writer_id, partition), writer in sorted(self.writers.items()):
            total.update(_WRITER.pack(writer_id, partition, writer.number, writer.seen_ms))
        for (base, quote), rate_nano in sorted(self.fx_rates.items()):
            total.update(struct.pack(">BBq", base, quote, rate_nano))
        if self.rules_version > 1:
            self._digest_catalogue(total)
        return total.digest()

    def _digest_catalogue(self, total: Any) -> None:
        """Rates and models, in no digest of rules version 1."""
        for (base, quote), rate in sorted(self.rates.items()):
            total.update(struct.pack(">BB", base, quote) + rate.digest())
        total.update(struct.pack(">Q", len(self.models)) + self._models_sum.to_bytes(32, "big"))
        for alias, model_id in sorted(self.aliases.items()):
            total.update(struct.pack(">HH", len(alias), len(model_id)) + alias.encode() + model_id.encode())

    def remember_fingerprint(self) -> None:
        """Keep what this fold is now, for a checkpoint that comes later; the oldest goes."""
        self.fingerprints[self.position] = (self.chain_hash, self.digest())
        if len(self.fingerprints) > FINGERPRINTS_KEPT:
            del self.fingerprints[min(self.fingerprints)]

    def to_snapshot(self) -> snapshot_pb2.Snapshot:
        """The whole state as a message."""
        return snapshot.written(self)

    @classmethod
    def from_snapshot(cls, message: snapshot_pb2.Snapshot) -> "State":
        """The state that the snapshot holds.

        Raises ValueError when it contradicts itself or its digest is not the one it states.
        """
        state = cls()
        try:
            snapshot.restore(state, message)
            digest = state.digest()
        except (LookupError, struct.error):
            raise ValueError(f"the snapshot at position {message.position} contradicts itself") from None
        if digest != message.state_digest:
            raise ValueError(f"the snapshot at position {message.position} does not have the digest it states")
        return state
