"""Payments as they are kept. Money is whole kuruş; times are UTC; rows are never deleted."""

from datetime import datetime
from enum import StrEnum, unique

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.people.tables import ID_CHARACTERS, Table, new_id, now

ACCOUNT_CHARACTERS = 28
REASON_CHARACTERS_MAX = 200


@unique
class State(StrEnum):
    """Where a payment stands. `failed` and `expired` end when the provider says later that it was paid after all."""

    CREATED = "created"  # the provider has not been told yet
    PENDING = "pending"  # the customer has the provider's page
    PAID = "paid"  # the provider has the money, the ledger does not know yet
    CREDITED = "credited"
    REFUNDED = "refunded"  # all of it went back, by refund or chargeback
    FAILED = "failed"
    EXPIRED = "expired"


OPEN = (State.CREATED, State.PENDING)
WITHOUT_MONEY = (State.CREATED, State.PENDING, State.FAILED, State.EXPIRED)


class Payment(Table):
    """One intent to pay. Its id is the order number at the provider and the reference in the ledger."""

    __tablename__ = "payment"
    __table_args__ = (Index("ix_payment_due", "state", "next_at"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_CHARACTERS), index=True)
    person_id: Mapped[str] = mapped_column(String(ID_CHARACTERS), index=True)
    provider: Mapped[str] = mapped_column(String(20))
    state: Mapped[State] = mapped_column(String(20), default=State.CREATED)
    currency: Mapped[str] = mapped_column(String(3), default="TRY")
    net_kurus: Mapped[int] = mapped_column(BigInteger)
    vat_kurus: Mapped[int] = mapped_column(BigInteger)
    gross_kurus: Mapped[int] = mapped_column(BigInteger)
    vat_bps: Mapped[int]
    returned_kurus: Mapped[int] = mapped_column(BigInteger, default=0)  # gross; of refunds and chargebacks together
    token: Mapped[str | None] = mapped_column(String(200), index=True)  # the provider's, of its page
    page_url: Mapped[str | None] = mapped_column(String(1000))
    provider_payment_id: Mapped[str | None] = mapped_column(String(100), index=True)
    reason: Mapped[str] = mapped_column(String(REASON_CHARACTERS_MAX), default="")  # of a failure
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    credited_at: Mapped[datetime | None]
    next_at: Mapped[datetime] = mapped_column(default=now)  # when a job looks at it again
    attempts: Mapped[int] = mapped_column(default=0)  # in vain, in this state
    refunding_until: Mapped[datetime | None]  # while somebody asks the provider for a refund, nobody else does


class Reversal(Table):
    """Money that went back to the card, and must leave the ledger: one row for each new total at the provider."""

    __tablename__ = "payment_reversal"
    __table_args__ = (
        UniqueConstraint("payment_id", "total_kurus"),
        Index("ix_payment_reversal_due", "reversed_at", "next_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payment.id"), index=True)
    total_kurus: Mapped[int] = mapped_column(BigInteger)  # gross, all that went back until now
    gross_kurus: Mapped[int] = mapped_column(BigInteger)  # of this step
    net_kurus: Mapped[int] = mapped_column(BigInteger)  # of this step: what leaves the ledger
    created_at: Mapped[datetime] = mapped_column(default=now)
    reversed_at: Mapped[datetime | None]
    next_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)


class Incident(Table):
    """Something that a person must look at: a forged call, an amount that differs. Repeats are counted, not added."""

    __tablename__ = "payment_incident"
    __table_args__ = (UniqueConstraint("kind", "subject"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(ID_CHARACTERS))  # a payment's id; empty where there is none
    detail: Mapped[str] = mapped_column(String(REASON_CHARACTERS_MAX), default="")
    count: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime] = mapped_column(default=now)
    last_at: Mapped[datetime] = mapped_column(default=now, index=True)
    closed_at: Mapped[datetime | None]
