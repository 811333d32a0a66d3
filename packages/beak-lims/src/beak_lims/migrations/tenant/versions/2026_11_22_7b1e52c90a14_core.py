"""core: places, clients, patients, what is measured and how, sessions of users, and the audit trail

Revision ID: 7b1e52c90a14
Revises: 4d0c1a7e52b9
Create Date: 2026-11-22
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "7b1e52c90a14"
down_revision = "4d0c1a7e52b9"
branch_labels = None
depends_on = None

# Whoever can write to the trail can add to it and do no more, the tables' owner included.
GUARD = """
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    RAISE EXCEPTION 'entries of audit_log are added and never changed' USING ERRCODE = 'insufficient_privilege';
END
$guard$
"""


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("user_uid", sa.String(32)),
        sa.Column("user_name", sa.String(255)),
        sa.Column("laboratory_uid", sa.String(32)),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target_type", sa.String(64), nullable=False),
        sa.Column("target_uid", sa.String(32)),
        sa.Column("state_before", postgresql.JSONB),
        sa.Column("state_after", postgresql.JSONB),
        sa.Column("address", sa.String(64)),
        sa.Column("request_id", sa.String(64)),
        sa.PrimaryKeyConstraint("uid", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_target_type_target_uid", "audit_log", ["target_type", "target_uid"])
    _table(
        "coding_standard",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _unique("coding_standard", "name"),
    )
    _table(
        "country",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("country", "code"),
        _unique("country", "name"),
    )
    _table(
        "identification",
        sa.Column("name", sa.String(255), nullable=False),
        _unique("identification", "name"),
    )
    _table(
        "instrument_type",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _unique("instrument_type", "name"),
    )
    _table(
        "manufacturer",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _unique("manufacturer", "name"),
    )
    _table(
        "method",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("keyword", sa.String(64), nullable=False),
        sa.Column("description", sa.Text),
        _unique("method", "keyword"),
        _unique("method", "name"),
    )
    _table(
        "rejection_reason",
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("rejection_reason", "reason"),
    )
    _table(
        "sample_type",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("abbr", sa.String(64), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("sample_type", "abbr"),
        _unique("sample_type", "name"),
    )
    _table(
        "supplier",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _unique("supplier", "name"),
    )
    _table(
        "unit",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("is_si_unit", sa.Boolean, server_default=sa.false(), nullable=False),
        _unique("unit", "name"),
    )
    _table(
        "analysis_category",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _key("analysis_category", "department_uid", "department"),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("analysis_category", "name"),
        indexes=("department_uid",),
    )
    _table(
        "instrument",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("keyword", sa.String(64), nullable=False),
        sa.Column("description", sa.Text),
        _key("instrument", "instrument_type_uid", "instrument_type"),
        _key("instrument", "supplier_uid", "supplier"),
        _key("instrument", "manufacturer_uid", "manufacturer"),
        _unique("instrument", "keyword"),
        _unique("instrument", "name"),
        indexes=(
            "instrument_type_uid",
            "manufacturer_uid",
            "supplier_uid",
        ),
    )
    _table(
        "province",
        _key("province", "country_uid", "country", nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("mobile_phone", sa.String(64)),
        sa.Column("business_phone", sa.String(64)),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("province", "code"),
        _unique("province", "country_uid", "name"),
    )
    _table(
        "sample_type_coding",
        _key("sample_type_coding", "sample_type_uid", "sample_type", nullable=False, ondelete="CASCADE"),
        _key("sample_type_coding", "coding_standard_uid", "coding_standard", nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.UniqueConstraint(
            "sample_type_uid",
            "coding_standard_uid",
            "code",
            name="uq_sample_type_coding_sample_type_uid_coding_standard_uid_code",
        ),
        indexes=("coding_standard_uid",),
    )
    _table(
        "analysis",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("keyword", sa.String(64), nullable=False),
        sa.Column("description", sa.Text),
        _key("analysis", "unit_uid", "unit"),
        _key("analysis", "category_uid", "analysis_category"),
        _key("analysis", "department_uid", "department"),
        sa.Column("result_type", sa.String(32), server_default="numeric", nullable=False),
        sa.Column("precision", sa.Integer, server_default="2", nullable=False),
        sa.Column("tat_length_minutes", sa.Integer, server_default="1440", nullable=False),
        sa.Column("sort_key", sa.Integer, server_default="1", nullable=False),
        sa.Column("required_verifications", sa.Integer, server_default="1", nullable=False),
        sa.Column("self_verification", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("allow_multiple_results", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("hidden", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("analysis", "keyword"),
        _unique("analysis", "name"),
        _check("analysis", "precision", "precision BETWEEN 0 AND 8"),
        _check("analysis", "required_verifications", "required_verifications BETWEEN 1 AND 5"),
        _one_of("analysis", "result_type", "numeric", "short_text", "long_text", "select_list", "multi_select_list"),
        _check("analysis", "tat_length_minutes", "tat_length_minutes > 0"),
        indexes=(
            "category_uid",
            "department_uid",
            "unit_uid",
        ),
    )
    _table(
        "district",
        _key("district", "province_uid", "province", nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("mobile_phone", sa.String(64)),
        sa.Column("business_phone", sa.String(64)),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("district", "code"),
        _unique("district", "province_uid", "name"),
    )
    _table(
        "analysis_coding",
        _key("analysis_coding", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        _key("analysis_coding", "coding_standard_uid", "coding_standard", nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.UniqueConstraint(
            "analysis_uid",
            "coding_standard_uid",
            "code",
            name="uq_analysis_coding_analysis_uid_coding_standard_uid_code",
        ),
        indexes=("coding_standard_uid",),
    )
    _table(
        "client",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("mobile_phone", sa.String(64)),
        sa.Column("business_phone", sa.String(64)),
        sa.Column("address", sa.Text),
        sa.Column("consent_email", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("consent_sms", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _key("client", "country_uid", "country"),
        _key("client", "province_uid", "province"),
        _key("client", "district_uid", "district"),
        _unique("client", "code"),
        indexes=(
            "country_uid",
            "district_uid",
            "name",
            "province_uid",
        ),
    )
    _table(
        "correction_factor",
        _key("correction_factor", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        _key("correction_factor", "instrument_uid", "instrument"),
        _key("correction_factor", "method_uid", "method"),
        sa.Column("factor", sa.Numeric(20, 8), nullable=False),
        indexes=(
            "analysis_uid",
            "instrument_uid",
            "method_uid",
        ),
    )
    _table(
        "detection_limit",
        _key("detection_limit", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        _key("detection_limit", "instrument_uid", "instrument"),
        _key("detection_limit", "method_uid", "method"),
        sa.Column("lower", sa.Numeric(20, 8)),
        sa.Column("upper", sa.Numeric(20, 8)),
        indexes=(
            "analysis_uid",
            "instrument_uid",
            "method_uid",
        ),
    )
    _table(
        "interim",
        _key("interim", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        sa.Column("key", sa.Integer, nullable=False),
        sa.Column("content", sa.String(255), nullable=False),
        _key("interim", "instrument_uid", "instrument"),
        _unique("interim", "analysis_uid", "key"),
        indexes=("instrument_uid",),
    )
    _table(
        "result_option",
        _key("result_option", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        sa.Column("key", sa.Integer, nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        _unique("result_option", "analysis_uid", "key"),
    )
    _table(
        "specification",
        _key("specification", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        _key("specification", "unit_uid", "unit"),
        _key("specification", "method_uid", "method"),
        sa.Column("min", sa.Numeric(20, 8)),
        sa.Column("max", sa.Numeric(20, 8)),
        sa.Column("min_warn", sa.Numeric(20, 8)),
        sa.Column("max_warn", sa.Numeric(20, 8)),
        sa.Column("min_report", sa.String(255)),
        sa.Column("max_report", sa.String(255)),
        sa.Column("normal_value", sa.String(255)),
        sa.Column("warn_values", postgresql.JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("warn_report", sa.String(255)),
        sa.Column("gender", sa.String(16)),
        sa.Column("age_min", sa.Integer),
        sa.Column("age_max", sa.Integer),
        sa.Column("age_unit", sa.String(16), server_default="years", nullable=False),
        _one_of("specification", "age_unit", "days", "months", "years"),
        _check("specification", "ages", "age_min <= age_max"),
        _one_of("specification", "gender", "male", "female"),
        _check("specification", "limits", '"min" <= "max"'),
        indexes=(
            "analysis_uid",
            "method_uid",
            "unit_uid",
        ),
    )
    _table(
        "uncertainty",
        _key("uncertainty", "analysis_uid", "analysis", nullable=False, ondelete="CASCADE"),
        _key("uncertainty", "instrument_uid", "instrument"),
        _key("uncertainty", "method_uid", "method"),
        sa.Column("min", sa.Numeric(20, 8), nullable=False),
        sa.Column("max", sa.Numeric(20, 8), nullable=False),
        sa.Column("value", sa.Numeric(20, 8), nullable=False),
        indexes=(
            "analysis_uid",
            "instrument_uid",
            "method_uid",
        ),
    )
    _table(
        "client_contact",
        _key("client_contact", "client_uid", "client", nullable=False, ondelete="CASCADE"),
        sa.Column("first_name", sa.String(255), nullable=False),
        sa.Column("last_name", sa.String(255)),
        sa.Column("email", sa.String(254)),
        sa.Column("mobile_phone", sa.String(64)),
        sa.Column("business_phone", sa.String(64)),
        sa.Column("consent_sms", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        indexes=("client_uid",),
    )
    _table(
        "laboratory_instrument",
        _key("laboratory_instrument", "instrument_uid", "instrument", nullable=False),
        sa.Column("lab_name", sa.String(255), nullable=False),
        sa.Column("serial_number", sa.String(255)),
        sa.Column("date_commissioned", sa.Date),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _key("laboratory_instrument", "laboratory_uid", "laboratory", nullable=False),
        _unique("laboratory_instrument", "laboratory_uid", "lab_name"),
        indexes=(
            "instrument_uid",
            "laboratory_uid",
        ),
    )
    _table(
        "patient",
        sa.Column("patient_id", sa.String(64), nullable=False),
        sa.Column("client_patient_id", sa.String(255), nullable=False),
        _key("patient", "client_uid", "client", nullable=False),
        sa.Column("first_name", sa.Text, nullable=False),
        sa.Column("middle_name", sa.Text),
        sa.Column("last_name", sa.Text, nullable=False),
        sa.Column("gender", sa.String(16), server_default="unknown", nullable=False),
        sa.Column("age", sa.Integer),
        sa.Column("date_of_birth", sa.Text),
        sa.Column("age_dob_estimated", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("mobile_phone", sa.Text),
        sa.Column("home_phone", sa.Text),
        sa.Column("email", sa.Text),
        sa.Column("consent_sms", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("metadata_snapshot", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        _key("patient", "country_uid", "country"),
        _key("patient", "province_uid", "province"),
        _key("patient", "district_uid", "district"),
        _key("patient", "laboratory_uid", "laboratory", nullable=False),
        sa.UniqueConstraint(
            "laboratory_uid",
            "client_uid",
            "client_patient_id",
            name="uq_patient_laboratory_uid_client_uid_client_patient_id",
        ),
        _unique("patient", "patient_id"),
        _one_of("patient", "gender", "male", "female", "other", "unknown"),
        indexes=(
            "client_uid",
            "country_uid",
            "district_uid",
            "laboratory_uid",
            "province_uid",
        ),
    )
    _table(
        "profile",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("keyword", sa.String(64), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("tat_length_minutes", sa.Integer, server_default="1440", nullable=False),
        _key("profile", "department_uid", "department"),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _key("profile", "laboratory_uid", "laboratory", nullable=False),
        _unique("profile", "laboratory_uid", "keyword"),
        _unique("profile", "laboratory_uid", "name"),
        _check("profile", "tat_length_minutes", "tat_length_minutes > 0"),
        indexes=(
            "department_uid",
            "laboratory_uid",
        ),
    )
    op.create_table(
        "password_reset",
        sa.Column("digest", sa.String(64), nullable=False),
        _key("password_reset", "user_uid", "user", nullable=False, ondelete="CASCADE"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_uid", sa.String(32)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("digest", name="pk_password_reset"),
    )
    op.create_index("ix_password_reset_user_uid", "password_reset", ["user_uid"])
    _table(
        "patient_identification",
        _key("patient_identification", "patient_uid", "patient", nullable=False, ondelete="CASCADE"),
        _key("patient_identification", "identification_uid", "identification", nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        _key("patient_identification", "laboratory_uid", "laboratory", nullable=False),
        _unique("patient_identification", "patient_uid", "identification_uid"),
        indexes=(
            "identification_uid",
            "laboratory_uid",
        ),
    )
    op.create_table(
        "patient_search",
        _key("patient_search", "patient_uid", "patient", nullable=False, ondelete="CASCADE"),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("patient_uid", "kind", "digest", name="pk_patient_search"),
        _one_of("patient_search", "kind", "name", "name_start", "birth_date", "phone", "email", "identification"),
    )
    op.create_index("ix_patient_search_digest_kind", "patient_search", ["digest", "kind"])
    op.create_table(
        "user_session",
        sa.Column("uid", sa.String(32), nullable=False),
        _key("user_session", "user_uid", "user", nullable=False, ondelete="CASCADE"),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ended_by", sa.String(16)),
        sa.PrimaryKeyConstraint("uid", name="pk_user_session"),
        _one_of("user_session", "ended_by", "logout", "revoked", "reuse", "password", "disabled"),
    )
    op.create_index("ix_user_session_expires_at", "user_session", ["expires_at"])
    op.create_index("ix_user_session_user_uid", "user_session", ["user_uid"])
    op.create_table(
        "refresh_token",
        sa.Column("digest", sa.String(64), nullable=False),
        _key("refresh_token", "session_uid", "user_session", nullable=False, ondelete="CASCADE"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_token"),
    )
    op.create_index("ix_refresh_token_session_uid", "refresh_token", ["session_uid"])
    _table(
        "user_preference",
        _key("user_preference", "user_uid", "user", nullable=False, ondelete="CASCADE"),
        sa.Column("theme", sa.String(64)),
        sa.Column("expanded_menu", sa.Boolean, server_default=sa.true(), nullable=False),
        _unique("user_preference", "user_uid"),
    )
    for name, left, right in LINKS:
        op.create_table(
            name,
            _key(name, f"{left}_uid", left, nullable=False, ondelete="CASCADE"),
            _key(name, f"{right}_uid", right, nullable=False, ondelete="CASCADE"),
            sa.PrimaryKeyConstraint(f"{left}_uid", f"{right}_uid", name=f"pk_{name}"),
        )
        op.create_index(f"ix_{name}_{right}_uid", name, [f"{right}_uid"])
    op.add_column(
        "user",
        sa.Column("password_changed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    for place in PLACES:
        column = f"{place}_uid"
        op.create_foreign_key(f"fk_organization_{column}", "organization", place, [column], ["uid"])
        op.create_index(f"ix_organization_{column}", "organization", [column])
    op.execute(GUARD)
    op.execute(
        "CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
    )


def downgrade() -> None:
    for place in PLACES:
        op.drop_index(f"ix_organization_{place}_uid", "organization")
        op.drop_constraint(f"fk_organization_{place}_uid", "organization", type_="foreignkey")
    op.drop_column("user", "password_changed_at")
    for name, _, _ in reversed(LINKS):
        op.drop_table(name)
    for name in reversed(TABLES):
        op.drop_table(name)
    op.execute("DROP FUNCTION audit_log_is_append_only()")


PLACES = ("country", "province", "district")
TABLES = (
    "audit_log",
    "coding_standard",
    "country",
    "identification",
    "instrument_type",
    "manufacturer",
    "method",
    "rejection_reason",
    "sample_type",
    "supplier",
    "unit",
    "analysis_category",
    "instrument",
    "province",
    "sample_type_coding",
    "analysis",
    "district",
    "analysis_coding",
    "client",
    "correction_factor",
    "detection_limit",
    "interim",
    "result_option",
    "specification",
    "uncertainty",
    "client_contact",
    "laboratory_instrument",
    "patient",
    "profile",
    "password_reset",
    "patient_identification",
    "patient_search",
    "user_session",
    "refresh_token",
    "user_preference",
)
LINKS = (
    ("user_department", "user", "department"),
    ("analysis_sample_type", "analysis", "sample_type"),
    ("analysis_method", "analysis", "method"),
    ("analysis_instrument", "analysis", "instrument"),
    ("result_option_sample_type", "result_option", "sample_type"),
    ("method_instrument", "method", "instrument"),
    ("profile_analysis", "profile", "analysis"),
    ("profile_sample_type", "profile", "sample_type"),
)


def _table(name: str, *own: Any, indexes: tuple[str, ...] = ()) -> None:
    """A table with the columns that every table has around its own, and an index on each of these columns."""
    columns = [item for item in own if isinstance(item, sa.Column)]
    op.create_table(
        name,
        sa.Column("uid", sa.String(32), nullable=False),
        *columns,
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by_uid", sa.String(32)),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by_uid", sa.String(32)),
        sa.PrimaryKeyConstraint("uid", name=f"pk_{name}"),
        *(item for item in own if not isinstance(item, sa.Column)),
    )
    for column in indexes:
        op.create_index(f"ix_{name}_{column}", name, [column])


def _key(table: str, column: str, target: str, *, nullable: bool = True, ondelete: str | None = None) -> sa.Column[Any]:
    key = sa.ForeignKey(f"{target}.uid", name=f"fk_{table}_{column}", ondelete=ondelete)
    return sa.Column(column, sa.String(32), key, nullable=nullable)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return _check(table, column, f"{column} IN ({listed})")


def _check(table: str, name: str, claim: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(claim, name=op.f(f"ck_{table}_{name}"))
