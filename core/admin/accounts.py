"""Accounts of all kinds: opened, suspended, shown."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from core.admin.answers import answers
from core.admin.callers import caller_now
from core.admin.desk import Subject
from core.admin.families import EVERYBODY, is_below
from core.admin.fields import identity, invalid, text
from core.admin.markups import MARKUP_BPS_MAX
from core.ledger.accounts import Account
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

REQUESTS_PER_MINUTE_DEFAULT = 60
REQUESTS_PER_DAY_DEFAULT = 10_000
PAGE_DEFAULT = 100
PAGE_MAX = 1_000
LOOKED_AT_ONCE = 1_000

_PLAIN = str.maketrans("İIıŞşĞğÜüÖöÇç", "iiissgguuoocc")


class Kind(NamedTuple):
    """What a kind of account is opened with unless told otherwise, and below what it stands."""

    currency: ledger.Currency.ValueType
    markup_bps: int
    parents: tuple[ledger.AccountKind.ValueType, ...] = ()
    needs_parent: bool = False


KINDS: dict[int, Kind] = {
    ledger.USER: Kind(ledger.TRY, 5_000),
    ledger.ORGANISATION: Kind(ledger.TRY, 5_000),
    ledger.PROJECT: Kind(ledger.TRY, 5_000, (ledger.ORGANISATION,)),
    ledger.PARTNER: Kind(ledger.USD, 5_000),
    ledger.PARTNER_PROJECT: Kind(ledger.USD, 5_000, (ledger.PARTNER,), needs_parent=True),
    ledger.PARTNER_CUSTOMER: Kind(ledger.TRY, 3_000, (ledger.PARTNER, ledger.PARTNER_PROJECT), needs_parent=True),
}


def kind_text(kind: int) -> str:
    """`partner-customer`, as people write it."""
    return ledger.AccountKind.Name(ledger.AccountKind.ValueType(kind)).lower().replace("_", "-")


def plain(text: str) -> str:
    """A name as it is searched for: without case, and with plain letters for Turkish ones."""
    return text.translate(_PLAIN).casefold()


def _is_meant(account: Account, request: pb.ListAccountsRequest) -> bool:
    if request.HasField("suspended") and account.suspended != request.suspended:
        return False
    return request.kind in (ledger.ACCOUNT_KIND_UNSPECIFIED, account.kind)


class Accounts(Subject):
    """What operators do to accounts."""

    @answers
    async def OpenAccount(self, request: pb.OpenAccountRequest) -> pb.Account:
        name = text("name", request.name)
        kind = KINDS.get(request.kind)
        if kind is None:
            invalid(f"kind must be one of {', '.join(kind_text(each) for each in KINDS)}")
        event = ledger.AccountOpened(
            account_id=ids.mint(),
            kind=request.kind,
            currency=request.currency or kind.currency,
            markup_bps=request.markup_bps if request.HasField("markup_bps") else kind.markup_bps,
            requests_per_minute=(
                request.requests_per_minute if request.HasField("requests_per_minute") else REQUESTS_PER_MINUTE_DEFAULT
            ),
            requests_per_day=(
                request.requests_per_day if request.HasField("requests_per_day") else REQUESTS_PER_DAY_DEFAULT
            ),
        )
        if event.currency not in (ledger.TRY, ledger.USD):
            invalid("currency must be TRY or USD")
        if event.markup_bps > MARKUP_BPS_MAX:
            invalid(f"markup_bps must be at most {MARKUP_BPS_MAX}")
        root_id = event.account_id
        parent = await self._parent(request, kind)
        if parent is not None:
            self.desk.require_rules(2)
            event.parent_id, root_id = parent.account_id, parent.root_id
        await self.desk.append(root_id, ledger.Event(account_opened=event))
        await self.desk.label(event.account_id, name)
        return self.desk.show_account(self.desk.replica.state.accounts[event.account_id], name)

    async def _parent(self, request: pb.OpenAccountRequest, kind: Kind) -> Account | None:
        """The account above the new one, which must be of the right kind."""
        above = " or ".join(kind_text(each) for each in kind.parents)
        if not request.parent_id:
            if kind.needs_parent:
                invalid(f"parent_id must be the {above} of the {kind_text(request.kind)}")
            return None
        if not kind.parents:
            invalid(f"parent_id must be empty: a {kind_text(request.kind)} stands alone")
        parent = await self.desk.account(request.parent_id, "parent_id")
        if parent.kind not in kind.parents:
            invalid(f"parent_id must be of kind {above}; {request.parent_id} is of kind {kind_text(parent.kind)}")
        return parent

    @answers
    async def ListAccounts(self, request: pb.ListAccountsRequest) -> pb.AccountList:
        await self.desk.fresh()
        limit = min(request.limit or PAGE_DEFAULT, PAGE_MAX)
        caller, wanted = caller_now.get(), plain(request.search.strip())
        found: list[Account] = []
        for number, account in enumerate(self._asked(request)):
            if number % LOOKED_AT_ONCE == LOOKED_AT_ONCE - 1:
                await asyncio.sleep(0)  # calls are served by the same loop
            if caller.reaches(account) and _is_meant(account, request) and self._is_called(account, wanted):
                found.append(account)
                if len(found) == limit:
                    break
        return pb.AccountList(accounts=[self.desk.show_account(each) for each in found])

    def _asked(self, request: pb.ListAccountsRequest) -> Iterator[Account]:
        """By id in order: the accounts that are named, or all below the one that is."""
        state = self.desk.replica.state
        after = identity("after", ids.ACCOUNT, request.after) if request.after else b""
        parent_id = identity("parent_id", ids.ACCOUNT, request.parent_id) if request.parent_id else EVERYBODY
        if not request.account_ids:
            return (state.accounts[each] for each in self.desk.families.below(state, parent_id, after))
        if len(request.account_ids) > PAGE_MAX:
            invalid(f"account_ids must be at most {PAGE_MAX}")
        named = sorted({identity("account_ids", ids.ACCOUNT, each) for each in request.account_ids})
        known = (state.accounts[each] for each in named if each > after and each in state.accounts)
        return (each for each in known if parent_id == EVERYBODY or is_below(each, parent_id))

    def _is_called(self, account: Account, wanted: str) -> bool:
        """Is this, plain, in its name or id?"""
        if not wanted:
            return True
        name = plain(self.desk.mirror.labels.get(account.account_id, ""))
        return wanted in name or wanted in ids.text(ids.ACCOUNT, account.account_id)

    @answers
    async def GetAccount(self, request: pb.AccountRef) -> pb.Account:
        return self.desk.show_account(await self.desk.account(request.account_id))

    @answers
    async def SuspendAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self.desk.account(request.account_id)
        event = ledger.AccountSuspended(account_id=account.account_id)
        await self.desk.append(account.root_id, ledger.Event(account_suspended=event), already=True)
        return self.desk.show_account(account)

    @answers
    async def ResumeAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self.desk.account(request.account_id)
        event = ledger.AccountResumed(account_id=account.account_id)
        await self.desk.append(account.root_id, ledger.Event(account_resumed=event), already=True)
        return self.desk.show_account(account)
