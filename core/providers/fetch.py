"""Single requests to addresses that others have named: a customer's webhook, a provider's result.

Each address that the name resolves to is looked at before it is connected to, and the connection goes to what was
looked at: a name cannot resolve to something else in between.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import urljoin, urlsplit

from core.providers.exchange import Reply
from core.providers.http import HttpClient, Limits, default_tls
from core.providers.port import FailureKind, ProviderFailure

REDIRECTS_MAX = 3
ONE = Limits(connections_max=1, connect_s=5.0, first_byte_s=30.0, idle_s=30.0)

MayReach = Callable[[str], bool]

_HEADERS = {"user-agent": "onysoft-gateway/1.0"}
_tls = cache(default_tls)  # reading all authorities takes longer than the request


@asynccontextmanager
async def opened(url: str, may_reach: MayReach, deadline_s: float) -> AsyncIterator[Reply]:
    """GET a URL and read its answer piece by piece; redirects are followed, each under the same rules.

    Raises ProviderFailure, also for an answer other than 200.
    """
    give_up_at = time.monotonic() + deadline_s
    for _ in range(REDIRECTS_MAX + 1):
        client, target = _client(url, may_reach)
        try:
            reply = await client.open("GET", target, b"", {}, max(0.1, give_up_at - time.monotonic()))
            try:
                if reply.status == 200:
                    yield reply
                    return
                if not 300 <= reply.status < 400:
                    kind = (
                        FailureKind.REFUSED_INPUT if reply.status in (401, 403, 404, 410) else FailureKind.UNAVAILABLE
                    )
                    raise ProviderFailure(kind, "not_found", status=reply.status)
                url = urljoin(url, reply.headers.get(b"location", b"").decode("latin-1"))
            finally:
                reply.close()
        finally:
            await client.close()
    raise ProviderFailure(FailureKind.PROTOCOL, "redirect", status=310)


async def post(url: str, body: bytes, headers: Mapping[str, str], may_reach: MayReach, deadline_s: float) -> int:
    """POST once, without following redirects; the status. Raises ProviderFailure."""
    client, target = _client(url, may_reach)
    try:
        reply = await client.open("POST", target, body, headers, deadline_s)
        reply.close()
        return reply.status
    finally:
        await client.close()


def _client(url: str, may_reach: MayReach) -> tuple[HttpClient, str]:
    """A client of the URL's origin, and the request's target. Raises ProviderFailure for what is no http(s) URL."""
    try:
        parts = urlsplit(url)
        if parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("not a plain URL")
        client = HttpClient(
            f"{parts.scheme}://{parts.netloc}", {"user-agent": "onysoft-gateway/1.0"}, ONE, None, may_reach
        )
    except ValueError:
        raise ProviderFailure(FailureKind.REFUSED_INPUT, "not_a_url") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return client, target
