"""Add course and 3 more."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "course",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("address_id", sa.Integer(), sa.ForeignKey("address.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_course_account_id", "course", ["account_id"])
    op.create_index("ix_course_address_id", "course", ["address_id"])
    op.create_table(
        "currency",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_currency_account_id", "currency", ["account_id"])
    op.create_index("ix_currency_name", "currency", ["name"])
    op.create_table(
        "customer",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_customer_account_id", "customer", ["account_id"])
    op.create_index("ix_customer_currency_id", "customer", ["currency_id"])
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_delivery_account_id", "delivery", ["account_id"])
    op.create_index("ix_delivery_name", "delivery", ["name"])


def downgrade() -> None:
    op.drop_table("delivery")
    op.drop_table("customer")
    op.drop_table("currency")
    op.drop_table("course")
