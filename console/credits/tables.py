"""Credits by hand as they are kept. Money is whole kuruş, or cents; times are UTC; rows are never deleted."""

from datetime import datetime
from enum import StrEnum, unique

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from console.people.tables import ID_CHARACTERS, Table, new_id, now

ACCOUNT_CHARACTERS = 28
REASON_CHARACTERS_MAX = 200


@unique
class Kind(StrEnum):
    """What is done to the balance."""

    CREDIT = "credit"
    REVERSAL = "reversal"  # what is free is taken, the rest becomes a receivable


@unique
class State(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"  # a second administrator must approve
    APPROVED = "approved"  # the ledger does not know yet
    DECLINED = "declined"
    DONE = "done"


class Proposal(Table):
    """One credit by hand, or one taken back. Its id is the reference in the ledger."""

    __tablename__ = "credit_proposal"
    __table_args__ = (Index("ix_credit_proposal_due", "state", "next_at"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    form_id: Mapped[str] = mapped_column(String(ID_CHARACTERS), unique=True)  # a form that is sent twice counts once
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_CHARACTERS), index=True)
    kind: Mapped[Kind] = mapped_column(String(20))
    currency: Mapped[str] = mapped_column(String(3))
    amount_kurus: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(REASON_CHARACTERS_MAX))
    state: Mapped[State] = mapped_column(String(20))
    proposed_by: Mapped[str] = mapped_column(String(ID_CHARACTERS), index=True)
    proposed_at: Mapped[datetime] = mapped_column(default=now, index=True)
    decided_by: Mapped[str | None] = mapped_column(String(ID_CHARACTERS))  # None below the bound: nobody had to
    decided_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    problem: Mapped[str] = mapped_column(String(REASON_CHARACTERS_MAX), default="")  # of the last attempt in vain
    next_at: Mapped[datetime] = mapped_column(default=now)  # when the job tries
    attempts: Mapped[int] = mapped_column(default=0)
