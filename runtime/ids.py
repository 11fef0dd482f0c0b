"""Ids: 12 bytes in the log, a prefix and 24 hex digits for people.

Six bytes of unix milliseconds come first, so ids sort by the time they were minted; six random bytes follow.
A process mints them from its own clock; nothing decides by that clock (the ledger's time is the log's own).
"""

import os
import time

REQUEST = "req_"
ACCOUNT = "acc_"
KEY = "key_"
TASK = "vtask_"

_SIZE = 12


def mint() -> bytes:
    """A new 12-byte id."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(6)


def text(prefix: str, value: bytes) -> str:
    """`req_0193…` for the 12 bytes of an id."""
    return prefix + value.hex()


def parse(prefix: str, value: str) -> bytes:
    """The 12 bytes of an id's text.

    Raises ValueError when `value` is not the prefix and 24 lower-case hex digits.
    """
    digits = value[len(prefix) :]
    if not value.startswith(prefix) or len(digits) != 2 * _SIZE or digits != digits.lower():
        raise ValueError(f"not an id of the form {prefix} + 24 hex digits")
    return bytes.fromhex(digits)


def minted_ms(value: bytes) -> int:
    """Unix milliseconds at which the minting process believed to be."""
    return int.from_bytes(value[:6], "big")
