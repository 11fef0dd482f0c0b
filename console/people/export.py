"""What is kept of a person, gathered and taken away: their right under KVKK.

Tables are walked, not listed: one that names a person or an account is in the export without being mentioned here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Table as SqlTable
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session as Transaction

from console.invoices.tables import BillingProfile, LowBalance
from console.people.invitations import Invitation
from console.people.standing import ERASED
from console.people.tables import EmailToken, Membership, Person, RecoveryCode, Role, Table, now
from console.people.tables import Session as SignIn

SECRETS = ("hash", "secret", "token", "totp_counter")
"""Columns whose name has one of these are no data of the person, and would let others in."""

Rows = list[dict[str, Any]]


def gather(transaction: Transaction, person: Person) -> dict[str, Rows]:
    """Table → rows that are about the person, or about accounts that they own."""
    accounts = [each.account_id for each in person.memberships if each.role in (Role.OWNER, Role.PARTNER)]
    found: dict[str, Rows] = {}
    for table in Table.metadata.sorted_tables:
        conditions = _conditions(table, person, accounts)
        if conditions:
            rows = transaction.execute(select(table).where(or_(*conditions))).mappings()
            found[str(table.name)] = [_shown(dict(row)) for row in rows]
    return found


def _conditions(table: SqlTable, person: Person, accounts: list[str]) -> list[Any]:
    if table.name == Person.__tablename__:
        return [table.c.id == person.id]
    conditions = []
    for name in ("person_id", "invited_by"):
        if name in table.c:
            conditions.append(table.c[name] == person.id)
    if "email" in table.c:
        conditions.append(table.c.email == person.email)
    if "account_id" in table.c and table.name not in (Membership.__tablename__, Invitation.__tablename__):
        conditions.append(table.c.account_id.in_(accounts))
    return conditions


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if not any(word in name for word in SECRETS)}
    return {str(name): _plain(value) for name, value in kept.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def only_owner_of(transaction: Transaction, person: Person) -> list[str]:
    """Accounts that nobody else looks after."""
    alone = []
    for each in person.memberships:
        if each.role not in (Role.OWNER, Role.PARTNER):
            continue
        others = select(Membership).where(
            Membership.account_id == each.account_id,
            Membership.person_id != person.id,
            Membership.role.in_((Role.OWNER, Role.PARTNER)),
        )
        if transaction.scalars(others.limit(1)).first() is None:
            alone.append(each.account_id)
    return alone


def erase(transaction: Transaction, person_id: str) -> None:
    """Take out name, address, sign-ins and memberships. What is left is an id that payments, invoices and acts name.

    Invoices keep the buyer that they were issued to, and payments their amounts: the law asks for both.
    """
    person = transaction.get_one(Person, person_id, with_for_update=True)
    for table in (SignIn, RecoveryCode, EmailToken):
        transaction.execute(delete(table).where(table.person_id == person.id))
    transaction.execute(delete(Invitation).where(Invitation.email == person.email))
    alone = only_owner_of(transaction, person)
    for kept in (BillingProfile, LowBalance):
        transaction.execute(delete(kept).where(or_(kept.account_id.in_(alone), kept.email == person.email)))
    person.memberships.clear()
    person.email = f"{person.id}{ERASED}"
    person.name = ""
    person.password_hash = "!"
    person.totp_secret = person.totp_since = None
    person.disabled_at = now()
