"""Add project and 1 more."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("currency_id", sa.Integer(), sa.ForeignKey("currency.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_project_account_id", "project", ["account_id"])
    op.create_index("ix_project_currency_id", "project", ["currency_id"])
    op.create_table(
        "shipment",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_shipment_account_id", "shipment", ["account_id"])
    op.create_index("ix_shipment_name", "shipment", ["name"])


def downgrade() -> None:
    op.drop_table("shipment")
    op.drop_table("project")
