"""Markups: of an account, and of an account for the models of a pattern."""

import grpc

from core.admin.answers import Rejected, answers
from core.admin.desk import Subject, show_markups
from core.admin.fields import invalid, pattern
from core.ledger.accounts import Account
from core.ledger.patterns import EVERY
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

MARKUP_BPS_MAX = 100_000


class Markups(Subject):
    """What operators do to markups."""

    @answers
    async def SetMarkup(self, request: pb.SetMarkupRequest) -> pb.MarkupList:
        if request.markup_bps > MARKUP_BPS_MAX:
            invalid(f"markup_bps must be at most {MARKUP_BPS_MAX}")
        account = await self.desk.account(request.account_id)
        event = ledger.MarkupSet(
            account_id=account.account_id, pattern=pattern("pattern", request.pattern), markup_bps=request.markup_bps
        )
        await self.desk.append(account.root_id, ledger.Event(markup_set=event), already=True)
        return _listed(account)

    @answers
    async def ClearMarkup(self, request: pb.ClearMarkupRequest) -> pb.MarkupList:
        wanted = pattern("pattern", request.pattern)
        if wanted == EVERY:
            invalid("pattern must not be *: an account has a markup, which may be set to 0")
        account = await self.desk.account(request.account_id)
        if wanted not in account.markups:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"{request.account_id} has no markup for {wanted}")
        event = ledger.MarkupCleared(account_id=account.account_id, pattern=wanted)
        await self.desk.append(account.root_id, ledger.Event(markup_cleared=event), already=True)
        return _listed(account)

    @answers
    async def ListMarkups(self, request: pb.AccountRef) -> pb.MarkupList:
        return _listed(await self.desk.account(request.account_id))


def _listed(account: Account) -> pb.MarkupList:
    return pb.MarkupList(account_id=ids.text(ids.ACCOUNT, account.account_id), markups=show_markups(account))
