"""People's data in a relational store: names, e-mail, tax ids, sign-ins, payments, invoices. None is in the ledger."""
