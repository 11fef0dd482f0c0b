"""Proofs for operators and customers: archive, statements, time travel, reconciliation. See docs/operations.md."""
