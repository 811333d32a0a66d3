"""answered requests: a request with a key of its own is done once

Revision ID: c4e7a90b5d16
Revises: a51d84e0c3f2
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "c4e7a90b5d16"
down_revision = "a51d84e0c3f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answered_request",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("answer", sa.Text),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_answered_request"),
    )
    op.create_index("ix_answered_request_expires_at", "answered_request", ["expires_at"])


def downgrade() -> None:
    op.drop_table("answered_request")
