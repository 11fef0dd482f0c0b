"""Invoice numbers without gap or duplicate: three letters, the year, nine digits.

A number is taken in the transaction that keeps its invoice, under a lock on its series. So a rolled back or killed
transaction gives the number back, and numbers and times of a series rise together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Transaction

from console.invoices.tables import InvoiceSeries
from console.people.tables import now
from console.web.language import ISTANBUL

SEQUENCE_MAX = 999_999_999
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Number:
    """One number and its time, in Istanbul's."""

    series: str
    year: int
    sequence: int
    issued_at: datetime

    def __str__(self) -> str:
        return f"{self.series}{self.year}{self.sequence:09d}"


def lock(transaction: Transaction, series: str) -> InvoiceSeries:
    """The counter of a series; others wait for it until the transaction ends."""
    dialect = transaction.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    values = {"series": series, "year": 0, "last": 0, "last_at": _BEGINNING}
    transaction.execute(insert(InvoiceSeries).values(values).on_conflict_do_nothing())
    return transaction.get_one(InvoiceSeries, series, with_for_update=True, populate_existing=True)


def take(counter: InvoiceSeries) -> Number:
    """The next number of a locked counter. Each year begins at 1."""
    issued_at = max(now(), counter.last_at).astimezone(ISTANBUL).replace(microsecond=0)
    if issued_at.year != counter.year:
        counter.year, counter.last = issued_at.year, 0
    assert counter.last < SEQUENCE_MAX
    counter.last, counter.last_at = counter.last + 1, issued_at
    return Number(counter.series, counter.year, counter.last, issued_at)
