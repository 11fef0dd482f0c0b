"""Alembic's entry: migrates over the connection that the store hands over."""

from alembic import context

from console import tables

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7260541)")  # one process migrates, others wait
context.configure(connection=connection, target_metadata=tables.METADATA, render_as_batch=True)
context.run_migrations()
