"""The ledger's state machine: pure, total, deterministic. See README.md in this folder."""
