"""Administrative acts that touch people's data alone; what touches the ledger stands there with its actor."""

from sqlalchemy.orm import Session as Transaction

from console.people.tables import Act

DETAIL_CHARACTERS_MAX = 1000


def record(transaction: Transaction, person_id: str, what: str, subject: str, detail: str = "") -> None:
    """Keep, with the act itself, that `person_id` did `what` (such as `member.role`) to `subject`, an id.

    `detail` says more without personal data: it outlives the people whom it is about.
    """
    act = Act(person_id=person_id, what=what, subject=subject, detail=detail[:DETAIL_CHARACTERS_MAX])
    transaction.add(act)
