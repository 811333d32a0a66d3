"""workflow: requests, samples, results, worksheets, quality control, snapshots and reports

Revision ID: 9c3f61d2b870
Revises: 7b1e52c90a14
Create Date: 2026-11-22
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9c3f61d2b870"
down_revision = "7b1e52c90a14"
branch_labels = None
depends_on = None

# What was in force when a result was made is added to and never rewritten, not by the tables' owner either.
GUARD = """
CREATE FUNCTION snapshot_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    RAISE EXCEPTION 'versions in % are added and never changed', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$guard$
"""


def upgrade() -> None:
    _table(
        "id_sequence",
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, server_default="0", nullable=False),
        _check("id_sequence", "number", "number >= 0"),
        _unique("id_sequence", "prefix"),
    )
    op.create_table(
        "snapshot_content",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("content", postgresql.JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_snapshot_content"),
    )
    _table(
        "qc_level",
        sa.Column("name", sa.String(255), nullable=False),
        _key("qc_level", "laboratory_uid", "laboratory", nullable=False),
        _unique("qc_level", "laboratory_uid", "name"),
        indexes=("laboratory_uid",),
    )
    _table(
        "qc_set",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("note", sa.Text),
        _key("qc_set", "laboratory_uid", "laboratory", nullable=False),
        _unique("qc_set", "name"),
        indexes=("laboratory_uid",),
    )
    _table(
        "qc_template",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _key("qc_template", "laboratory_uid", "laboratory", nullable=False),
        _unique("qc_template", "laboratory_uid", "name"),
        indexes=("laboratory_uid",),
    )
    _table(
        "snapshot",
        sa.Column("subject_type", sa.String(32), nullable=False),
        sa.Column("subject_uid", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        _copy("snapshot", "content_hash"),
        sa.Column("identity", postgresql.JSONB),
        sa.Column("occasion", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("taken_by", sa.String(255), nullable=False),
        sa.Column("run_uid", sa.String(32)),
        _key("snapshot", "laboratory_uid", "laboratory", nullable=False),
        _one_of(
            "snapshot",
            "occasion",
            "registration",
            "change",
            "submission",
            "retest",
            "refresh",
            "hard_refresh",
            "revert",
        ),
        _one_of("snapshot", "subject_type", "patient", "analysis_request", "sample", "analysis_result"),
        _check("snapshot", "version", "version > 0"),
        _unique("snapshot", "subject_uid", "version"),
    )
    op.create_index("ix_snapshot_run_uid", "snapshot", ["run_uid"], postgresql_where=sa.text("run_uid IS NOT NULL"))
    _table(
        "analysis_request",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("client_request_id", sa.String(255)),
        _key("analysis_request", "patient_uid", "patient", nullable=False),
        _key("analysis_request", "client_uid", "client", nullable=False),
        _key("analysis_request", "client_contact_uid", "client_contact"),
        sa.Column("is_billed", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("is_locked", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        _copy("analysis_request", "snapshot_hash"),
        sa.Column("snapshot_version", sa.Integer, server_default="1", nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True)),
        _key("analysis_request", "laboratory_uid", "laboratory", nullable=False),
        _unique("analysis_request", "laboratory_uid", "client_request_id"),
        _unique("analysis_request", "request_id"),
        indexes=(
            "client_contact_uid",
            "client_uid",
            "patient_uid",
        ),
    )
    _table(
        "qc_reference",
        _key("qc_reference", "qc_level_uid", "qc_level", nullable=False),
        _key("qc_reference", "analysis_uid", "analysis", nullable=False),
        sa.Column("lot", sa.String(64), nullable=False),
        sa.Column("expected", sa.String(255)),
        sa.Column("min", sa.Numeric(20, 8)),
        sa.Column("max", sa.Numeric(20, 8)),
        sa.Column("expires", sa.Date),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _key("qc_reference", "laboratory_uid", "laboratory", nullable=False),
        _check("qc_reference", "limits", '"min" <= "max"'),
        _unique("qc_reference", "qc_level_uid", "analysis_uid", "lot"),
        indexes=(
            "analysis_uid",
            "laboratory_uid",
        ),
    )
    _table(
        "worksheet_template",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        _key("worksheet_template", "analysis_uid", "analysis", nullable=False),
        _key("worksheet_template", "sample_type_uid", "sample_type"),
        _key("worksheet_template", "method_uid", "method"),
        _key("worksheet_template", "laboratory_instrument_uid", "laboratory_instrument"),
        _key("worksheet_template", "qc_template_uid", "qc_template"),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("cols", sa.Integer, nullable=False),
        sa.Column("row_wise", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("reserved", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
        _key("worksheet_template", "laboratory_uid", "laboratory", nullable=False),
        _check("worksheet_template", "size", '"rows" BETWEEN 1 AND 100 AND cols BETWEEN 1 AND 100'),
        _unique("worksheet_template", "laboratory_uid", "name"),
        indexes=(
            "analysis_uid",
            "laboratory_instrument_uid",
            "laboratory_uid",
            "method_uid",
            "qc_template_uid",
            "sample_type_uid",
        ),
    )
    _table(
        "clinical_data",
        _key("clinical_data", "analysis_request_uid", "analysis_request", nullable=False, ondelete="CASCADE"),
        sa.Column("clinical_indication", sa.Text),
        sa.Column("treatment_notes", sa.Text),
        sa.Column("symptoms", postgresql.JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("pregnancy", sa.Boolean),
        sa.Column("breast_feeding", sa.Boolean),
        sa.Column("vitals", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("codings", postgresql.JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        _key("clinical_data", "laboratory_uid", "laboratory", nullable=False),
        _unique("clinical_data", "analysis_request_uid"),
    )
    _table(
        "sample",
        sa.Column("sample_id", sa.String(64), nullable=False),
        _key("sample", "analysis_request_uid", "analysis_request"),
        _key("sample", "sample_type_uid", "sample_type", nullable=False),
        _key("sample", "parent_uid", "sample"),
        sa.Column("relationship_type", sa.String(16)),
        _key("sample", "qc_set_uid", "qc_set"),
        _key("sample", "qc_level_uid", "qc_level"),
        sa.Column("priority", sa.SmallInteger, server_default="0", nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("date_collected", sa.DateTime(timezone=True)),
        sa.Column("due_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("internal_use", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("printed", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("storage_location", sa.String(255)),
        sa.Column("received_by_uid", sa.String(32)),
        sa.Column("date_received", sa.DateTime(timezone=True)),
        sa.Column("submitted_by_uid", sa.String(32)),
        sa.Column("date_submitted", sa.DateTime(timezone=True)),
        sa.Column("verified_by_uid", sa.String(32)),
        sa.Column("date_verified", sa.DateTime(timezone=True)),
        sa.Column("published_by_uid", sa.String(32)),
        sa.Column("date_published", sa.DateTime(timezone=True)),
        sa.Column("printed_by_uid", sa.String(32)),
        sa.Column("date_printed", sa.DateTime(timezone=True)),
        sa.Column("invalidated_by_uid", sa.String(32)),
        sa.Column("date_invalidated", sa.DateTime(timezone=True)),
        sa.Column("invalidation_reason", sa.String(255)),
        sa.Column("cancelled_by_uid", sa.String(32)),
        sa.Column("date_cancelled", sa.DateTime(timezone=True)),
        sa.Column("rejected_by_uid", sa.String(32)),
        sa.Column("date_rejected", sa.DateTime(timezone=True)),
        sa.Column("stored_by_uid", sa.String(32)),
        sa.Column("date_stored", sa.DateTime(timezone=True)),
        _copy("sample", "snapshot_hash"),
        sa.Column("snapshot_version", sa.Integer, server_default="1", nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True)),
        _key("sample", "laboratory_uid", "laboratory", nullable=False),
        _check("sample", "origin", "(analysis_request_uid IS NULL) = (qc_set_uid IS NOT NULL)"),
        _check("sample", "parent_uid", "parent_uid <> uid"),
        _check("sample", "priority", "priority BETWEEN 0 AND 2"),
        _one_of("sample", "relationship_type", "aliquot", "derived", "child", "pool", "merge", "split", "other"),
        _one_of(
            "sample",
            "status",
            "scheduled",
            "expected",
            "received",
            "awaiting",
            "approved",
            "published",
            "invalidated",
            "cancelled",
            "rejected",
            "stored",
            "referred",
            "paired",
        ),
        _unique("sample", "sample_id"),
        indexes=(
            "analysis_request_uid",
            "parent_uid",
            "qc_level_uid",
            "qc_set_uid",
            "sample_type_uid",
        ),
    )
    op.create_index(
        "ix_sample_worklist",
        "sample",
        ["laboratory_uid", "status", sa.text("(- priority)"), sa.text("due_date"), sa.text("uid")],
    )
    _table(
        "worksheet",
        sa.Column("worksheet_id", sa.String(64), nullable=False),
        _key("worksheet", "worksheet_template_uid", "worksheet_template", nullable=False),
        _key("worksheet", "analysis_uid", "analysis", nullable=False),
        _key("worksheet", "sample_type_uid", "sample_type"),
        _key("worksheet", "method_uid", "method"),
        _key("worksheet", "laboratory_instrument_uid", "laboratory_instrument"),
        _key("worksheet", "qc_set_uid", "qc_set"),
        sa.Column("analyst_uid", sa.String(32)),
        sa.Column("state", sa.String(16), server_default="empty", nullable=False),
        sa.Column("positions", sa.Integer, nullable=False),
        sa.Column("reserved", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("assigned_count", sa.Integer, server_default="0", nullable=False),
        _key("worksheet", "laboratory_uid", "laboratory", nullable=False),
        _one_of("worksheet", "state", "empty", "pending", "submitting", "awaiting", "approving", "approved"),
        _unique("worksheet", "worksheet_id"),
        indexes=(
            "analysis_uid",
            "qc_set_uid",
            "worksheet_template_uid",
        ),
    )
    op.create_index("ix_worksheet_worklist", "worksheet", ["laboratory_uid", "state", "uid"])
    _table(
        "analysis_result",
        _key("analysis_result", "sample_uid", "sample", nullable=False),
        _key("analysis_result", "analysis_uid", "analysis", nullable=False),
        _key("analysis_result", "parent_uid", "analysis_result"),
        _key("analysis_result", "method_uid", "method"),
        _key("analysis_result", "laboratory_instrument_uid", "laboratory_instrument"),
        sa.Column("status", sa.String(16), server_default="pending", nullable=False),
        sa.Column("priority", sa.SmallInteger, server_default="0", nullable=False),
        sa.Column("due_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entered", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("flag", sa.String(16)),
        sa.Column("judgement", postgresql.JSONB),
        sa.Column("interims", sa.Text),
        sa.Column("analyst_uid", sa.String(32)),
        sa.Column("submitted_by_uid", sa.String(32)),
        sa.Column("date_submitted", sa.DateTime(timezone=True)),
        sa.Column("date_verified", sa.DateTime(timezone=True)),
        sa.Column("cancelled_by_uid", sa.String(32)),
        sa.Column("date_cancelled", sa.DateTime(timezone=True)),
        sa.Column("invalidated_by_uid", sa.String(32)),
        sa.Column("date_invalidated", sa.DateTime(timezone=True)),
        sa.Column("retest", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("reportable", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("reflex_level", sa.Integer, server_default="0", nullable=False),
        _key("analysis_result", "worksheet_uid", "worksheet"),
        sa.Column("worksheet_position", sa.Integer),
        _copy("analysis_result", "snapshot_hash"),
        sa.Column("snapshot_version", sa.Integer, server_default="1", nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True)),
        _key("analysis_result", "laboratory_uid", "laboratory", nullable=False),
        _one_of("analysis_result", "flag", "normal", "low", "high", "critical_low", "critical_high", "abnormal"),
        _check("analysis_result", "parent_uid", "parent_uid <> uid"),
        _check("analysis_result", "priority", "priority BETWEEN 0 AND 2"),
        _one_of("analysis_result", "status", "pending", "resulted", "approved", "retracted", "cancelled", "referred"),
        _check("analysis_result", "worksheet", "(worksheet_uid IS NULL) = (worksheet_position IS NULL)"),
        _unique("analysis_result", "worksheet_uid", "worksheet_position"),
        indexes=(
            "parent_uid",
            "sample_uid",
        ),
    )
    op.create_index(
        "ix_analysis_result_analysis",
        "analysis_result",
        ["analysis_uid", "laboratory_uid", "status", sa.text("(- priority)"), sa.text("due_date"), sa.text("uid")],
    )
    op.create_index(
        "ix_analysis_result_worklist",
        "analysis_result",
        ["laboratory_uid", "status", sa.text("(- priority)"), sa.text("due_date"), sa.text("uid")],
    )
    _table(
        "report_impress",
        _key("report_impress", "sample_uid", "sample", nullable=False),
        sa.Column("issue", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        _key("report_impress", "supersedes_uid", "report_impress"),
        sa.Column("reason", sa.String(255)),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("pdf", sa.Text, nullable=False),
        sa.Column("pdf_sha256", sa.String(64), nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        sa.Column("generated_by_uid", sa.String(32)),
        sa.Column("date_generated", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("date_invalidated", sa.DateTime(timezone=True)),
        sa.Column("printed", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("email_sent", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("sms_sent", sa.Boolean, server_default=sa.false(), nullable=False),
        _key("report_impress", "laboratory_uid", "laboratory", nullable=False),
        _check("report_impress", "issue", "issue > 0"),
        _one_of("report_impress", "state", "preliminary", "final", "amended", "invalidated"),
        _unique("report_impress", "sample_uid", "issue"),
        indexes=(
            "laboratory_uid",
            "supersedes_uid",
        ),
    )
    _table(
        "sample_relationship",
        _key("sample_relationship", "parent_uid", "sample", nullable=False),
        _key("sample_relationship", "child_uid", "sample", nullable=False),
        sa.Column("relationship_type", sa.String(16), nullable=False),
        _key("sample_relationship", "laboratory_uid", "laboratory", nullable=False),
        _one_of(
            "sample_relationship", "relationship_type", "aliquot", "derived", "child", "pool", "merge", "split", "other"
        ),
        _check("sample_relationship", "two_samples", "parent_uid <> child_uid"),
        _unique("sample_relationship", "parent_uid", "child_uid"),
        indexes=(
            "child_uid",
            "laboratory_uid",
        ),
    )
    _table(
        "result_mutation",
        _key("result_mutation", "analysis_result_uid", "analysis_result", nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("why", sa.Text, nullable=False),
        _key("result_mutation", "laboratory_uid", "laboratory", nullable=False),
        _one_of(
            "result_mutation",
            "step",
            "correction",
            "specification",
            "detection_limit",
            "uncertainty",
            "retest",
            "rejudgement",
        ),
        indexes=("analysis_result_uid",),
    )
    _table(
        "result_verification",
        _key("result_verification", "analysis_result_uid", "analysis_result", nullable=False),
        _key("result_verification", "user_uid", "user", nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        _key("result_verification", "laboratory_uid", "laboratory", nullable=False),
        _unique("result_verification", "analysis_result_uid", "user_uid"),
        indexes=("user_uid",),
    )
    for name, left, right in LINKS:
        op.create_table(
            name,
            _key(name, f"{left}_uid", left, nullable=False, ondelete="CASCADE"),
            _key(name, f"{right}_uid", right, nullable=False, ondelete="CASCADE"),
            sa.PrimaryKeyConstraint(f"{left}_uid", f"{right}_uid", name=f"pk_{name}"),
        )
        op.create_index(f"ix_{name}_{right}_uid", name, [f"{right}_uid"])
    op.execute(GUARD)
    for name in ("snapshot", "snapshot_content"):
        op.execute(
            f"CREATE TRIGGER {name}_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION snapshot_is_append_only()"
        )


def downgrade() -> None:
    for name, _, _ in reversed(LINKS):
        op.drop_table(name)
    for name in reversed(TABLES):
        op.drop_table(name)
    op.execute("DROP FUNCTION snapshot_is_append_only()")


TABLES = (
    "id_sequence",
    "snapshot_content",
    "qc_level",
    "qc_set",
    "qc_template",
    "snapshot",
    "analysis_request",
    "qc_reference",
    "worksheet_template",
    "clinical_data",
    "sample",
    "worksheet",
    "analysis_result",
    "report_impress",
    "sample_relationship",
    "result_mutation",
    "result_verification",
)
LINKS = (
    ("sample_profile", "sample", "profile"),
    ("sample_analysis", "sample", "analysis"),
    ("sample_rejection_reason", "sample", "rejection_reason"),
    ("qc_template_level", "qc_template", "qc_level"),
    ("qc_template_department", "qc_template", "department"),
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


def _copy(table: str, column: str) -> sa.Column[Any]:
    key = sa.ForeignKey("snapshot_content.hash", name=f"fk_{table}_{column}")
    return sa.Column(column, sa.String(64), key, nullable=False)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return _check(table, column, f"{column} IN ({listed})")


def _check(table: str, name: str, claim: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(claim, name=op.f(f"ck_{table}_{name}"))
