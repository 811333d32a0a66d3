"""Add event and 3 more."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_event_account_id", "event", ["account_id"])
    op.create_index("ix_event_currency_id", "event", ["currency_id"])
    op.create_table(
        "invoice",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_invoice_account_id", "invoice", ["account_id"])
    op.create_index("ix_invoice_name", "invoice", ["name"])
    op.create_table(
        "location",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_location_account_id", "location", ["account_id"])
    op.create_index("ix_location_currency_id", "location", ["currency_id"])
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_message_account_id", "message", ["account_id"])
    op.create_index("ix_message_name", "message", ["name"])


def downgrade() -> None:
    op.drop_table("message")
    op.drop_table("location")
    op.drop_table("invoice")
    op.drop_table("event")
