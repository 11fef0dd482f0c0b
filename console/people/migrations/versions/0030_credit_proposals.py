"""Credits by hand, and one refund of a payment at a time.

Revision ID: 0030
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and the column."""
    op.create_table(
        "credit_proposal",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("form_id", sa.String(32), nullable=False, unique=True),
        sa.Column("account_id", sa.String(28), nullable=False, index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_kurus", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("proposed_by", sa.String(32), nullable=False, index=True),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("decided_by", sa.String(32), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.String(200), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
    )
    op.create_index("ix_credit_proposal_due", "credit_proposal", ["state", "next_at"])
    with op.batch_alter_table("payment") as payment:
        payment.add_column(sa.Column("refunding_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("payment") as payment:
        payment.drop_column("refunding_until")
    op.drop_table("credit_proposal")
