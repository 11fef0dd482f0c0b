"""Names of public files, and the signatures of what comes back from providers. Pure.

All are keyed hashes under the server's pepper: who does not know it can neither guess a file nor forge a callback, and
who copies a result twice gives it the same name twice.
"""

import hmac
import re

_NAME = re.compile(r"[rs][0-9a-f]{40}\.[a-z0-9]{2,4}")
_DIGITS = 40

RESULT = "r"
SOURCE = "s"


def is_name(text: str) -> bool:
    """Whether it can be the name of a file; nothing else is looked for in a store."""
    return _NAME.fullmatch(text) is not None


def result_name(pepper: bytes, request_id: bytes, number: int, ending: str) -> str:
    """The name of a task's result; `number` counts from 0."""
    return f"{RESULT}{_keyed(pepper, b'result', request_id, number)}.{ending}"


def source_name(pepper: bytes, request_id: bytes, number: int, ending: str) -> str:
    """The name of a request's source image; `number` counts from 0."""
    return f"{SOURCE}{_keyed(pepper, b'source', request_id, number)}.{ending}"


def callback_mark(pepper: bytes, request_id: bytes) -> str:
    """What a provider's callback for this request carries in its address."""
    return request_id.hex() + _keyed(pepper, b"callback", request_id, 0)[:32]


def marked_request(pepper: bytes, mark: str) -> bytes | None:
    """The request that a callback is for; None when the mark is not one of ours."""
    try:
        request_id = bytes.fromhex(mark[:24])
    except ValueError:
        return None
    known = callback_mark(pepper, request_id)
    return request_id if hmac.compare_digest(known.encode(), mark.encode()) else None


def webhook_secret(pepper: bytes, account_id: bytes) -> str:
    """What an account's webhooks are signed with; stored nowhere."""
    return "whsec_" + _keyed(pepper, b"webhook", account_id, 0)


def _keyed(pepper: bytes, purpose: bytes, identity: bytes, number: int) -> str:
    message = b"%b:%b:%d" % (purpose, identity, number)
    return hmac.digest(pepper, message, "sha256").hex()[:_DIGITS]
