"""Rows in RowBinary, ClickHouse's plainest format: what a range of messages has to say, ready to be sent.

The format has no names: fields follow one another in the order of the INSERT's columns. Numbers are little-endian; a
string is its length as a varint, then its bytes. Packed by hand: a row costs a few microseconds so, many times that
through a general writer, and a sink that catches up makes tens of thousands of them a second.
"""

import struct
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation

NANO_PLACES = 9
TEXTS_KEPT = 100_000
I64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns that the sink fills, in the order in which they are packed: first the numbers, each as
    `struct` names it, then the strings."""

    name: str
    columns: tuple[str, ...]
    numbers: str

    @property
    def packer(self) -> struct.Struct:
        """Packs the numbers."""
        return struct.Struct("<" + self.numbers)


class Rows:
    """Rows of several tables, in the order in which they were added."""

    __slots__ = ("count", "parts")

    def __init__(self) -> None:
        self.count = 0
        self.parts: dict[Table, list[bytes]] = {}

    def add(self, table: Table, row: bytes) -> None:
        """One row, packed."""
        parts = self.parts.get(table)
        if parts is None:
            parts = self.parts[table] = []
        parts.append(row)
        self.count += 1

    def blocks(self) -> list[tuple[Table, bytes]]:
        """What to insert, in an order that depends on the tables' names alone."""
        return [(table, b"".join(self.parts[table])) for table in sorted(self.parts, key=lambda each: each.name)]


@dataclass(frozen=True, slots=True)
class Range:
    """A range of stream positions and all rows that it gives. Made again from the log, it is byte for byte the same."""

    first: int
    last: int
    last_time_ms: int
    rows: Rows


class Texts:
    """Packed strings, remembered: a log names few models, providers, keys and accounts, and names them often."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed: dict[str | tuple[str, bytes], bytes] = {}

    def pack(self, text: str) -> bytes:
        """A string that occurs often."""
        packed = self._packed.get(text)
        return self._keep(text, pack_text(text)) if packed is None else packed

    def pack_id(self, prefix: str, value: bytes) -> bytes:
        """An id that occurs often: `acc_…`; empty for none."""
        packed = self._packed.get((prefix, value))
        return self._keep((prefix, value), pack_id(prefix, value)) if packed is None else packed

    def _keep(self, key: str | tuple[str, bytes], packed: bytes) -> bytes:
        if len(self._packed) >= TEXTS_KEPT:
            self._packed.clear()
        self._packed[key] = packed
        return packed


def pack_text(text: str) -> bytes:
    """A string: varint of its length in bytes, then the bytes."""
    content = text.encode()
    size = len(content)
    if size < 0x80:
        return bytes((size,)) + content
    head = bytearray()
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content


def pack_id(prefix: str, value: bytes) -> bytes:
    """The text of an id, such as `req_0193…`; empty for none."""
    return pack_text(prefix + value.hex()) if value else b"\0"


def cost_nano(text: str) -> int:
    """An exact decimal of USD in nano-USD, rounded up; 0 for what is no decimal, as a sink may not stop at it.

    `0.000000001234` is 2.
    """
    whole, _, places = text.partition(".")
    if whole.isdecimal() and whole.isascii() and (not places or (places.isdecimal() and places.isascii())):
        nano = int(whole) * 10**NANO_PLACES + int(places[:NANO_PLACES].ljust(NANO_PLACES, "0"))
        return clip(nano + 1 if places[NANO_PLACES:].strip("0") else nano, I64_MAX)
    try:
        value: Decimal = Decimal(text).scaleb(NANO_PLACES)
    except InvalidOperation:
        return 0
    return clip(int(value.to_integral_value(ROUND_CEILING)), I64_MAX) if value.is_finite() else 0


def clip(value: int, most: int) -> int:
    """A count as a column of its width can hold it."""
    return value if value <= most else most


POSITION_AND_TIME = struct.Struct("<QHq")
"""stream_seq, event_index and time in milliseconds."""

I64 = struct.Struct("<q")
U32 = struct.Struct("<I")
