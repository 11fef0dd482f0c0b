"""Money of accounts: paid in, taken back, moved, shown."""

import grpc

from core.admin.answers import Rejected, answers
from core.admin.callers import Access, caller_now
from core.admin.desk import Subject
from core.admin.fields import amount, invalid, text
from core.ledger.accounts import Account
from core.ledger.money import MAX_NANO, NANO, to_text
from core.ledger.outcome import Code
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.personal import has_personal_data


class Money(Subject):
    """What operators do to balances. A reference counts once for each account."""

    @answers
    async def CreditAccount(self, request: pb.CreditAccountRequest) -> pb.Credit:
        amount_nano = amount("amount", request.amount)
        reference = text("reference", request.reference)
        reason = text("reason", request.reason) if request.reason else ""
        approved_by = text("approved_by", request.approved_by) if request.approved_by else ""
        account = await self.desk.account(request.account_id)
        if caller_now.get().access is Access.ADMINISTER:
            self._check_by_hand(amount_nano, reason, approved_by)
        if account.credits_nano + amount_nano > MAX_NANO:
            invalid("amount is too large: the account's credits would exceed what can be counted")
        event = ledger.CreditAdded(
            account_id=account.account_id,
            amount_nano=amount_nano,
            reference=reference,
            reason=reason,
            approved_by=approved_by,
        )
        code = await self.desk.append(account.root_id, ledger.Event(credit_added=event), already=True)
        return self._credit(request.account_id, account, amount_nano, reference, code)

    def _check_by_hand(self, amount_nano: int, reason: str, approved_by: str) -> None:
        """Whoever gives away the house's money says why, and beyond a bound not alone."""
        text("reason", reason)
        if has_personal_data(reason):
            invalid("reason must not have personal data, such as an e-mail address or a tax id: it stays in the ledger")
        if approved_by == caller_now.get().actor:
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, "approved_by must be somebody other than who credits")
        bound_nano = self.desk.manual_credit_bound_nano
        if amount_nano > bound_nano and not approved_by:
            message = f"a credit by hand of more than {to_text(bound_nano)} needs a second person: approved_by"
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, message)

    @answers
    async def ReverseCredit(self, request: pb.ReverseCreditRequest) -> pb.Credit:
        amount_nano = amount("amount", request.amount)
        reference = text("reference", request.reference)
        account = await self.desk.account(request.account_id)
        event = ledger.CreditReversed(account_id=account.account_id, amount_nano=amount_nano, reference=reference)
        code = await self.desk.append(account.root_id, ledger.Event(credit_reversed=event), already=True)
        return self._credit(request.account_id, account, amount_nano, reference, code)

    def _credit(self, account_id: str, account: Account, amount_nano: int, reference: str, code: Code) -> pb.Credit:
        return pb.Credit(
            account_id=account_id,
            amount=to_text(amount_nano),
            reference=reference,
            counted=code is not Code.EXISTS,
            balance=self.desk.show_balance(account),
        )

    @answers
    async def MoveCredit(self, request: pb.MoveCreditRequest) -> pb.Movement:
        amount_nano = amount("amount", request.amount)
        reference = text("reference", request.reference)
        giver = await self.desk.account(request.from_account_id, "from_account_id")
        taker = await self.desk.account(request.to_account_id, "to_account_id")
        if giver is taker:
            invalid("to_account_id must be another account")
        if giver.root_id != taker.root_id:
            invalid("to_account_id must belong to the same partner or organisation as from_account_id")
        to_amount_nano = self._converted(amount_nano, giver.currency, taker.currency)
        if not 0 < to_amount_nano <= MAX_NANO - taker.credits_nano:
            invalid("amount is too small or too large in the receiving account's currency")
        event = ledger.CreditMoved(
            from_account_id=giver.account_id,
            to_account_id=taker.account_id,
            amount_nano=amount_nano,
            to_amount_nano=to_amount_nano,
            reference=reference,
        )
        code = await self.desk.append(giver.root_id, ledger.Event(credit_moved=event), already=True)
        return pb.Movement(
            from_account_id=request.from_account_id,
            to_account_id=request.to_account_id,
            amount=to_text(amount_nano),
            to_amount=to_text(to_amount_nano),
            reference=reference,
            counted=code is not Code.EXISTS,
            from_balance=self.desk.show_balance(giver),
            to_balance=self.desk.show_balance(taker),
        )

    def _converted(self, amount_nano: int, base: int, quote: int) -> int:
        """At the rate that is logged now, rounded down: nothing is made out of a conversion."""
        if base == quote:
            return amount_nano
        rate_nano = self.desk.replica.state.fx_rates.get((ledger.USD, ledger.TRY))
        if rate_nano is None:
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, "no exchange rate has been set: onysoft fx set USD …")
        return amount_nano * rate_nano // NANO if base == ledger.USD else amount_nano * NANO // rate_nano

    @answers
    async def GetBalance(self, request: pb.AccountRef) -> pb.Balance:
        return self.desk.show_balance(await self.desk.account(request.account_id))
