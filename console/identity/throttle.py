"""How often one may be wrong: failures are counted by e-mail address and by network address, in windows of time."""

import hashlib
import time

from sqlalchemy import delete
from sqlalchemy.orm import Session as Transaction

from console.people.tables import Throttle

WINDOW_S = 15 * 60
FAILURES_MAX = {"email": 10, "address": 50, "code": 10}
"""Failures in a window, by what they are counted by."""


class TooManyAttempts(Exception):
    """Wait. `retry_after_s` says how long."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many attempts")
        self.retry_after_s = retry_after_s


def check(transaction: Transaction, kind: str, name: str, now_s: float | None = None) -> None:
    """Raises TooManyAttempts when there were too many failures in this window."""
    moment = time.time() if now_s is None else now_s
    row = transaction.get(Throttle, _key(kind, name, moment))
    if row is not None and row.failures >= FAILURES_MAX[kind]:
        raise TooManyAttempts(int(WINDOW_S - moment % WINDOW_S) + 1)


def count_failure(transaction: Transaction, kind: str, name: str, now_s: float | None = None) -> None:
    """One more failure; windows that are over are dropped."""
    moment = time.time() if now_s is None else now_s
    key, window = _key(kind, name, moment)
    row = transaction.get(Throttle, (key, window))
    if row is None:
        transaction.execute(delete(Throttle).where(Throttle.window < window - 1))
        transaction.add(Throttle(key=key, window=window, failures=1))
    else:
        row.failures += 1


def _key(kind: str, name: str, moment: float) -> tuple[str, int]:
    hashed = hashlib.sha256(name.casefold().encode()).hexdigest()
    return f"{kind}:{hashed}", int(moment) // WINDOW_S
