"""Which accounts stand below which, kept so that a page of thousands is found without looking at all of them."""

from bisect import bisect_right
from collections import defaultdict
from itertools import islice

from core.ledger.accounts import Account
from core.ledger.state import State

EVERYBODY = b""
"""Above all accounts."""


def is_below(account: Account, account_id: bytes) -> bool:
    """Does the account stand below that one, at any depth?"""
    return any(each.account_id == account_id for each in account.lineage[1:])


class Families:
    """Ids of accounts by whom they stand below, in order.

    An account is never removed and never moves, so only those that were opened since the last time are looked at.
    """

    def __init__(self) -> None:
        self._state: State | None = None
        self._known = 0
        self._below: defaultdict[bytes, list[bytes]] = defaultdict(list)

    def below(self, state: State, account_id: bytes, after: bytes) -> list[bytes]:
        """Ids of the accounts below one, at any depth, that come after `after`; below EVERYBODY: all."""
        self._catch_up(state)
        found = self._below.get(account_id, [])
        return found[bisect_right(found, after) :]

    def _catch_up(self, state: State) -> None:
        if state is not self._state:
            self._state, self._known = state, 0
            self._below.clear()
        grown = set()
        for account in islice(state.accounts.values(), self._known, None):
            for above in (EVERYBODY, *(each.account_id for each in account.lineage[1:])):
                self._below[above].append(account.account_id)
                grown.add(above)
        for above in grown:
            self._below[above].sort()
        self._known = len(state.accounts)
