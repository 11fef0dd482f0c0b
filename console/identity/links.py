"""E-mailed links: verify an address, reset a password."""

from datetime import timedelta
from enum import StrEnum, unique

from sqlalchemy import delete
from sqlalchemy.orm import Session as Transaction

from console.identity.secrets import hash_of, new_token
from console.people.tables import EmailToken, Person, now


@unique
class Purpose(StrEnum):
    """What a link is for."""

    VERIFY = "verify"
    RESET = "reset"


LIVES = {Purpose.VERIFY: timedelta(days=2), Purpose.RESET: timedelta(hours=1)}


def issue(transaction: Transaction, person: Person, purpose: Purpose) -> str:
    """A new link's token; earlier ones of the same purpose no longer work."""
    transaction.execute(delete(EmailToken).where(EmailToken.person_id == person.id, EmailToken.purpose == purpose))
    token = new_token()
    row = EmailToken(token_hash=hash_of(token), person_id=person.id, purpose=purpose, expires_at=now() + LIVES[purpose])
    transaction.add(row)
    return token


def redeem(transaction: Transaction, token: str, purpose: Purpose) -> Person | None:
    """Whose link it is, once; None when it is unknown, used or too old."""
    row = transaction.get(EmailToken, hash_of(token))
    if row is None or row.purpose != purpose:
        return None
    transaction.delete(row)
    return transaction.get(Person, row.person_id) if now() < row.expires_at else None
