"""Users of the platform itself and their four roles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROLES = ("administrator", "billing", "provisioner", "support")


def upgrade() -> None:
    role = op.create_table(
        "platform_role",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_platform_role")),
        sa.UniqueConstraint("name", name=op.f("uq_platform_role_name")),
    )
    op.create_table(
        "platform_user",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("first_name", sa.Text, nullable=False),
        sa.Column("last_name", sa.Text, nullable=False),
        sa.Column("hashed_password", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_platform_user")),
        sa.UniqueConstraint("email", name=op.f("uq_platform_user_email")),
        sa.UniqueConstraint("username", name=op.f("uq_platform_user_username")),
    )
    op.create_table(
        "platform_user_role",
        sa.Column("user_uid", sa.String(32), nullable=False),
        sa.Column("role_uid", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("user_uid", "role_uid", name=op.f("pk_platform_user_role")),
        sa.ForeignKeyConstraint(
            ["user_uid"], ["platform_user.uid"], name=op.f("fk_platform_user_role_user_uid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["role_uid"], ["platform_role.uid"], name=op.f("fk_platform_user_role_role_uid"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_platform_user_role_role_uid"), "platform_user_role", ["role_uid"])
    # Fixed identifiers: a role is the same row in every installation.
    op.bulk_insert(role, [{"uid": f"{number:032x}", "name": name} for number, name in enumerate(ROLES, start=1)])


def downgrade() -> None:
    for table in ("platform_user_role", "platform_user", "platform_role"):
        op.drop_table(table)
