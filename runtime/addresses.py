"""IP addresses and ranges of them, IPv4 and IPv6 alike.

An IPv4 address that comes written as IPv6 (`::ffff:192.0.2.7`) is the IPv4 address: a rule for one holds for the other.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network

_MAPPED_BITS = 96


def address_of(text: str) -> Address:
    """The address that a text names. Raises ValueError when it is none."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def range_of(text: str) -> Range:
    """`192.0.2.0/24`, `2001:db8::/32` or one address. Raises ValueError when it is none, or has host bits set."""
    found = ip_network(text.strip())
    if isinstance(found, IPv6Network) and found.prefixlen >= _MAPPED_BITS:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


@lru_cache(maxsize=4096)
def ranges_of(texts: tuple[str, ...]) -> tuple[Range, ...]:
    """Many of them. Raises ValueError."""
    return tuple(range_of(text) for text in texts)


def listed_ranges(text: str) -> tuple[Range, ...]:
    """Ranges in one text, comma separated. Raises ValueError."""
    return ranges_of(tuple(part for part in (part.strip() for part in text.split(",")) if part))


def is_within(address: Address, ranges: Iterable[Range]) -> bool:
    """Is the address in one of the ranges?"""
    return any(address.version == each.version and address in each for each in ranges)


def is_public(text: str) -> bool:
    """Is this an address of the open Internet, whatever form it is written in, also inside another?

    Private, local, shared, reserved and multicast ones are not, nor what cannot be read.
    """
    try:
        address = address_of(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address.teredo is not None:
            return False
        inner = address.sixtofour or _embedded(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast and not address.is_reserved


_TRANSLATED = IPv6Network("64:ff9b::/96")
_TRANSLATED_LOCAL = IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = IPv6Network("::/96")


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator would reach; one that only a local translator reaches counts as local."""
    if address in _TRANSLATED_LOCAL:
        return IPv4Address("127.0.0.1")
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED or address in _COMPATIBLE else None
