"""What a person must look at. It is kept, counted, logged as an error, and shown by the metrics."""

from prometheus_client import Counter
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Transaction

from console.payments.tables import REASON_CHARACTERS_MAX, Incident
from console.people.store import Store
from console.people.tables import now
from runtime.log import log

INCIDENTS = Counter("onysoft_payment_incidents_total", "What somebody must look at in payments and invoices", ["kind"])


def report(store: Store, kind: str, subject: str = "", detail: str = "") -> None:
    """Keep it: one row for each kind and payment, so that a flood of forged calls stays one row."""
    INCIDENTS.labels(kind).inc()
    log.error("payment.incident", kind=kind, payment=subject, detail=detail)
    with store.transaction() as transaction:
        _keep(transaction, kind, subject, detail[:REASON_CHARACTERS_MAX])


def _keep(transaction: Transaction, kind: str, subject: str, detail: str) -> None:
    dialect = transaction.get_bind().dialect.name
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(Incident)
    first = insert.values(kind=kind, subject=subject, detail=detail)
    again = {"count": Incident.count + 1, "last_at": now(), "detail": detail, "closed_at": None}
    transaction.execute(first.on_conflict_do_update(index_elements=["kind", "subject"], set_=again))
