"""Top-up by card: intents, providers, and the one way from a payment to a credit in the ledger."""
