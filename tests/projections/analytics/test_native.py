"""Grafana's plugin reads a later revision of the Native format: a wrong byte would be a panel of nonsense."""

import pytest

from projections.analytics import native
from projections.analytics.native import with_revision
from projections.analytics.store import Store

QUERIES = {
    "numbers": "SELECT number, toInt8(number), toDecimal64(number, 4), toDecimal128(1, 9) FROM numbers(5)",
    "texts": "SELECT toString(number), repeat('ş', 200), toFixedString('ab', 4), '' FROM numbers(5)",
    "times": "SELECT now(), now64(3), today(), toIntervalDay(number) FROM numbers(3)",
    "names": "SELECT toLowCardinality(toString(number % 300)), toLowCardinality(toNullable('a')) FROM numbers(70000)",
    "nested": "SELECT [1, 2], [toLowCardinality('a')], map('a', [1]), (1, 'b')::Tuple(n UInt8, t String)",
    "nothing": "SELECT toLowCardinality(''), [1], NULL, toNullable(number) FROM numbers(0)",
    "nulls": "SELECT if(number = 1, NULL, number), 'a'::Enum8('a' = 1, 'b, (c' = 2), generateUUIDv4() FROM numbers(3)",
    "sums": "SELECT hour, calls, model FROM charges_hourly",
    "tables": "SELECT * FROM system.columns WHERE database = currentDatabase()",
}


@pytest.mark.parametrize("home", ["embedded"], indirect=True)
def test_every_column_keeps_its_bytes(store: Store) -> None:
    for name, query in QUERIES.items():
        content = store.raw(query, {}, "Native")
        assert taken_back(with_revision(content, 54460), 54460) == content, name
        assert taken_back(with_revision(content, 54000), 54000) == content, name


def taken_back(content: bytes, revision: int) -> bytes:
    """The blocks without what a revision adds; the marks are found where the types' texts end."""
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    assert not content or content.startswith(info)
    content = content.replace(info, b"")
    return content if revision < 54454 else without_marks(content)


def without_marks(content: bytes) -> bytes:
    parts, position = [], 0
    while position < len(content):
        begin = position
        columns, position = native._varint(content, position)
        rows, position = native._varint(content, position)
        parts.append(content[begin:position])
        for _ in range(columns):
            begin = position
            _name, position = native._text(content, position)
            kind, position = native._text(content, position)
            assert content[position] == 0
            prefix = 8 * kind.count("LowCardinality(") if rows else 0
            end = native._skip(kind, rows, content, position + 1 + prefix)
            parts += (content[begin:position], content[position + 1 : end])
            position = end
    return b"".join(parts)


@pytest.mark.parametrize("home", ["embedded"], indirect=True)
def test_a_type_that_cannot_be_walked_is_refused_not_garbled(store: Store) -> None:
    content = store.raw("SELECT quantilesTDigestState(0.5)(number) FROM numbers(3)", {}, "Native")
    with pytest.raises(ValueError, match="AggregateFunction"):
        with_revision(content, 54460)
