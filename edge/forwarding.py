"""Where a call really comes from: the peer of the connection, or what proxies that are trusted say about it.

A header is a claim of whoever sent it. So the walk begins at the peer and goes on to the next hop only while the hop
that names it is a trusted proxy; the first that is not is the client, whatever it claims about others.
"""

import re
from collections.abc import Iterable

from runtime.addresses import Address, Range, address_of, is_within, listed_ranges

HOPS_MAX = 32
HEADER_CHARACTERS_MAX = 2_048
"""A longer list of hops is nobody's honest one, and names no client."""

_UNKNOWN = "unknown"
_FORWARDED = b"forwarded"
_X_FORWARDED_FOR = b"x-forwarded-for"
_FORWARDED_ELEMENT = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*")+)')
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^";\s]+))', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[(.+)\](?::[0-9_A-Za-z.-]+)?|([0-9.]+):[0-9]+")

_Headers = Iterable[tuple[bytes, bytes]]


class TrustedProxies:
    """The proxies whose word on a client's address counts."""

    def __init__(self, listed: str) -> None:
        """`listed`: addresses and ranges, comma separated. Raises ValueError."""
        self._ranges: tuple[Range, ...] = listed_ranges(listed)

    def client(self, peer: str, headers: _Headers) -> Address | None:
        """The address of the client; None when it cannot be told, which no rule on addresses may take for allowed.

        Where both headers are there and name two clients, one of them was passed through from the client: nobody can
        tell which.
        """
        address = _parsed(peer)
        if address is None or not self._trusts(address):
            return address
        lines = list(headers)
        x_forwarded = _values(lines, _X_FORWARDED_FOR)
        forwarded = _values(lines, _FORWARDED)
        found = [
            self._walk(address, hops)
            for hops in (_x_forwarded_hops(x_forwarded), _forwarded_hops(forwarded))
            if hops is not None
        ]
        if not found:
            return address
        return found[0] if all(each == found[0] for each in found) else None

    def _walk(self, peer: Address, hops: list[str]) -> Address | None:
        """`hops` as the header lists them, the nearest last."""
        if len(hops) > HOPS_MAX:
            return None
        address = peer
        for hop in reversed(hops):
            claimed = _parsed(hop)
            if claimed is None:
                return None
            address = claimed
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: Address) -> bool:
        return is_within(address, self._ranges)


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    """All lines of a header as one; None when there is none."""
    lines = [value.decode("latin-1") for key, value in headers if key == name]
    if not lines:
        return None
    joined = ",".join(lines)
    return joined if len(joined) <= HEADER_CHARACTERS_MAX else _UNKNOWN


def _x_forwarded_hops(text: str | None) -> list[str] | None:
    return None if text is None else [hop.strip() for hop in text.split(",")]


def _forwarded_hops(text: str | None) -> list[str] | None:
    """The `for` of each element of RFC 7239; an element without one is a hop that cannot be told."""
    if text is None:
        return None
    hops = []
    for element in _FORWARDED_ELEMENT.findall(text):
        match = _FORWARDED_FOR.search(element.strip())
        hops.append((match[1] or match[2]) if match else "")
    return hops


def _parsed(text: str) -> Address | None:
    """An address, with or without a port; None for a name, `unknown`, or anything else."""
    match = _WITH_PORT.fullmatch(text)
    try:
        return address_of((match[1] or match[2]) if match else text)
    except ValueError:
        return None
