"""`onysoft account …`, `balance`."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.session import Session
from cli.shapes import Shape
from cli.shapes import accounts as shapes
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import AccountKind, Currency

accounts = typer.Typer(help="Accounts of all kinds, and their money.")

_ACCOUNT_COLUMNS = ("account_id", "name", "kind", "currency", "balance", "held", "available", "suspended")
_PAGE = 500

AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="acc_ and 24 hex digits")]


class Kind(StrEnum):
    """Kinds of account. Projects belong to an organisation; a partner's projects and customers to the partner."""

    user = "user"
    organisation = "organisation"
    project = "project"
    partner = "partner"
    partner_project = "partner-project"
    partner_customer = "partner-customer"


class Money(StrEnum):
    """Currencies of accounts."""

    TRY = "TRY"
    USD = "USD"


@accounts.command("open")
def open_account(
    context: typer.Context,
    kind: Annotated[Kind, typer.Option(help="what kind of account")],
    name: Annotated[str, typer.Option(help="what people call it; not part of the ledger")],
    parent: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="the organisation or partner that it belongs to")
    ] = None,
    markup_bps: Annotated[
        int | None, typer.Option(min=0, help="basis points  [default: 5000; 3000 for a partner's customer]")
    ] = None,
    currency: Annotated[Money | None, typer.Option(help="[default: TRY; USD for a partner and its projects]")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="0: no limit  [default: 60]")] = None,
    requests_per_day: Annotated[int | None, typer.Option(min=0, help="0: no limit  [default: 10000]")] = None,
) -> None:
    """Open an account."""
    session: Session = context.obj
    request = admin.OpenAccountRequest(kind=AccountKind.Value(kind.name.upper()), name=name, parent_id=parent or "")
    if currency is not None:
        request.currency = Currency.Value(currency.value)
    limits = {
        "markup_bps": markup_bps,
        "requests_per_minute": requests_per_minute,
        "requests_per_day": requests_per_day,
    }
    for field, value in limits.items():
        if value is not None:
            setattr(request, field, value)
    session.show(shapes.opened(session.call("OpenAccount", request)), "account opened")


@accounts.command("credit")
def credit(
    context: typer.Context,
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="decimal, in the account's currency")],
    reference: Annotated[str, typer.Option(help="what this money is; counts once for each account")],
    reason: Annotated[str, typer.Option(help="why, for the audit; stands in the ledger for good")] = "",
) -> None:
    """Add money to an account."""
    session: Session = context.obj
    request = admin.CreditAccountRequest(account_id=account, amount=amount, reference=reference, reason=reason)
    shape = shapes.credit(session.call("CreditAccount", request))
    session.show(shape, "credited" if shape["counted"] else "this reference had counted before; nothing changed")


@accounts.command("reverse")
def reverse(
    context: typer.Context,
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="decimal, in the account's currency")],
    reference: Annotated[str, typer.Option(help="what this refund is; counts once for each account")],
) -> None:
    """Take money back: a refund or a chargeback. What is not free any more stands as a receivable."""
    session: Session = context.obj
    request = admin.ReverseCreditRequest(account_id=account, amount=amount, reference=reference)
    shape = shapes.credit(session.call("ReverseCredit", request))
    session.show(shape, "reversed" if shape["counted"] else "this reference had counted before; nothing changed")


@accounts.command("move")
def move(
    context: typer.Context,
    giver: Annotated[str, typer.Argument(metavar="FROM", help="the account that gives")],
    taker: Annotated[str, typer.Argument(metavar="TO", help="the account that gets, of the same partner")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="decimal, in the giving account's currency")],
    reference: Annotated[str, typer.Option(help="what this is; counts once for each giving account")],
) -> None:
    """Move money within a partner or organisation, at the logged exchange rate."""
    session: Session = context.obj
    request = admin.MoveCreditRequest(from_account_id=giver, to_account_id=taker, amount=amount, reference=reference)
    shape = shapes.movement(session.call("MoveCredit", request))
    session.show(shape, "moved" if shape["counted"] else "this reference had counted before; nothing changed")


@accounts.command("show")
def show_account(context: typer.Context, account: AccountArgument) -> None:
    """Show an account and its balance."""
    session: Session = context.obj
    session.show(shapes.account(session.call("GetAccount", admin.AccountRef(account_id=account))))


@accounts.command("list")
def list_accounts(
    context: typer.Context,
    below: Annotated[str, typer.Option(metavar="ACCOUNT", help="only what is below a partner or organisation")] = "",
    search: Annotated[str, typer.Option(help="only those with this in their name or id")] = "",
) -> None:
    """List accounts."""
    session: Session = context.obj
    found: list[Shape] = []
    after = ""
    while True:
        request = admin.ListAccountsRequest(limit=_PAGE, after=after, parent_id=below, search=search)
        page = session.call("ListAccounts", request).accounts
        found += [shapes.account(account) for account in page]
        if len(page) < _PAGE:
            break
        after = page[-1].account_id
    session.show_all("accounts", found, _ACCOUNT_COLUMNS)


@accounts.command("suspend")
def suspend(context: typer.Context, account: AccountArgument) -> None:
    """Refuse all calls of an account from now on."""
    session: Session = context.obj
    session.show(shapes.account(session.call("SuspendAccount", admin.AccountRef(account_id=account))), "suspended")


@accounts.command("resume")
def resume(context: typer.Context, account: AccountArgument) -> None:
    """Admit calls of an account again."""
    session: Session = context.obj
    session.show(shapes.account(session.call("ResumeAccount", admin.AccountRef(account_id=account))), "resumed")


def balance(
    context: typer.Context,
    account: AccountArgument,
    at: Annotated[str, typer.Option(metavar="POSITION|TIME", help="as it was after a ledger position or moment")] = "",
) -> None:
    """Show what an account has, holds and can spend; with --at, from the log, what it had."""
    session: Session = context.obj
    if at:
        from cli.history import balance_at

        return session.show(balance_at(session, account, at))
    return session.show(shapes.balance(session.call("GetBalance", admin.AccountRef(account_id=account))))
