"""Sign-ins: begun, found again by their cookie, listed, ended."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Transaction

from console.identity.secrets import hash_of, new_token
from console.people.tables import Person, Session, Standing, now

LIFE = timedelta(days=14)
IDLE = timedelta(hours=24)
STRONG_FOR = timedelta(hours=12)
"""How long a second factor counts."""

SEEN_EVERY = timedelta(minutes=1)
PER_PERSON_MAX = 20


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who a request comes from."""

    person: Person
    session: Session

    @property
    def needs_second_factor(self) -> bool:
        """Must a code be given before anything else? Administrators and support always need one."""
        wanted = self.person.totp_since is not None or self.person.standing != Standing.CUSTOMER
        given = self.session.second_factor_at
        return wanted and (given is None or now() - given > STRONG_FOR)


def begin(transaction: Transaction, person: Person, address: str, agent: str) -> str:
    """A new session; its token, which only the cookie has."""
    token = new_token()
    live = select(Session).where(Session.person_id == person.id).order_by(Session.seen_at.desc())
    for old in transaction.scalars(live).all()[PER_PERSON_MAX - 1 :]:
        transaction.delete(old)
    transaction.add(
        Session(
            token_hash=hash_of(token),
            person_id=person.id,
            csrf_token=new_token(),
            expires_at=now() + LIFE,
            address=address[:64],
            agent=agent[:300],
        )
    )
    return token


def find(transaction: Transaction, token: str) -> SignedIn | None:
    """The session of a cookie, when it is still good."""
    session = transaction.get(Session, hash_of(token))
    if session is None:
        return None
    moment = now()
    person = transaction.get(Person, session.person_id)
    if person is None or person.disabled_at is not None or moment >= session.expires_at:
        return None
    if moment - session.seen_at > IDLE:
        return None
    if moment - session.seen_at > SEEN_EVERY:
        session.seen_at = moment
    person.memberships  # noqa: B018 - loaded here: pages read them after the transaction
    return SignedIn(person, session)


def list_of(transaction: Transaction, person: Person) -> list[Session]:
    """All sessions of a person, the latest first."""
    found = select(Session).where(Session.person_id == person.id).order_by(Session.seen_at.desc())
    return list(transaction.scalars(found))


def end(transaction: Transaction, person_id: str, session_id: str) -> bool:
    """End one of a person's sessions; False when it is not theirs."""
    session = transaction.scalars(select(Session).where(Session.id == session_id)).one_or_none()
    if session is None or session.person_id != person_id:
        return False
    transaction.delete(session)
    return True


def end_all(transaction: Transaction, person_id: str, but: str = "") -> None:
    """End all sessions of a person, except the one of id `but`."""
    transaction.execute(delete(Session).where(Session.person_id == person_id, Session.id != but))
