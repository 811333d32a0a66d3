"""Add order line and 3 more."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "order_line",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_order_line_account_id", "order_line", ["account_id"])
    op.create_index("ix_order_line_currency_id", "order_line", ["currency_id"])
    op.create_table(
        "payment",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_payment_account_id", "payment", ["account_id"])
    op.create_index("ix_payment_name", "payment", ["name"])
    op.create_table(
        "permit",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_permit_account_id", "permit", ["account_id"])
    op.create_index("ix_permit_currency_id", "permit", ["currency_id"])
    op.create_table(
        "product",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_product_account_id", "product", ["account_id"])
    op.create_index("ix_product_name", "product", ["name"])


def downgrade() -> None:
    op.drop_table("product")
    op.drop_table("permit")
    op.drop_table("payment")
    op.drop_table("order_line")
