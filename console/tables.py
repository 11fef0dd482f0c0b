"""Every table of the console, of all packages, for migrations and tests."""

from console.credits import tables as credits
from console.invoices import tables as invoices
from console.payments import tables as payments
from console.people import invitations
from console.people.tables import Table

__all__ = ["METADATA", "credits", "invitations", "invoices", "payments"]

METADATA = Table.metadata
