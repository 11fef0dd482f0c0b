"""Whose address a call has. A key that is bound to an office's addresses is worth that much and no more."""

import pytest

from edge.forwarding import HEADER_CHARACTERS_MAX, HOPS_MAX, TrustedProxies

PROXIES = TrustedProxies("10.0.0.0/8, 2001:db8:feed::/48, ::ffff:172.16.0.0/108")


def client(peer: str, *lines: tuple[str, str]) -> str | None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    found = PROXIES.client(peer, headers)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # not a proxy: what it claims is only a claim
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client wrote the first itself
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "10.1.1.1, 10.9.9.9", "10.1.1.1"),  # trusted throughout: the farthest
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("172.20.1.1", "2001:db8::5", "2001:db8::5"),
        ("2001:db8:feed::1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::5]:4711", "2001:db8::5"),
        ("10.0.0.1", "1.1.1.1, unknown", None),
        ("10.0.0.1", "1.1.1.1,", None),
        ("10.0.0.1", "", None),
        ("10.0.0.1", ", ".join(["10.0.0.2"] * (HOPS_MAX + 1)), None),
        ("", "198.51.100.1", None),
    ],
)
def test_x_forwarded_for_is_walked_from_the_right(peer: str, forwarded_for: str, expected: str | None) -> None:
    """Whoever writes the header's beginning would choose the address that a stolen key is used from."""
    assert client(peer, ("X-Forwarded-For", forwarded_for)) == expected


def test_several_lines_are_one_list() -> None:
    """A proxy that adds a line of its own would be overruled by the client's."""
    assert client("10.0.0.1", ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "198.51.100.1")) == "198.51.100.1"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=198.51.100.1;proto=https", "198.51.100.1"),
        ('for=1.1.1.1, proto=https;For="[2001:db8::5]:4711"', "2001:db8::5"),
        ('for="198.51.100.1:80";by="a,b", for=10.3.3.3', "198.51.100.1"),
        ("for=_hidden", None),
        ("proto=https", None),
        ("for=1.1.1.1, by=10.0.0.9", None),
    ],
)
def test_forwarded_is_walked_the_same_way(forwarded: str, expected: str | None) -> None:
    assert client("10.0.0.1", ("Forwarded", forwarded)) == expected


def test_two_headers_that_disagree_say_nothing() -> None:
    """A proxy that knows only one of them passes the client's other one through."""
    real = ("X-Forwarded-For", "198.51.100.1")
    assert client("10.0.0.1", real, ("Forwarded", "for=192.0.2.1")) is None
    assert client("10.0.0.1", real, ("Forwarded", "for=198.51.100.1")) == "198.51.100.1"


def test_without_a_header_a_proxy_speaks_for_itself() -> None:
    assert client("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize("listed", ["10.0.0.0/33", "10.0.0.1/8", "proxy.local", "1.2.3"])
def test_a_wrong_range_is_said_at_start(listed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TrustedProxies(listed)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_an_endless_list_names_nobody(name: str) -> None:
    """Taking it apart could keep an edge busy for seconds."""
    assert client("10.0.0.1", (name, '"\\' * HEADER_CHARACTERS_MAX + ", for=192.0.2.1")) is None
