"""What is published of a position: one hash that commits the house to every account's balance and lines there.

A Merkle tree over all accounts, sorted by id. A leaf holds the account's id, credits, charges, number of lines and
chain hash; a path of a dozen hashes proves a leaf to whoever knows the root, and shows nothing of other accounts. Pure:
the customer's check (`statement_check`) and the house's publication share this file.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LEAF = b"\x00"
_NODE = b"\x01"


@dataclass(frozen=True, slots=True)
class Standing:
    """One account at one position: what its leaf commits to."""

    account_id: bytes
    credits_nano: int
    charges_nano: int
    lines: int
    chain_hash: bytes

    @property
    def balance_nano(self) -> int:
        """Credits less charges."""
        return self.credits_nano - self.charges_nano

    def leaf(self) -> bytes:
        """Its hash in the tree."""
        words = (self.account_id.hex(), str(self.credits_nano), str(self.charges_nano), str(self.lines))
        return hashlib.sha256(_LEAF + ":".join(words).encode() + b":" + self.chain_hash).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash over two."""
    return hashlib.sha256(_NODE + left + right).digest()


def tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Levels from the leaves to the root; one without a neighbour goes up as it is. No leaves: one empty hash."""
    levels = [list(leaves) or [hashlib.sha256(b"").digest()]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(level + below[len(level) * 2 :])
    return levels


def path_of(levels: list[list[bytes]], index: int) -> list[tuple[str, bytes]]:
    """The neighbours of a leaf up to the root, each with the side on which it stands."""
    path = []
    for level in levels[:-1]:
        neighbour = index ^ 1
        if neighbour < len(level):
            path.append(("left" if neighbour < index else "right", level[neighbour]))
        index //= 2
    return path


def root_from(leaf: bytes, path: Sequence[tuple[str, bytes]]) -> bytes:
    """The root that a leaf and its path lead to."""
    value = leaf
    for side, neighbour in path:
        value = node(neighbour, value) if side == "left" else node(value, neighbour)
    return value


@dataclass(frozen=True, slots=True)
class Published:
    """One line of the published file. `previous` is the SHA-256 of the line before, so no line can be changed or taken
    out later; times are the log's."""

    position: int
    time_ms: int
    chain_hash: str
    state_digest: str
    accounts: int
    root: str
    previous: str = ""

    def to_document(self) -> dict[str, Any]:
        """As it is written."""
        return {name: getattr(self, name) for name in self.__slots__}
