"""Taking and giving back what an open request holds: money of its account and its parent's, and tokens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.ledger.accounts import Account
from core.ledger.outcome import FoldStopped
from core.ledger.owners import Owner
from core.ledger.requests import Request

if TYPE_CHECKING:
    from core.ledger.state import State


class InvariantBroken(FoldStopped):
    """A handler left an account below zero: a defect of the rules themselves."""


def check(account: Account) -> None:
    """Invariant 1. Raises InvariantBroken."""
    if account.held_nano < 0 or account.credits_nano - account.charges_nano - account.held_nano < 0:
        raise InvariantBroken(f"account {account.account_id.hex()} would fall below zero")


def owners_of(state: "State", request: Request) -> Iterator[Owner]:
    """Whose limits a request counts against: its key, its account, and every account above it."""
    key = state.keys.get(request.key_id)
    if key is not None:
        yield key
        yield from state.accounts[request.account_id].lineage


def take(state: "State", request: Request) -> None:
    """Hold what an open request states; the caller has made sure that it is free."""
    account = state.accounts[request.account_id]
    account.open_holds += 1
    extend(state, request, request.hold_nano, request.parent_hold_nano, request.hold_tokens)


def extend(state: "State", request: Request, nano: int, parent_nano: int, tokens: int) -> None:
    """Hold so much more, or less where negative."""
    account = state.accounts[request.account_id]
    account.held_nano += nano
    state.dirty_accounts.add(account.account_id)
    if parent_nano:
        parent = account.lineage[1]
        parent.held_nano += parent_nano
        state.dirty_accounts.add(parent.account_id)
    if tokens:
        for owner in owners_of(state, request):
            owner.hold_tokens(request.model, tokens)


def release(state: "State", request: Request) -> Account:
    """Give the hold of an open request back; its account."""
    account = state.accounts[request.account_id]
    account.open_holds -= 1
    extend(state, request, -request.hold_nano, -request.parent_hold_nano, -request.hold_tokens)
    return account
