"""Add account and 5 more."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
        sa.Column("note", sa.Text()),
    )
    op.create_index("ix_account_name", "account", ["name"])
    op.create_index("ix_account_quantity", "account", ["quantity"])
    op.create_table(
        "address",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_address_account_id", "address", ["account_id"])
    op.create_index("ix_address_name", "address", ["name"])
    op.create_table(
        "agreement",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_agreement_account_id", "agreement", ["account_id"])
    op.create_index("ix_agreement_name", "agreement", ["name"])
    op.create_table(
        "article",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_article_account_id", "article", ["account_id"])
    op.create_index("ix_article_name", "article", ["name"])
    op.create_table(
        "asset",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("article_id", sa.Integer(), sa.ForeignKey("article.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
    )
    op.create_index("ix_asset_account_id", "asset", ["account_id"])
    op.create_index("ix_asset_article_id", "asset", ["article_id"])
    op.create_table(
        "branch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("amount", sa.Numeric(12, 2)),
        sa.Column("created_at", sa.DateTime()),
    )
    op.create_index("ix_branch_account_id", "branch", ["account_id"])
    op.create_index("ix_branch_name", "branch", ["name"])


def downgrade() -> None:
    op.drop_table("branch")
    op.drop_table("asset")
    op.drop_table("article")
    op.drop_table("agreement")
    op.drop_table("address")
    op.drop_table("account")
