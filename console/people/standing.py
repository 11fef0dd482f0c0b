"""What staff does to people: their standing, whether they may sign in, their second factor.

Whoever acts must be an administrator at the moment of the act, and acts on somebody else: so one is always left, also
when two take each other's standing at the same time.
"""

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session as Transaction

from console.identity import sessions
from console.people import acts
from console.people.tables import Person, RecoveryCode, Standing, now

ERASED = "@erased.invalid"
"""What the address of somebody who was erased ends in."""


class NotAllowed(Exception):
    """Nobody does this to themselves, nor without being an administrator, nor to somebody who was erased."""


def change_standing(transaction: Transaction, actor_id: str, person_id: str, standing: Standing) -> None:
    """What the person may do in the whole console. Raises NotAllowed, NoResultFound."""
    person = _locked(transaction, actor_id, person_id)
    if person.standing != standing:
        person.standing = standing
        acts.record(transaction, actor_id, "person.standing", person_id, standing)


def disable(transaction: Transaction, actor_id: str, person_id: str) -> None:
    """No sign-in any more; those that there are end. Raises NotAllowed, NoResultFound."""
    person = _locked(transaction, actor_id, person_id)
    if person.disabled_at is None:
        person.disabled_at = now()
        sessions.end_all(transaction, person_id)
        acts.record(transaction, actor_id, "person.disabled", person_id)


def enable(transaction: Transaction, actor_id: str, person_id: str) -> None:
    """The person may sign in again. Raises NotAllowed, NoResultFound."""
    person = _locked(transaction, actor_id, person_id)
    if person.disabled_at is not None:
        person.disabled_at = None
        acts.record(transaction, actor_id, "person.enabled", person_id)


def sign_out(transaction: Transaction, actor_id: str, person_id: str) -> None:
    """Ends every sign-in. Raises NotAllowed, NoResultFound."""
    _locked(transaction, actor_id, person_id)
    sessions.end_all(transaction, person_id)
    acts.record(transaction, actor_id, "person.signed_out", person_id)


def reset_second_factor(transaction: Transaction, actor_id: str, person_id: str, reason: str) -> None:
    """The person sets it up anew, after a sign-in with the password. Raises NotAllowed, NoResultFound."""
    person = _locked(transaction, actor_id, person_id)
    person.totp_secret = person.totp_since = None
    transaction.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person_id))
    sessions.end_all(transaction, person_id)
    acts.record(transaction, actor_id, "person.second_factor_reset", person_id, reason)


def is_administrator(person: Person) -> bool:
    """May they act as one now?"""
    return person.standing == Standing.ADMINISTRATOR and person.disabled_at is None


def _locked(transaction: Transaction, actor_id: str, person_id: str) -> Person:
    """Both rows, always in the same order."""
    wanted = select(Person).where(or_(Person.id == actor_id, Person.id == person_id)).order_by(Person.id)
    fresh = wanted.with_for_update().execution_options(populate_existing=True)
    found = {each.id: each for each in transaction.scalars(fresh)}
    if person_id not in found:
        raise NoResultFound
    person = found[person_id]
    if actor_id == person_id or not is_administrator(found[actor_id]) or person.email.endswith(ERASED):
        raise NotAllowed
    return person
