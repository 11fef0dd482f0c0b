"""Accounts: opened, credited, suspended, shown."""

from core.admin.answers import answers
from core.admin.desk import Subject
from core.admin.fields import amount, identity, invalid, limit, text
from core.ledger.money import MAX_NANO, to_text
from core.ledger.outcome import Code
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

MARKUP_BPS_DEFAULT = 5_000
MARKUP_BPS_MAX = 100_000
REQUESTS_PER_MINUTE_DEFAULT = 60
REQUESTS_PER_DAY_DEFAULT = 10_000
PAGE_DEFAULT = 100
PAGE_MAX = 1_000

_OPENABLE = (ledger.USER, ledger.PROJECT)


class Accounts(Subject):
    """What operators do to accounts."""

    @answers
    async def OpenAccount(self, request: pb.OpenAccountRequest) -> pb.Account:
        name = text("name", request.name)
        if request.kind not in _OPENABLE:
            invalid("kind must be user or project")
        event = ledger.AccountOpened(
            account_id=ids.mint(),
            kind=request.kind,
            currency=request.currency or ledger.TRY,
            markup_bps=request.markup_bps if request.HasField("markup_bps") else MARKUP_BPS_DEFAULT,
            requests_per_minute=limit(request, "requests_per_minute", REQUESTS_PER_MINUTE_DEFAULT),
            requests_per_day=limit(request, "requests_per_day", REQUESTS_PER_DAY_DEFAULT),
        )
        if event.currency not in (ledger.TRY, ledger.USD):
            invalid("currency must be TRY or USD")
        if event.markup_bps > MARKUP_BPS_MAX:
            invalid(f"markup_bps must be at most {MARKUP_BPS_MAX}")
        await self.desk.append(event.account_id, ledger.Event(account_opened=event))
        await self.desk.label(event.account_id, name)
        return self.desk.show_account(self.desk.replica.state.accounts[event.account_id], name)

    @answers
    async def ListAccounts(self, request: pb.ListAccountsRequest) -> pb.AccountList:
        await self.desk.fresh()
        after = identity("after", ids.ACCOUNT, request.after) if request.after else b""
        limit = min(request.limit or PAGE_DEFAULT, PAGE_MAX)
        found = sorted(account_id for account_id in self.desk.replica.state.accounts if account_id > after)[:limit]
        return pb.AccountList(accounts=[self.desk.show_account(self.desk.replica.state.accounts[one]) for one in found])

    @answers
    async def GetAccount(self, request: pb.AccountRef) -> pb.Account:
        return self.desk.show_account(await self.desk.account(request.account_id))

    @answers
    async def SuspendAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self.desk.account(request.account_id)
        event = ledger.AccountSuspended(account_id=account.account_id)
        await self.desk.append(account.account_id, ledger.Event(account_suspended=event), already=True)
        return self.desk.show_account(account)

    @answers
    async def ResumeAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self.desk.account(request.account_id)
        event = ledger.AccountResumed(account_id=account.account_id)
        await self.desk.append(account.account_id, ledger.Event(account_resumed=event), already=True)
        return self.desk.show_account(account)

    @answers
    async def CreditAccount(self, request: pb.CreditAccountRequest) -> pb.Credit:
        amount_nano = amount("amount", request.amount)
        reference = text("reference", request.reference)
        account = await self.desk.account(request.account_id)
        if account.credits_nano + amount_nano > MAX_NANO:
            invalid("amount is too large: the account's credits would exceed what can be counted")
        event = ledger.CreditAdded(account_id=account.account_id, amount_nano=amount_nano, reference=reference)
        code = await self.desk.append(account.account_id, ledger.Event(credit_added=event), already=True)
        return pb.Credit(
            account_id=request.account_id,
            amount=to_text(amount_nano),
            reference=reference,
            counted=code is not Code.EXISTS,
            balance=self.desk.show_balance(account),
        )

    @answers
    async def GetBalance(self, request: pb.AccountRef) -> pb.Balance:
        return self.desk.show_balance(await self.desk.account(request.account_id))
