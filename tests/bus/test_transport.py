"""The protocol, cut anywhere: a customer's answer must not depend on how TCP happened to slice it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bus.transport import Message, Splitter, parse_headers

STREAM = (
    b'INFO {"a":1}\r\n'
    b"MSG ledger.00 7 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG ledger.01 7 $JS.ACK.LEDGER.x.1.2.3.4.5 0\r\n\r\n"
    b"MSG other 8 4\r\nMSG \r\n"
    b"HMSG _INBOX.a.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"HMSG s 7 rep.ly 22 27\r\nNATS/1.0\r\nName: ok\r\n\r\n\r\nPO\r\r\n"
    b"-ERR 'Slow Consumer'\r\n"
    b"PONG\r\n"
)


def split(pieces: list[bytes]) -> tuple[list[tuple[str, str, bytes, object]], bytes]:
    """Messages of subscription 7, and everything else."""
    messages: list[Message] = []
    others: list[bytes] = []
    splitter = Splitter({b"7": messages.append}, others.append)
    for piece in pieces:
        splitter.feed(piece)
    return [(each.subject, each.reply, each.data, each.headers) for each in messages], b"".join(others)


WHOLE = split([STREAM])


def test_messages_reach_their_subscription_and_the_rest_reaches_nats_py() -> None:
    messages, others = WHOLE
    assert messages == [
        ("ledger.00", "", b"hello", None),
        ("ledger.01", "$JS.ACK.LEDGER.x.1.2.3.4.5", b"", None),
        ("_INBOX.a.1", "", b"", {"Status": "503", "Description": ""}),
        ("s", "rep.ly", b"\r\nPO\r", {"Name": "ok"}),
    ]
    assert others == b"INFO {\"a\":1}\r\nPING\r\nMSG other 8 4\r\nMSG \r\n-ERR 'Slow Consumer'\r\nPONG\r\n"


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=12))
def test_cuts_anywhere_change_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert split([STREAM[a:b] for a, b in itertools.pairwise(edges) if b > a]) == WHOLE


def test_byte_by_byte() -> None:
    assert split([STREAM[i : i + 1] for i in range(len(STREAM))]) == WHOLE


def test_a_status_line_with_headers_is_read_whole() -> None:
    block = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 10\r\nNats-Last-Stream:12\r\n\r\n"
    assert parse_headers(block) == {
        "Status": "100",
        "Description": "Idle Heartbeat",
        "Nats-Last-Consumer": "10",
        "Nats-Last-Stream": "12",
    }
