"""Administrative acts that touch people's data alone; what touches the ledger stands there with its actor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session as Transaction

from console.people.tables import Act

DETAIL_CHARACTERS_MAX = 1000


def record(transaction: Transaction, person_id: str, what: str, subject: str, detail: str = "") -> None:
    """Keep, with the act itself, that `person_id` did `what` (such as `member.role`) to `subject`, an id.

    `detail` says more without personal data: it outlives the people whom it is about.
    """
    act = Act(person_id=person_id, what=what, subject=subject, detail=detail[:DETAIL_CHARACTERS_MAX])
    transaction.add(act)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which acts are asked for: within a time, before an act (its id), and of one person, kind, subject if given."""

    first: datetime
    end: datetime
    limit: int
    before: str = ""
    person_id: str = ""
    what: str = ""
    subject: str = ""


def newest(transaction: Transaction, wanted: Wanted) -> Sequence[Act]:
    """The latest first."""
    query = select(Act).where(Act.at >= wanted.first, Act.at < wanted.end)
    given = ((Act.person_id, wanted.person_id), (Act.what, wanted.what), (Act.subject, wanted.subject))
    query = query.where(*(column == value for column, value in given if value))
    last = transaction.get(Act, wanted.before) if wanted.before else None
    if last is not None:
        query = query.where(or_(Act.at < last.at, and_(Act.at == last.at, Act.id < last.id)))
    return transaction.scalars(query.order_by(Act.at.desc(), Act.id.desc()).limit(wanted.limit)).all()
