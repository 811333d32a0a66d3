"""Sessions of platform users, their refresh tokens, counted login attempts, and the keys that sign access tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ENDINGS = "'logout', 'revoked', 'reuse', 'disabled', 'password'"


def upgrade() -> None:
    op.create_table(
        "platform_session",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("user_uid", sa.String(32), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("last_address", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("refreshed_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("ended_by", sa.String(16)),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_platform_session")),
        sa.ForeignKeyConstraint(
            ["user_uid"], ["platform_user.uid"], name=op.f("fk_platform_session_user_uid"), ondelete="CASCADE"
        ),
        sa.CheckConstraint(f"ended_by IN ({ENDINGS})", name=op.f("ck_platform_session_ended_by")),
    )
    op.create_index(op.f("ix_platform_session_user_uid"), "platform_session", ["user_uid"])
    op.create_index(op.f("ix_platform_session_expires_at"), "platform_session", ["expires_at"])
    op.create_table(
        "platform_refresh_token",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("session_uid", sa.String(32), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_platform_refresh_token")),
        sa.ForeignKeyConstraint(
            ["session_uid"],
            ["platform_session.uid"],
            name=op.f("fk_platform_refresh_token_session_uid"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_platform_refresh_token_session_uid"), "platform_refresh_token", ["session_uid"])
    op.create_table(
        "platform_attempt",
        sa.Column("counter", sa.String(255), nullable=False),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("counter", name=op.f("pk_platform_attempt")),
    )
    op.create_index(op.f("ix_platform_attempt_expires_at"), "platform_attempt", ["expires_at"])
    op.create_table(
        "platform_signing_key",
        sa.Column("kid", sa.String(32), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("secret_mark", sa.String(16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("retires_at", TIME),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_platform_signing_key")),
    )


def downgrade() -> None:
    for table in ("platform_signing_key", "platform_attempt", "platform_refresh_token", "platform_session"):
        op.drop_table(table)
