"""Which part of a file a `Range` header asks for. Pure."""

import re

_ONE_RANGE = re.compile(rb"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


class Unsatisfiable(Exception):
    """The range lies outside the file."""


def part_of(header: bytes, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole file: without a header, or with one that is not
    understood (several ranges, other units), which HTTP lets a server ignore.

    Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        count = int(last)
        if not count or not size:
            raise Unsatisfiable
        return max(0, size - count), size
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, end
