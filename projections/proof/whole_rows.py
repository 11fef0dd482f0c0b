"""Rows of the ledger's tables compared whole, every column: what somebody changed by hand in any place is found.

`reconcile.py` works out the columns that matter from the books, without the sink's code. This compares the rest: the
log gives the sink's rows once more, and each must have the digest that the table's row has.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from functools import cache

from projections.analytics.rows import Rows, Table

Key = tuple[int, ...]

_MOMENTS = frozenset({"time", "opened_time"})
_ENUMS = frozenset({"outcome", "call_end", "basis", "kind"})
_VARINT = (
    "if(length({0}) < 128, char(length({0})),"
    " concat(char(bitOr(bitAnd(length({0}), 127), 128)), if(length({0}) < 16384, char(bitShiftRight(length({0}), 7)),"
    " concat(char(bitOr(bitAnd(bitShiftRight(length({0}), 7), 127), 128)), char(bitShiftRight(length({0}), 14))))))"
)
"""A string's length as RowBinary writes it, up to 2 MiB."""


def digests(rows: Rows) -> dict[Table, dict[Key, tuple[str, bytes]]]:
    """Of each table, each row's digest and bytes by its position, event and, for credits, leg."""
    found: dict[Table, dict[Key, tuple[str, bytes]]] = {}
    for table, packed in rows.parts.items():
        key_of = _key(table)
        found[table] = {key_of.unpack_from(row): (hashlib.md5(row).hexdigest(), row) for row in packed}
    return found


def key_length(table: Table) -> int:
    """How many of a table's first columns tell a row from every other."""
    return len(_key(table).unpack(bytes(_key(table).size)))


@cache
def stored_digests(table: Table) -> str:
    """The query for the digests of what is stored between `$first` and `$last`."""
    parts = [f"reinterpretAsFixedString({each})" for each in _numbers(table)]
    for name in _strings(table):
        parts += [_VARINT.format(name), f"toString({name})"]
    keys = ", ".join(table.columns[: key_length(table)])
    return (
        f"SELECT {keys}, lower(hex(MD5(concat({', '.join(parts)})))) AS digest FROM {table.name}"
        " WHERE stream_seq BETWEEN $first AND $last"
    )


def stored_row(table: Table, key: Key) -> str:
    """The query for one stored row, each column as text."""
    shown = ", ".join(f"toString({each})" for each in (*_numbers(table), *_strings(table)))
    where = " AND ".join(f"{name} = {int(value)}" for name, value in zip(table.columns, key, strict=False))
    return f"SELECT {shown} FROM {table.name} WHERE {where}"


def told(table: Table, row: bytes, stored: Sequence[str]) -> str:
    """Which columns differ, for people."""
    wrong = [
        f"{name} is {theirs!r}, the ledger says {mine!r}"
        for name, mine, theirs in zip(table.columns, _texts(table, row), stored, strict=True)
        if mine != theirs
    ]
    return "; ".join(wrong)


def _key(table: Table) -> struct.Struct:
    return struct.Struct("<QHB" if "leg" in table.columns else "<QH")


def _numbers(table: Table) -> Iterable[str]:
    """The columns of fixed width, each as the integer that is packed."""
    for name, letter in zip(table.columns, table.numbers, strict=False):
        if name in _MOMENTS:
            yield f"toUnixTimestamp64Milli({name})"
        elif letter == "b" and name in _ENUMS:
            yield f"toInt8({name})"
        else:
            yield name


def _strings(table: Table) -> Sequence[str]:
    return table.columns[len(table.numbers) :]


def _texts(table: Table, row: bytes) -> list[str]:
    fixed = struct.Struct("<" + table.numbers)
    texts = [str(value) for value in fixed.unpack_from(row)]
    position = fixed.size
    while position < len(row):
        size = shift = 0
        while True:
            byte = row[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        texts.append(row[position : position + size].decode(errors="replace"))
        position += size
    return texts
