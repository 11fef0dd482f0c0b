"""ClickHouse's Native format for clients that name a protocol revision, such as Grafana's plugin (clickhouse-go).

An engine without a server writes blocks of revision 0. A later revision has the same columns with a few bytes more: a
block's header before it, and a byte before each column's data. To find where a column ends its type must be walked.
"""

import re

CUSTOM_SERIALIZATION_REVISION = 54454
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # not of totals; no bucket; the end

_FIXED = {
    **dict.fromkeys(("Int8", "UInt8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Int16", "UInt16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("Int128", "UInt128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("Int256", "UInt256", "Decimal256"), 32),
}
_DECIMALS = ((9, 4), (18, 8), (38, 16), (76, 32))
_TYPE = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
_NAMED = re.compile(r"(?:\w+|`[^`]*`) (?=[A-Z])")


def with_revision(content: bytes, revision: int) -> bytes:
    """Blocks of revision 0 as a client of `revision` reads them. Raises ValueError for a type that cannot be walked."""
    mark = b"\0" if revision >= CUSTOM_SERIALIZATION_REVISION else b""
    parts: list[bytes] = []
    position = 0
    while position < len(content):
        begin = position
        columns, position = _varint(content, position)
        rows, position = _varint(content, position)
        parts += (_BLOCK_INFO, content[begin:position])
        for _ in range(columns):
            begin = position
            _name, position = _text(content, position)
            kind, position = _text(content, position)
            dictionaries = kind.count("LowCardinality(") if rows else 0  # each begins with its version
            end = _skip(kind, rows, content, position + 8 * dictionaries)
            parts += (content[begin:position], mark, content[position:end])
            position = end
    return b"".join(parts)


def _skip(kind: str, rows: int, content: bytes, position: int) -> int:
    """Where `rows` values of a type end. Raises ValueError for a type that is not known."""
    match = _TYPE.fullmatch(kind)
    name, inner = match.groups(default="") if match else (kind, "")
    if name == "String":
        for _ in range(rows):
            size, position = _varint(content, position)
            position += size
        return position
    if name == "Nullable":
        return _skip(inner, rows, content, position + rows)
    if name == "LowCardinality":
        return _skip_dictionary(inner, rows, content, position)
    if name in ("Array", "Map"):
        end = position + 8 * rows
        total = int.from_bytes(content[end - 8 : end], "little") if rows else 0
        for part in _parts(inner):
            end = _skip(part, total, content, end)
        return end
    if name == "Tuple":
        for part in _parts(inner):
            position = _skip(_NAMED.sub("", part, count=1) if _NAMED.match(part) else part, rows, content, position)
        return position
    if name == "SimpleAggregateFunction":
        return _skip(_parts(inner)[-1], rows, content, position)
    return position + rows * _size(name, inner)


def _skip_dictionary(inner: str, rows: int, content: bytes, position: int) -> int:
    """Flags, whose low byte is the index's width; the keys with their number; the indexes with theirs."""
    if not rows:
        return position
    width = 1 << content[position]
    keys = int.from_bytes(content[position + 8 : position + 16], "little")
    key_kind = inner[len("Nullable(") : -1] if inner.startswith("Nullable(") else inner
    position = _skip(key_kind, keys, content, position + 16)
    return position + 8 + width * rows


def _size(name: str, inner: str) -> int:
    if name == "FixedString":
        return int(inner)
    if name == "Decimal":
        precision = int(inner.split(",")[0])
        return next(size for most, size in _DECIMALS if precision <= most)
    if name.startswith("Interval"):
        return 8
    if name not in _FIXED:
        raise ValueError(f"columns of type {name} cannot be sent to this client")
    return _FIXED[name]


def _parts(inner: str) -> list[str]:
    """The arguments of a type: split at commas outside of parentheses and quotes."""
    found, depth, begin, quoted = [], 0, 0, False
    for place, letter in enumerate(inner):
        if letter == "'" and inner[place - 1] != "\\":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
        elif not quoted and letter == "," and not depth:
            found.append(inner[begin:place].strip())
            begin = place + 1
    return [*found, inner[begin:].strip()]


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _text(content: bytes, position: int) -> tuple[str, int]:
    size, position = _varint(content, position)
    return content[position : position + size].decode(), position + size
