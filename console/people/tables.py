"""What is kept of people: SQLAlchemy models. `migrations/` makes the tables; a test compares the two.

Times are UTC. Ids of people are random text; accounts are the ledger's `acc_…`. Money is whole kuruş.
"""

import secrets
from datetime import UTC, datetime
from enum import StrEnum, unique

from sqlalchemy import DateTime, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

ID_CHARACTERS = 32
EMAIL_CHARACTERS_MAX = 254
NAME_CHARACTERS_MAX = 200


def new_id() -> str:
    """A random id."""
    return secrets.token_hex(ID_CHARACTERS // 2)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, on stores that keep a zone and on those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """Every table of the console."""

    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012 - SQLAlchemy's own way of stating it


@unique
class Standing(StrEnum):
    """What a person may do in the whole console. Customers and partners get their rights from memberships."""

    CUSTOMER = "customer"
    SUPPORT = "support"  # reads everything, changes nothing
    ADMINISTRATOR = "administrator"


@unique
class Role(StrEnum):
    """What a person may do with one account of the ledger."""

    OWNER = "owner"
    MEMBER = "member"  # everything but people, payments and invoices
    PARTNER = "partner"  # the account is a partner's; everything below it too


class Person(Table):
    """Somebody who can sign in."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(String(EMAIL_CHARACTERS_MAX), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS_MAX))
    password_hash: Mapped[str] = mapped_column(String(200))
    standing: Mapped[Standing] = mapped_column(String(20), default=Standing.CUSTOMER)
    language: Mapped[str] = mapped_column(String(2), default="tr")
    created_at: Mapped[datetime] = mapped_column(default=now)
    verified_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    totp_secret: Mapped[str | None] = mapped_column(String(200))  # encrypted; not in force before totp_since
    totp_since: Mapped[datetime | None]
    totp_counter: Mapped[int] = mapped_column(default=0)  # the last time step that was used: a code counts once

    memberships: Mapped[list["Membership"]] = relationship(back_populates="person", cascade="all, delete-orphan")


class Membership(Table):
    """A person's role on an account of the ledger."""

    __tablename__ = "membership"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(28), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(default=now)

    person: Mapped[Person] = relationship(back_populates="memberships")


class Session(Table):
    """One sign-in. The cookie holds a token; only its hash is kept."""

    __tablename__ = "session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), unique=True, default=new_id)  # how lists name it
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(300))
    second_factor_at: Mapped[datetime | None]


class RecoveryCode(Table):
    """A one-time code for somebody who has lost the second factor. Only its hash is kept."""

    __tablename__ = "recovery_code"
    __table_args__ = (UniqueConstraint("person_id", "code_hash"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64))


class EmailToken(Table):
    """What an e-mailed link proves: that its reader reads the address. Used once; only its hash is kept."""

    __tablename__ = "email_token"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(20))  # verify, reset
    expires_at: Mapped[datetime]


class Throttle(Table):
    """Failed attempts of one kind under one name, such as sign-ins of an e-mail address, in one window of time."""

    __tablename__ = "throttle"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    window: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    failures: Mapped[int] = mapped_column(default=0)


class Act(Table):
    """One administrative act as the console saw it; what touched the ledger stands there too, with the actor's id."""

    __tablename__ = "act"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    person_id: Mapped[str] = mapped_column(String(ID_CHARACTERS), index=True)
    what: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(100))
    detail: Mapped[str] = mapped_column(String(1000), default="")
