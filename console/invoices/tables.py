"""Who is invoiced, and what was. Money is whole kuruş; times are UTC; invoices are never deleted."""

from datetime import datetime
from enum import StrEnum, unique

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.people.tables import EMAIL_CHARACTERS_MAX, ID_CHARACTERS, NAME_CHARACTERS_MAX, Table, new_id, now

ACCOUNT_CHARACTERS = 28
REASON_CHARACTERS_MAX = 500


@unique
class BuyerKind(StrEnum):
    """Whom an invoice is for."""

    PERSON = "person"
    COMPANY = "company"


@unique
class Kind(StrEnum):
    """What an invoice is."""

    SALE = "sale"
    RETURN = "return"


@unique
class State(StrEnum):
    """Where an invoice stands. Its number and text are final from the first of these on."""

    ISSUED = "issued"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class BillingProfile(Table):
    """Who is invoiced for an account's top-ups. An invoice keeps its own copy."""

    __tablename__ = "billing_profile"

    account_id: Mapped[str] = mapped_column(String(ACCOUNT_CHARACTERS), primary_key=True)
    kind: Mapped[BuyerKind] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS_MAX))
    tax_id: Mapped[str] = mapped_column(String(11), default="")  # VKN of a company, TCKN of a person; may be empty
    tax_office: Mapped[str] = mapped_column(String(100), default="")
    email: Mapped[str] = mapped_column(String(EMAIL_CHARACTERS_MAX))
    phone: Mapped[str] = mapped_column(String(20))
    address: Mapped[str] = mapped_column(String(300))
    district: Mapped[str] = mapped_column(String(100))
    city: Mapped[str] = mapped_column(String(100))
    updated_at: Mapped[datetime] = mapped_column(default=now)


class InvoiceSeries(Table):
    """The counter of a series: the last number of its year. Locked while the next one is taken."""

    __tablename__ = "invoice_series"

    series: Mapped[str] = mapped_column(String(3), primary_key=True)
    year: Mapped[int]
    last: Mapped[int]
    last_at: Mapped[datetime]


class Invoice(Table):
    """One invoice with its text. `cause` is what it is for, and keeps it from being issued twice."""

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("series", "year", "sequence"),
        Index("ix_invoice_due", "state", "next_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_CHARACTERS), index=True)
    cause: Mapped[str] = mapped_column(String(60), unique=True)
    payment_id: Mapped[str | None] = mapped_column(String(ID_CHARACTERS), index=True)
    kind: Mapped[Kind] = mapped_column(String(20))
    returns_id: Mapped[str | None] = mapped_column(ForeignKey("invoice.id"))
    series: Mapped[str] = mapped_column(String(3))
    year: Mapped[int]
    sequence: Mapped[int]
    number: Mapped[str] = mapped_column(String(16), unique=True)
    ettn: Mapped[str] = mapped_column(String(36), unique=True)
    profile: Mapped[str] = mapped_column(String(20))  # TEMELFATURA, EARSIVFATURA
    alias: Mapped[str] = mapped_column(String(200), default="")  # the buyer's mailbox at the tax administration
    issued_at: Mapped[datetime] = mapped_column(index=True)
    net_kurus: Mapped[int] = mapped_column(BigInteger)
    vat_kurus: Mapped[int] = mapped_column(BigInteger)
    gross_kurus: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[str] = mapped_column(Text)  # JSON of `document.Document`
    xml: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[State] = mapped_column(String(20), default=State.ISSUED)
    reason: Mapped[str] = mapped_column(String(REASON_CHARACTERS_MAX), default="")
    next_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)


class LowBalance(Table):
    """An account's wish to be told when little is left. Told once for each time it falls below."""

    __tablename__ = "low_balance"

    account_id: Mapped[str] = mapped_column(String(ACCOUNT_CHARACTERS), primary_key=True)
    threshold_kurus: Mapped[int] = mapped_column(BigInteger)
    email: Mapped[str] = mapped_column(String(EMAIL_CHARACTERS_MAX))
    language: Mapped[str] = mapped_column(String(2), default="tr")
    is_below: Mapped[bool] = mapped_column(default=False)
    told_at: Mapped[datetime | None]
    next_at: Mapped[datetime] = mapped_column(default=now, index=True)
