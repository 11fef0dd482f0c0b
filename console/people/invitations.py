"""Invitations to an account, by e-mail. Only the hash of a link's token is kept; it is good once, for its address."""

from datetime import datetime, timedelta

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm import Session as Transaction

from console.identity.secrets import hash_of, new_token
from console.people.tables import (
    EMAIL_CHARACTERS_MAX,
    ID_CHARACTERS,
    Membership,
    Person,
    Role,
    Table,
    new_id,
    now,
)

LIFE = timedelta(days=7)
WAITING_MAX = 20
"""Invitations of one account that wait at a time."""


class Invitation(Table):
    """Somebody was asked to join an account."""

    __tablename__ = "invitation"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), unique=True, default=new_id)  # how lists name it
    account_id: Mapped[str] = mapped_column(String(28), index=True)
    email: Mapped[str] = mapped_column(String(EMAIL_CHARACTERS_MAX), index=True)  # lower case
    role: Mapped[Role] = mapped_column(String(20))
    invited_by: Mapped[str] = mapped_column(String(ID_CHARACTERS))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class TooManyInvitations(Exception):
    """WAITING_MAX wait already."""


def invite(transaction: Transaction, account_id: str, email: str, role: Role, invited_by: str) -> str:
    """A new invitation's token; an earlier one of the same address no longer works. Raises TooManyInvitations."""
    transaction.execute(
        delete(Invitation).where(
            Invitation.account_id == account_id, (Invitation.email == email) | (Invitation.expires_at < now())
        )
    )
    if len(waiting(transaction, account_id)) >= WAITING_MAX:
        raise TooManyInvitations
    token = new_token()
    row = Invitation(
        token_hash=hash_of(token),
        account_id=account_id,
        email=email,
        role=role,
        invited_by=invited_by,
        expires_at=now() + LIFE,
    )
    transaction.add(row)
    return token


def waiting(transaction: Transaction, account_id: str) -> list[Invitation]:
    """Those that can still be accepted, the oldest first."""
    found = select(Invitation).where(Invitation.account_id == account_id, Invitation.expires_at >= now())
    return list(transaction.scalars(found.order_by(Invitation.created_at)))


def find(transaction: Transaction, token: str, person: Person) -> Invitation | None:
    """The invitation of a link, when it is for this person and still good."""
    row = transaction.get(Invitation, hash_of(token))
    return row if row is not None and row.email == person.email and now() < row.expires_at else None


def accept(transaction: Transaction, token: str, person_id: str) -> str | None:
    """The account that the person now is a member of; None when the link is not good for them. It is good once."""
    person = transaction.get_one(Person, person_id, with_for_update=True)
    row = find(transaction, token, person)
    if row is None:
        return None
    held = transaction.get(Membership, (person.id, row.account_id))
    if held is None:
        person.memberships.append(Membership(account_id=row.account_id, role=row.role))
    transaction.delete(row)
    return row.account_id
