"""HTTP calls to payment providers and e-invoice integrators: one call, one connection, everything bounded."""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 4_000_000


class Unreachable(Exception):
    """No whole answer came. The text says why in a word, and never what was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class Wire:
    """Stands where client packages expect the module `http.client`, and gives connections to one base URL.

    Connections have a time limit, and speak plain HTTP where the URL says so (the sandbox does).
    """

    def __init__(self, base_url: str) -> None:
        self._parts = urlsplit(base_url)
        self._opened: list[http.client.HTTPConnection] = []

    @property
    def host(self) -> str:
        """Host and port."""
        return self._parts.netloc

    def HTTPSConnection(self, host: str) -> http.client.HTTPConnection:
        """A connection that `close` closes."""
        if self._parts.scheme == "https":
            tls = ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=tls)
        else:
            made = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Close what was opened."""
        for each in self._opened:
            each.close()


def read(response: http.client.HTTPResponse) -> Answer:
    """The whole answer. Raises Unreachable."""
    try:
        body = response.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(type(error).__name__) from None
    if len(body) > ANSWER_BYTES_MAX:
        raise Unreachable("TooLarge")
    return Answer(response.status, body)


def call(method: str, base_url: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """One call below a base URL. Raises Unreachable."""
    wire = Wire(base_url)
    prefix = urlsplit(base_url).path.rstrip("/")
    try:
        connection = wire.HTTPSConnection(wire.host)
        connection.request(method, prefix + path, body or None, dict(headers))
        return read(connection.getresponse())
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(type(error).__name__) from None
    finally:
        wire.close()
