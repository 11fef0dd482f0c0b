"""The customer's webhook: its address at submission, and one delivery. Repeating it is the queue's work.

Signed over timestamp and body: `X-Onysoft-Signature: v1=hex(HMAC-SHA256(secret, timestamp + "." + body))`, so that a
receiver can tell our message from others' and an old one from a new one. The secret is the account's, given with the
202 and derived from the server's pepper: it is stored nowhere.
"""

import hmac

from core.media.sources import check_url
from core.providers.fetch import MayReach, post
from core.providers.port import ProviderFailure
from runtime.errors import Refusal, bilingual

_WRONG, _WRONG_TURKISH = "must be an http(s) URL", "bir http(s) URL'si olmalı"
DELIVERY_S = 15.0
FIRST_PAUSE_S = 10.0
GROWTH = 2.5
PAUSE_MAX_S = 7_200.0
PATIENCE_MS = 24 * 3_600_000
"""How long after a task's end its webhook is tried."""


def checked_url(value: object, private_too: bool) -> str:
    """The `callback_url` of a request; empty when there is none.

    What its name resolves to is looked at when it is called. Raises Refusal `invalid_request`.
    """
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not value.startswith(("http://", "https://")) or not value.isascii():
        raise Refusal("invalid_request", bilingual(f"callback_url: {_WRONG_TURKISH}", f"callback_url: {_WRONG}"))
    if not private_too:
        check_url("callback_url", value)
    return value


def signature(secret: str, timestamp_s: int, body: bytes) -> str:
    """What the receiver computes as well."""
    return "v1=" + hmac.digest(secret.encode(), b"%d." % timestamp_s + body, "sha256").hex()


def pause_s(deliveries: int) -> float:
    """How long to wait after so many deliveries that were not taken."""
    return min(FIRST_PAUSE_S * GROWTH ** (deliveries - 1), PAUSE_MAX_S)


async def deliver(url: str, body: bytes, secret: str, timestamp_s: int, task_id: str, may_reach: MayReach) -> str:
    """One delivery: empty when the receiver took it (2xx), else a word for why not."""
    headers = {
        "content-type": "application/json",
        "x-onysoft-task": task_id,
        "x-onysoft-timestamp": str(timestamp_s),
        "x-onysoft-signature": signature(secret, timestamp_s, body),
    }
    try:
        status = await post(url, body, headers, may_reach, DELIVERY_S)
    except ProviderFailure as failure:
        return failure.reason or failure.kind.value
    return "" if 200 <= status < 300 else f"status_{status}"
