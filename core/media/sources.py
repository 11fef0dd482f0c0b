"""Source media as callers give it: a public http(s) URL, or an image as a base64 data URI. Nothing is ever fetched.

The gateway does not open a caller's URL, so it cannot be used to reach inside a network. The provider does; what is
checked here keeps addresses that only mean something inside a network from being handed on.
"""

import base64
import binascii
import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from core.media.refusals import refused
from runtime.errors import Refusal

IMAGE_BYTES_MAX = 10_000_000
"""Largest source image, decoded."""

URL_LENGTH_MAX = 4_096

_DATA = re.compile(r"data:([^,;]*)(?:;[^,;]*)*?(;base64)?,", re.IGNORECASE)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")
_PRIVATE_NAMES = frozenset(("localhost", "ip6-localhost", "ip6-loopback", "broadcasthost"))
_PRIVATE_SUFFIXES = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".intranet",
    ".private",
    ".corp",
    ".home",
    ".lan",
    ".home.arpa",
    ".in-addr.arpa",
    ".ip6.arpa",
    ".invalid",
    ".test",
    ".onion",
    ".nip.io",
    ".sslip.io",
    ".xip.io",
    ".localtest.me",
    ".lvh.me",
    ".vcap.me",
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_V6_GLOBAL = ipaddress.ip_network("2000::/3")
_V4_COMPATIBLE = ipaddress.ip_network("::/96")


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image that came inside the request: it has to be hosted somewhere for the provider to fetch.

    `field` and `index` say where its URL belongs in the provider's input (`index` None: the field is no list).
    """

    field: str
    index: int | None
    content_type: str
    data: bytes = dataclasses.field(repr=False)


def content_type_of(data: bytes) -> str:
    """`image/png`, `image/jpeg`, `image/webp` or `image/gif` by the content itself; empty for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 45:
        return "image/png"
    if data[:3] == b"\xff\xd8\xff" and len(data) >= 64:
        return "image/jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 14:
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and data[12:15] == b"VP8" and len(data) >= 24:
        return "image/webp"
    return ""


def decoded_image(name: str, uri: str) -> tuple[str, bytes]:
    """Content type and bytes of a base64 data URI.

    Raises Refusal: invalid_request when it is no base64 or no PNG, JPEG, WebP or GIF by its content; payload_too_large.
    """
    match = _DATA.match(uri[:256])
    if match is None or not match.group(2):
        raise refused(name, "a data URI must be of the form data:image/png;base64,…")
    encoded = uri[match.end() :]
    if len(encoded) * 3 // 4 > IMAGE_BYTES_MAX + 2:
        raise Refusal("payload_too_large")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise refused(name, "the data URI is not valid base64") from None
    if not data:
        raise refused(name, "the image is empty")
    if len(data) > IMAGE_BYTES_MAX:
        raise Refusal("payload_too_large")
    content_type = content_type_of(data)
    if not content_type:
        raise refused(name, "the content is no PNG, JPEG, WebP or GIF image")
    return content_type, data


def check_url(name: str, url: str) -> None:
    """Is it a URL that a stranger on the Internet may fetch?

    Raises Refusal invalid_request: other schemes, credentials, and hosts that are private in any spelling.
    """
    if len(url) > URL_LENGTH_MAX:
        raise refused(name, "a URL has at most {most} characters", most=URL_LENGTH_MAX)
    if _FORBIDDEN.search(url):
        raise refused(name, "the URL has characters that must be percent-encoded")
    parts = _split(name, url)
    if parts.scheme not in ("http", "https"):
        raise refused(name, "must be a public http(s) URL or a base64 data URI")
    if parts.username is not None or parts.password is not None:
        raise refused(name, "the URL must not hold credentials")
    if not _is_public(parts.hostname or ""):
        raise refused(name, "the URL's host must be public")


def _split(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused(name, "the URL is not valid") from None
    if port == 0:
        raise refused(name, "the URL's port is not valid")
    return parts


def _is_public(host: str) -> bool:
    if ":" in host:
        return _public_v6(host)
    if "%" in host:
        return False
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        return False
    labels = name.split(".")
    if _looks_numeric(labels[-1]):
        address = _loose_v4(labels)
        return address is not None and _public_v4(address)
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels) or len(name) > 253:
        return False
    return name not in _PRIVATE_NAMES and not f".{name}".endswith(_PRIVATE_SUFFIXES)


def _looks_numeric(label: str) -> bool:
    """Would a resolver read a host that ends in this label as an IPv4 address?"""
    return label.isdigit() or label.startswith("0x")


def _loose_v4(labels: list[str]) -> ipaddress.IPv4Address | None:
    """As inet_aton reads it: one to four parts, each decimal, octal (0…) or hexadecimal (0x…)."""
    if len(labels) > 4:
        return None
    numbers = []
    for label in labels:
        base = 16 if label.startswith("0x") else 8 if len(label) > 1 and label.startswith("0") else 10
        digits = label[2:] if base == 16 else label
        try:
            numbers.append(int(digits, base) if digits else 0)
        except ValueError:
            return None
    *heads, last = numbers
    if any(number > 255 for number in heads) or last >= 256 ** (5 - len(numbers)):
        return None
    value = last
    for position, number in enumerate(heads):
        value += number << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _public_v4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _public_v6(host: str) -> bool:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return False
    if address.scope_id is not None or address in _NAT64_LOCAL:
        return False
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or address in _V4_COMPATIBLE):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return _public_v4(inner)
    return address in _V6_GLOBAL and address.is_global and address.teredo is None
