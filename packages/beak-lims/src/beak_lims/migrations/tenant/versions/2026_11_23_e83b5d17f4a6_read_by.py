"""read by: a panel's values may be read by the wild type, or by an animal's breakpoints

Revision ID: e83b5d17f4a6
Revises: c4e7a90b5d16
Create Date: 2026-11-23
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "e83b5d17f4a6"
down_revision = "c4e7a90b5d16"
branch_labels = None
depends_on = None

TABLES = ("ast_panel", "ast_result")
KINDS = "breakpoint_type IN ('Human', 'Animal', 'ECOFF')"


def upgrade() -> None:
    for table in TABLES:
        # What stands there was read by the breakpoints of people.
        op.add_column(table, sa.Column("breakpoint_type", sa.String(16), nullable=False, server_default="Human"))
        op.add_column(table, sa.Column("host", sa.String(64), nullable=False, server_default="Human"))
        op.create_check_constraint(f"ck_{table}_breakpoint_type", table, KINDS)


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "host")
        op.drop_column(table, "breakpoint_type")
