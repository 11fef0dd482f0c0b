"""The event parser: whatever the network does to the bytes, the events are the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.providers.sse import EventParser, EventTooLarge

values = st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n"))
noise = st.sampled_from([b": OPENROUTER PROCESSING", b":", b"event: x", b"id: 1", b"retry: 5", b"unknown"])


def parse(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(
    wanted=st.lists(st.lists(values, min_size=1, max_size=3), max_size=6),
    comments=st.lists(noise, max_size=3),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    space=st.sampled_from([b" ", b""]),
    cuts=st.lists(st.integers(0, 1_000), max_size=20),
)
def test_events_survive_any_cut(
    wanted: list[list[bytes]], comments: list[bytes], line_end: bytes, space: bytes, cuts: list[int]
) -> None:
    """A word of an answer would be lost, or torn, when a packet ends inside it."""
    if not space:
        wanted = [[value.lstrip(b" ") for value in lines] for lines in wanted]
    written = b"".join(
        line_end.join([*comments, *(b"data:" + space + value for value in lines), b"", b""]) for lines in wanted
    )
    edges = sorted({0, len(written), *(cut % (len(written) + 1) for cut in cuts)})
    pieces = [written[start:end] for start, end in pairwise(edges)]
    assert parse(*pieces) == [b"\n".join(lines) for lines in wanted]


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_any_bytes_are_parsed_the_same_in_one_piece(pieces: list[bytes]) -> None:
    assert parse(*pieces) == parse(b"".join(pieces))


def test_one_byte_at_a_time() -> None:
    written = b"\xef\xbb\xbfdata: a\r\n\r\n: c\r\ndata: b\r\ndata\r\n\r\n"
    assert parse(*(bytes([byte]) for byte in written)) == [b"a", b"b\n"]


def test_an_unfinished_event_is_not_an_event() -> None:
    """Half an event would be relayed as a whole one."""
    parser = EventParser()
    assert parser.feed(b'data: {"a":1}\n') == []
    assert parser.feed(b"\n") == [b'{"a":1}']


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"y" * 94, b"data: zz\n", b"data:\n"])
def test_what_is_held_is_bounded(piece: bytes) -> None:
    """A provider that never ends its event would fill the core's memory."""
    parser = EventParser(event_bytes_max=10_000)
    with pytest.raises(EventTooLarge):
        list(map(parser.feed, [piece] * 20_000))


def test_a_long_stream_of_small_events_is_not_a_large_event() -> None:
    parser = EventParser(event_bytes_max=1_000)
    assert sum(len(parser.feed(b": c\ndata: " + b"x" * 500 + b"\n\n")) for _ in range(1_000)) == 1_000
