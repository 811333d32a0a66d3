"""Rollouts with one outcome per tenant, and places made ready for tenants to come.

On PostgreSQL two functions let a tenant's whole migration be one message: the first refuses inside the transaction what
an earlier look could only have hoped for, the second keeps the ledger and the outcome together with the tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Frozen copies, as in 0001.
TIME = sa.DateTime(timezone=True)
STATES = "'running', 'paused', 'stopped', 'done', 'failed', 'aborted'"
OUTCOMES = "'pending', 'done', 'failed', 'unknown', 'gone'"
PLACES = "'making', 'ready'"

# The SQLSTATEs TN001 to TN004 are the engine's own: the tenant is not to be migrated, it stands elsewhere, the rollout
# was told to stop, another operation has it.
ENTER = """
CREATE FUNCTION rollout_enter(
    of_rollout text, of_tenant text, expected text, version_table text, further_path text, patience text,
    lock_tables text[], lock_modes text[]
) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    held record;
    stands text;
    began timestamptz;
    relation text;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', patience, true);
    SELECT status, location, operation_uid INTO held FROM {schema}.tenant WHERE uid = of_tenant FOR UPDATE NOWAIT;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tenant was removed' USING ERRCODE = 'TN001';
    ELSIF held.status NOT IN ('active', 'suspended') THEN
        RAISE EXCEPTION 'its status is %', held.status USING ERRCODE = 'TN001';
    ELSIF held.operation_uid IS NOT NULL THEN
        RAISE EXCEPTION 'another operation has the tenant' USING ERRCODE = 'TN004';
    ELSIF of_rollout IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.rollout WHERE uid = of_rollout AND status = 'running'
    ) THEN
        RAISE EXCEPTION 'the rollout was told to stop' USING ERRCODE = 'TN003';
    END IF;
    PERFORM pg_catalog.set_config('search_path', pg_catalog.quote_ident(held.location) || further_path, true);
    relation := pg_catalog.quote_ident(held.location) || '.' || pg_catalog.quote_ident(version_table);
    IF pg_catalog.to_regclass(relation) IS NOT NULL THEN
        EXECUTE 'SELECT pg_catalog.string_agg(version_num, '','' ORDER BY version_num) FROM ' || relation INTO stands;
    END IF;
    IF stands IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'the store stands at another revision'
            USING ERRCODE = 'TN002', DETAIL = coalesce(stands, '');
    END IF;
    began := pg_catalog.clock_timestamp();
    FOR number IN 1 .. pg_catalog.cardinality(lock_tables) LOOP
        relation := pg_catalog.quote_ident(held.location) || '.' || pg_catalog.quote_ident(lock_tables[number]);
        IF pg_catalog.to_regclass(relation) IS NOT NULL THEN
            EXECUTE 'LOCK TABLE ' || relation || ' IN ' || lock_modes[number] || ' MODE';
        END IF;
    END LOOP;
    PERFORM pg_catalog.set_config(
        'tenantry.lock_wait', pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - began)::text, true
    );
END
$function$
"""
LEAVE = """
CREATE FUNCTION rollout_leave(of_rollout text, of_tenant text, reached text) RETURNS void
LANGUAGE plpgsql AS $function$
BEGIN
    UPDATE {schema}.tenant SET revision = reached, updated_at = pg_catalog.clock_timestamp() WHERE uid = of_tenant;
    UPDATE {schema}.rollout_outcome SET
        status = 'done', revision = reached, finished_at = pg_catalog.clock_timestamp(), attempts = attempts + 1,
        seconds = pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp()),
        lock_wait = pg_catalog.current_setting('tenantry.lock_wait')::double precision,
        error = NULL, sqlstate = NULL, object = NULL
    WHERE rollout_uid = of_rollout AND tenant_uid = of_tenant;
END
$function$
"""


def upgrade() -> None:
    op.create_table(
        "rollout",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("target", sa.String(128)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_rollout")),
        sa.CheckConstraint(f"status IN ({STATES})", name=op.f("ck_rollout_status")),
    )
    op.create_table(
        "rollout_outcome",
        sa.Column("rollout_uid", sa.String(32), nullable=False),
        sa.Column("tenant_uid", sa.String(32), nullable=False),
        sa.Column("slug", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("base", sa.String(128)),
        sa.Column("revision", sa.String(128)),
        sa.Column("seconds", sa.Float),
        sa.Column("lock_wait", sa.Float),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("sqlstate", sa.String(64)),
        sa.Column("object", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("rollout_uid", "tenant_uid", name=op.f("pk_rollout_outcome")),
        sa.CheckConstraint(f"status IN ({OUTCOMES})", name=op.f("ck_rollout_outcome_status")),
    )
    op.create_index(op.f("ix_rollout_outcome_tenant_uid"), "rollout_outcome", ["tenant_uid"])
    op.create_table(
        "standby",
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("role", sa.String(63)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("revision", sa.String(128)),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_standby")),
        sa.UniqueConstraint("location", name=op.f("uq_standby_location")),
        sa.CheckConstraint(f"status IN ({PLACES})", name=op.f("ck_standby_status")),
    )
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        # Named, because the functions run under the search_path of whoever calls them.
        schema = bind.execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
        for function in (ENTER, LEAVE):
            bind.exec_driver_sql(function.replace("{schema}", schema), execution_options={"no_parameters": True})


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rollout_leave(text, text, text)")
        op.execute("DROP FUNCTION rollout_enter(text, text, text, text, text, text, text[], text[])")
    op.drop_table("standby")
    op.drop_table("rollout_outcome")
    op.drop_table("rollout")
