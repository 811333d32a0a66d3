"""Rules that map documents to processors, and tokens for work over HTTP."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "processing_rule",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("processor_id", sa.String(36), nullable=False),
        sa.Column("basket_id", sa.String(36), nullable=True),
        sa.Column("name_pattern", sa.String(255), nullable=True),
        sa.Column("content_type", sa.String(100), nullable=True),
        sa.Column("document_type", sa.String(50), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processing_rule")),
        sa.ForeignKeyConstraint(
            ["processor_id"],
            ["processors.id"],
            name=op.f("fk_processing_rule_processor_id_processors"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["basket_id"], ["docbasket.id"], name=op.f("fk_processing_rule_basket_id_docbasket"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_processing_rule_processor_id", "processing_rule", ["processor_id"])
    op.create_index("ix_processing_rule_basket_id", "processing_rule", ["basket_id"])
    op.create_table(
        "api_token",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
    )
    op.create_index("ix_api_token_digest", "api_token", ["digest"], unique=True)


def downgrade() -> None:
    """Remove the two tables with what they hold."""
    op.drop_table("api_token")
    op.drop_table("processing_rule")
