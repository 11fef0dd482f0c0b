"""Accounts and their money."""

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import AccountKind, Currency


def opened(account: admin.Account) -> Shape:
    """The answer to `account open`."""
    return {"account_id": account.account_id}


def account(message: admin.Account) -> Shape:
    """One account, its balance included."""
    return {
        "account_id": message.account_id,
        "kind": AccountKind.Name(message.kind).lower().replace("_", "-"),
        "name": message.name,
        "currency": Currency.Name(message.currency),
        "markup_bps": message.markup_bps,
        "requests_per_minute": message.requests_per_minute,
        "requests_per_day": message.requests_per_day,
        "suspended": message.suspended,
        "partition": message.partition,
        "parent_id": message.parent_id,
        "root_id": message.root_id,
        "markups": {markup.pattern: markup.markup_bps for markup in message.markups},
        "blocked_models": list(message.blocked_models),
        **{key: value for key, value in balance(message.balance).items() if key not in ("account_id", "currency")},
    }


def balance(message: admin.Balance) -> Shape:
    """Amounts are decimal strings; `position` is the ledger position they are true of."""
    return {
        "account_id": message.account_id,
        "balance": message.balance,
        "held": message.held,
        "available": message.available,
        "currency": message.currency,
        "position": message.position,
        "credits": message.credits,
        "charges": message.charges,
        "shortfall": message.shortfall,
        "open_holds": message.open_holds,
        "receivable": message.receivable or "0.00",
    }


def credit(message: admin.Credit) -> Shape:
    """`counted` is false when the reference had counted before; then nothing changed."""
    return {
        "account_id": message.account_id,
        "amount": message.amount,
        "reference": message.reference,
        "counted": message.counted,
        "balance": message.balance.balance,
        "available": message.balance.available,
        "currency": message.balance.currency,
        "position": message.balance.position,
    }


def movement(message: admin.Movement) -> Shape:
    """`counted` is false when the reference had counted before; then nothing changed."""
    return {
        "from_account_id": message.from_account_id,
        "to_account_id": message.to_account_id,
        "amount": message.amount,
        "currency": message.from_balance.currency,
        "to_amount": message.to_amount,
        "to_currency": message.to_balance.currency,
        "reference": message.reference,
        "counted": message.counted,
        "from_balance": message.from_balance.balance,
        "to_balance": message.to_balance.balance,
    }


def markups(message: admin.MarkupList) -> Shape:
    """Basis points by pattern; `*` is the account's own."""
    return {
        "account_id": message.account_id,
        "markups": {markup.pattern: markup.markup_bps for markup in message.markups},
    }
