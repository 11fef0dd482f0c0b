"""Payments, invoices, and who is invoiced."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "billing_profile",
        sa.Column("account_id", sa.String(length=28), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("tax_id", sa.String(length=11), nullable=False),
        sa.Column("tax_office", sa.String(length=100), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("district", sa.String(length=100), nullable=False),
        sa.Column("city", sa.String(length=100), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=28), nullable=False),
        sa.Column("cause", sa.String(length=60), nullable=False),
        sa.Column("payment_id", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("returns_id", sa.String(length=32), nullable=True),
        sa.Column("series", sa.String(length=3), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("ettn", sa.String(length=36), nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("net_kurus", sa.BigInteger(), nullable=False),
        sa.Column("vat_kurus", sa.BigInteger(), nullable=False),
        sa.Column("gross_kurus", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("xml", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["returns_id"],
            ["invoice.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("cause"),
        sa.UniqueConstraint("ettn"),
        sa.UniqueConstraint("number"),
        sa.UniqueConstraint("series", "year", "sequence"),
    )
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_invoice_account_id"), ["account_id"], unique=False)
        batch_op.create_index("ix_invoice_due", ["state", "next_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_invoice_issued_at"), ["issued_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_invoice_payment_id"), ["payment_id"], unique=False)

    op.create_table(
        "invoice_series",
        sa.Column("series", sa.String(length=3), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("series"),
    )
    op.create_table(
        "low_balance",
        sa.Column("account_id", sa.String(length=28), nullable=False),
        sa.Column("threshold_kurus", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("is_below", sa.Boolean(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    with op.batch_alter_table("low_balance", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_low_balance_next_at"), ["next_at"], unique=False)

    op.create_table(
        "payment",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=28), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("net_kurus", sa.BigInteger(), nullable=False),
        sa.Column("vat_kurus", sa.BigInteger(), nullable=False),
        sa.Column("gross_kurus", sa.BigInteger(), nullable=False),
        sa.Column("vat_bps", sa.Integer(), nullable=False),
        sa.Column("returned_kurus", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(length=200), nullable=True),
        sa.Column("page_url", sa.String(length=1000), nullable=True),
        sa.Column("provider_payment_id", sa.String(length=100), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("credited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payment_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_payment_created_at"), ["created_at"], unique=False)
        batch_op.create_index("ix_payment_due", ["state", "next_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_payment_person_id"), ["person_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_payment_provider_payment_id"), ["provider_payment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_payment_token"), ["token"], unique=False)

    op.create_table(
        "payment_incident",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "subject"),
    )
    with op.batch_alter_table("payment_incident", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payment_incident_last_at"), ["last_at"], unique=False)

    op.create_table(
        "payment_reversal",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("payment_id", sa.String(length=32), nullable=False),
        sa.Column("total_kurus", sa.BigInteger(), nullable=False),
        sa.Column("gross_kurus", sa.BigInteger(), nullable=False),
        sa.Column("net_kurus", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_id"],
            ["payment.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("payment_id", "total_kurus"),
    )
    with op.batch_alter_table("payment_reversal", schema=None) as batch_op:
        batch_op.create_index("ix_payment_reversal_due", ["reversed_at", "next_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_payment_reversal_payment_id"), ["payment_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("payment_reversal", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_payment_reversal_payment_id"))
        batch_op.drop_index("ix_payment_reversal_due")

    op.drop_table("payment_reversal")
    with op.batch_alter_table("payment_incident", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_payment_incident_last_at"))

    op.drop_table("payment_incident")
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_payment_token"))
        batch_op.drop_index(batch_op.f("ix_payment_provider_payment_id"))
        batch_op.drop_index(batch_op.f("ix_payment_person_id"))
        batch_op.drop_index("ix_payment_due")
        batch_op.drop_index(batch_op.f("ix_payment_created_at"))
        batch_op.drop_index(batch_op.f("ix_payment_account_id"))

    op.drop_table("payment")
    with op.batch_alter_table("low_balance", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_low_balance_next_at"))

    op.drop_table("low_balance")
    op.drop_table("invoice_series")
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_invoice_payment_id"))
        batch_op.drop_index(batch_op.f("ix_invoice_issued_at"))
        batch_op.drop_index("ix_invoice_due")
        batch_op.drop_index(batch_op.f("ix_invoice_account_id"))

    op.drop_table("invoice")
    op.drop_table("billing_profile")
