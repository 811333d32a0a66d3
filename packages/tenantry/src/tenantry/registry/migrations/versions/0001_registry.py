"""Tenants, the journal, the audit trail and the cache of plans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Frozen copies: what this revision makes must not follow later changes of the code.
TIME = sa.DateTime(timezone=True)
QUERIED_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
STATUSES = "'provisioning', 'active', 'failed', 'suspended', 'archived', 'deleting'"
WORK_STATES = "'running', 'done', 'failed'"


def upgrade() -> None:
    op.create_table(
        "tenant",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("slug", sa.String(128), nullable=False),
        sa.Column("slug_key", sa.String(128), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("role", sa.String(63)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("admin_email", sa.Text),
        sa.Column("revision", sa.String(128)),
        sa.Column("failed_step", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("attributes", QUERIED_JSON, nullable=False),
        sa.Column("operation_uid", sa.String(32)),
        sa.Column("provisioned_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_tenant")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenant_slug")),
        sa.UniqueConstraint("slug_key", name=op.f("uq_tenant_slug_key")),
        sa.UniqueConstraint("location", name=op.f("uq_tenant_location")),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_tenant_status")),
    )
    op.create_table(
        "operation",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("tenant_uid", sa.String(32), nullable=False),
        sa.Column("slug", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("options", QUERIED_JSON, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_operation")),
        sa.CheckConstraint(f"status IN ({WORK_STATES})", name=op.f("ck_operation_status")),
    )
    op.create_index(op.f("ix_operation_tenant_uid"), "operation", ["tenant_uid"])
    op.create_index(op.f("ix_operation_slug_uid"), "operation", ["slug", "uid"])
    op.create_table(
        "step",
        sa.Column("operation_uid", sa.String(32), nullable=False),
        sa.Column("position", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("operation_uid", "position", name=op.f("pk_step")),
        sa.CheckConstraint(f"status IN ({WORK_STATES})", name=op.f("ck_step_status")),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("slug", sa.String(128)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
        sa.CheckConstraint("outcome IN ('done', 'failed', 'refused')", name=op.f("ck_audit_outcome")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_slug_sequence"), "audit", ["slug", "sequence"])
    op.create_table(
        "plan",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("base", sa.String(128)),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_plan")),
    )


def downgrade() -> None:
    for table in ("plan", "audit", "step", "operation", "tenant"):
        op.drop_table(table)
