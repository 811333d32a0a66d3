"""initial: the organisation, its laboratories and departments, its people and what they may do

Revision ID: 4d0c1a7e52b9
Revises:
Create Date: 2026-11-22
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "4d0c1a7e52b9"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "department",
        *_record(
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("code", sa.String(64), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_department"),
        sa.UniqueConstraint("name", name="uq_department_name"),
        sa.UniqueConstraint("code", name="uq_department_code"),
    )
    op.create_table(
        "organization",
        *_record(
            sa.Column("setup_name", sa.String(255), server_default="beak", nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("code", sa.String(64)),
            sa.Column("timezone", sa.String(64), server_default="UTC", nullable=False),
            sa.Column("tag_line", sa.String(255)),
            sa.Column("email", sa.String(254)),
            sa.Column("mobile_phone", sa.String(64)),
            sa.Column("business_phone", sa.String(64)),
            sa.Column("address", sa.Text),
            sa.Column("banking", sa.Text),
            sa.Column("logo", sa.Text),
            sa.Column("quality_statement", sa.Text),
            sa.Column("country_uid", sa.String(32)),
            sa.Column("province_uid", sa.String(32)),
            sa.Column("district_uid", sa.String(32)),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_organization"),
        sa.UniqueConstraint("setup_name", name="uq_organization_setup_name"),
        sa.UniqueConstraint("name", name="uq_organization_name"),
    )
    op.create_table(
        "organization_setting",
        *_record(
            sa.Column("organization_uid", sa.String(32), nullable=False),
            sa.Column("password_lifetime", sa.Integer, server_default="90", nullable=False),
            sa.Column("inactivity_log_out", sa.Integer, server_default="30", nullable=False),
            sa.Column("allow_billing", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("allow_auto_billing", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("process_billed_only", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("min_payment_status", sa.String(16), server_default="paid", nullable=False),
            sa.Column("min_partial_percentage", sa.Integer, server_default="50", nullable=False),
            sa.Column("currency", sa.String(3), server_default="USD", nullable=False),
            sa.Column("payment_terms_days", sa.Integer, server_default="0", nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_organization_setting"),
        sa.UniqueConstraint("organization_uid", name="uq_organization_setting_organization_uid"),
        _reference("organization_setting", "organization_uid", "organization", ondelete="CASCADE"),
    )
    op.create_table(
        "laboratory",
        *_record(
            sa.Column("organization_uid", sa.String(32), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("code", sa.String(64)),
            sa.Column("lab_manager_uid", sa.String(32)),
            sa.Column("email", sa.String(254)),
            sa.Column("mobile_phone", sa.String(64)),
            sa.Column("business_phone", sa.String(64)),
            sa.Column("address", sa.Text),
            sa.Column("location", sa.String(255)),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_laboratory"),
        sa.UniqueConstraint("organization_uid", "name", name="uq_laboratory_organization_uid_name"),
        _reference("laboratory", "organization_uid", "organization"),
    )
    op.create_index("ix_laboratory_lab_manager_uid", "laboratory", ["lab_manager_uid"])
    op.create_table(
        "laboratory_setting",
        *_record(
            sa.Column("laboratory_uid", sa.String(32), nullable=False),
            sa.Column("allow_self_verification", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("allow_patient_registration", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("allow_sample_registration", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("allow_worksheet_creation", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("auto_receive_samples", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("sticker_copies", sa.Integer, server_default="2", nullable=False),
            sa.Column("default_tat_minutes", sa.Integer, server_default="1440", nullable=False),
            sa.Column("default_route", sa.String(255)),
            sa.Column("default_theme", sa.String(64)),
            sa.Column("password_lifetime", sa.Integer),
            sa.Column("inactivity_log_out", sa.Integer),
            sa.Column("allow_billing", sa.Boolean),
            sa.Column("allow_auto_billing", sa.Boolean),
            sa.Column("process_billed_only", sa.Boolean),
            sa.Column("min_payment_status", sa.String(16)),
            sa.Column("min_partial_percentage", sa.Integer),
            sa.Column("currency", sa.String(3)),
            sa.Column("payment_terms_days", sa.Integer),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_laboratory_setting"),
        sa.UniqueConstraint("laboratory_uid", name="uq_laboratory_setting_laboratory_uid"),
        _reference("laboratory_setting", "laboratory_uid", "laboratory", ondelete="CASCADE"),
    )
    op.create_table(
        "permission",
        *_record(
            sa.Column("action", sa.String(64), nullable=False),
            sa.Column("target", sa.String(64), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_permission"),
        sa.UniqueConstraint("action", "target", name="uq_permission_action_target"),
    )
    op.create_table(
        "group",
        *_record(
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("keyword", sa.String(64), nullable=False),
            sa.Column("pages", postgresql.JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_group"),
        sa.UniqueConstraint("name", name="uq_group_name"),
        sa.UniqueConstraint("keyword", name="uq_group_keyword"),
    )
    op.create_table(
        "user",
        *_record(
            sa.Column("first_name", sa.String(255), nullable=False),
            sa.Column("last_name", sa.String(255), nullable=False),
            sa.Column("email", sa.String(254), nullable=False),
            sa.Column("user_name", sa.String(255), nullable=False),
            sa.Column("mobile_phone", sa.String(64)),
            sa.Column("business_phone", sa.String(64)),
            sa.Column("hashed_password", sa.String(255), nullable=False),
            sa.Column("must_change_password", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("login_retry", sa.Integer, server_default="0", nullable=False),
            sa.Column("is_blocked", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("is_superuser", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("active_laboratory_uid", sa.String(32)),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_user"),
        sa.UniqueConstraint("email", name="uq_user_email"),
        sa.UniqueConstraint("user_name", name="uq_user_user_name"),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_user_email_lower_case")),
        _reference("user", "active_laboratory_uid", "laboratory", ondelete="SET NULL"),
    )
    op.create_index("ix_user_active_laboratory_uid", "user", ["active_laboratory_uid"])
    # Not in create_table: a laboratory names its manager and a user the laboratory at work, so this key comes after
    # both.
    op.create_foreign_key(
        "fk_laboratory_lab_manager_uid", "laboratory", "user", ["lab_manager_uid"], ["uid"], ondelete="SET NULL"
    )
    for name, left, right in LINKS:
        op.create_table(
            name,
            sa.Column(f"{left}_uid", sa.String(32), nullable=False),
            sa.Column(f"{right}_uid", sa.String(32), nullable=False),
            sa.PrimaryKeyConstraint(f"{left}_uid", f"{right}_uid", name=f"pk_{name}"),
            _reference(name, f"{left}_uid", left, ondelete="CASCADE"),
            _reference(name, f"{right}_uid", right, ondelete="CASCADE"),
        )
        op.create_index(f"ix_{name}_{right}_uid", name, [f"{right}_uid"])


def downgrade() -> None:
    for name, _, _ in reversed(LINKS):
        op.drop_table(name)
    op.drop_constraint("fk_laboratory_lab_manager_uid", "laboratory", type_="foreignkey")
    for name in ("user", "group", "permission", "laboratory_setting", "laboratory", "organization_setting"):
        op.drop_table(name)
    op.drop_table("organization")
    op.drop_table("department")


LINKS = (
    ("user_laboratory", "user", "laboratory"),
    ("user_group", "user", "group"),
    ("group_permission", "group", "permission"),
)


def _record(*own: sa.Column[Any]) -> tuple[sa.Column[Any], ...]:
    """The columns every table has, around its own."""
    return (
        sa.Column("uid", sa.String(32), nullable=False),
        *own,
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by_uid", sa.String(32)),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by_uid", sa.String(32)),
    )


def _reference(table: str, column: str, target: str, *, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.uid"], name=f"fk_{table}_{column}", ondelete=ondelete)
