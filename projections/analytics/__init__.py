"""The analytics store: ClickHouse tables that equal the ledger. See README.md in this folder."""
