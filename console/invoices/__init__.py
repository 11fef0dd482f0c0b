"""Invoices: who is invoiced, the document and its numbers, and the way to the tax administration."""
