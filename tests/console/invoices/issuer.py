"""Issues an invoice for every payment and writes a line for each, until done or killed: `issuer.py DSN`."""

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from console.invoices.integrator import Folder
from console.invoices.office import Office
from console.payments.tables import Payment
from console.people.store import Store
from runtime.settings import Settings

SETTINGS = Settings(
    seller_tax_id="1234567808",
    seller_name="Onysoft Deneme A.Ş.",
    seller_tax_office="Maslak",
    seller_address="Büyükdere Cad. 1",
    seller_district="Sarıyer",
    seller_city="İstanbul",
)
THREADS = 8


def issue_all(store: Store) -> None:
    """All of them, from several threads at once."""
    office = Office(SETTINGS, store, Folder(Path("nowhere")))
    with store.transaction() as transaction:
        ids = [each.id for each in transaction.query(Payment).all()]
    with ThreadPoolExecutor(THREADS) as pool:
        for done in as_completed([pool.submit(office.invoice_payment, each) for each in ids]):
            sys.stdout.write(f"{done.result()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    issue_all(Store(sys.argv[1]))
