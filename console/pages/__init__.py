"""Every page: one module a subject, each with its rows; `ROWS` has them all."""

from console.pages import (
    account,
    accounts,
    admin,
    billing,
    docs,
    entry,
    home,
    invoices,
    keys,
    limits,
    members,
    models,
    partner,
    payments,
    privacy,
    requests,
    tasks,
    usage,
)
from console.web.guards import Row

ROWS: list[Row] = [
    *entry.ROWS,
    *account.ROWS,
    *home.ROWS,
    *keys.ROWS,
    *accounts.ROWS,
    *partner.ROWS,
    *usage.ROWS,
    *limits.ROWS,
    *requests.ROWS,
    *billing.ROWS,
    *payments.ROWS,
    *invoices.ROWS,
    *models.ROWS,
    *tasks.ROWS,
    *members.ROWS,
    *privacy.ROWS,
    *docs.ROWS,
    *admin.ROWS,
]
