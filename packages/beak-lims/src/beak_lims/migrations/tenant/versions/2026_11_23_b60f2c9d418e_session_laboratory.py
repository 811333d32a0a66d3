"""session laboratory: a session keeps the laboratory that was chosen at login

Revision ID: b60f2c9d418e
Revises: e83b5d17f4a6
Create Date: 2026-11-23
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "b60f2c9d418e"
down_revision = "e83b5d17f4a6"
branch_labels = None
depends_on = None

TABLE, COLUMN = "user_session", "active_laboratory_uid"
KEY = f"fk_{TABLE}_{COLUMN}"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column(COLUMN, sa.String(32)))
    op.create_foreign_key(KEY, TABLE, "laboratory", [COLUMN], ["uid"], ondelete="SET NULL")


def downgrade() -> None:
    op.drop_constraint(KEY, TABLE)
    op.drop_column(TABLE, COLUMN)
