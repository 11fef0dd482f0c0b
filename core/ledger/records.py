"""Small records of the state: batch writers, catalogue entries, exchange rates."""

import hashlib
import struct

from proto.onysoft.v1 import ledger_pb2 as pb


class Writer:
    """The last batch number applied for one writer and partition."""

    __slots__ = ("number", "seen_ms")

    def __init__(self, number: int, seen_ms: int) -> None:
        self.number = number
        self.seen_ms = seen_ms


class Model:
    """A catalogue entry: its current version, and whether it can be called."""

    __slots__ = ("active", "leaf", "set")

    def __init__(self, entry: pb.ModelSet) -> None:
        self.set = entry
        self.active = True
        self.leaf = 0

    def digest(self) -> int:
        """This model's part of the state digest."""
        packed = self.set.SerializeToString(deterministic=True) + bytes((self.active,))
        return int.from_bytes(hashlib.sha256(packed).digest(), "big")


class Rate:
    """What is known of an exchange rate beside its value: when and whence it came, and what waits for a person."""

    __slots__ = ("event", "proposed", "set_ms")

    def __init__(self) -> None:
        self.event = pb.FxRateSet()
        self.set_ms = 0
        self.proposed: pb.FxRateProposed | None = None

    def digest(self) -> bytes:
        """This rate's part of the state digest."""
        waiting = b"" if self.proposed is None else self.proposed.SerializeToString(deterministic=True)
        known = self.event.SerializeToString(deterministic=True)
        return hashlib.sha256(struct.pack(">QI", self.set_ms, len(known)) + known + waiting).digest()
