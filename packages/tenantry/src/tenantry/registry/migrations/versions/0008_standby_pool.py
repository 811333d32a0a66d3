"""How many places are to be kept ready for tenants to come: one row, or none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "standby_pool",
        sa.Column("uid", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("keep", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_standby_pool")),
        sa.CheckConstraint("uid = 1", name=op.f("ck_standby_pool_uid")),
    )


def downgrade() -> None:
    op.drop_table("standby_pool")
