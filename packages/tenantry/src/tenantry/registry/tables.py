"""The control plane's tables, as SQLAlchemy Core objects.

The migrations in ``migrations/`` make them; a test compares the two. Times are UTC on both databases
and aware in Python.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from tenantry.tenant import TenantStatus

# Every constraint has a name, so that a later revision can drop it on both databases.
NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
WORK_STATES = ("running", "done", "failed")  # of an operation and of a step
OUTCOMES = ("done", "failed", "refused")  # of an audited action
ROLLOUT_STATES = ("running", "paused", "stopped", "done", "failed", "aborted")
ROLLOUT_OUTCOMES = ("pending", "done", "failed", "unknown", "gone")  # of one tenant in a rollout
STANDBY_STATES = ("making", "ready")


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time; SQLite, which keeps no zone, holds it in UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"The time {value} has no zone.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Applications look into these with the database's own operators, and may index them.
QUERIED_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


@dataclass(frozen=True)
class RegistryTables:
    """The tables of one schema, or of one file."""

    metadata: sa.MetaData
    tenant: sa.Table
    operation: sa.Table
    step: sa.Table
    audit: sa.Table
    audit_head: sa.Table
    plan: sa.Table
    rollout: sa.Table
    rollout_outcome: sa.Table
    standby: sa.Table
    standby_pool: sa.Table


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """A constraint that the column holds one of these words, which are the engine's own and never a caller's."""
    words = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({words})", name=column)


@functools.cache
def tables(schema: str | None) -> RegistryTables:
    """The tables in that schema; without one their names are unqualified: SQLite, or a search_path the caller set."""
    metadata = sa.MetaData(schema=schema, naming_convention=NAMING)
    tenant = sa.Table(
        "tenant",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("slug", sa.String(128), nullable=False, unique=True),
        sa.Column(
            "slug_key", sa.String(128), nullable=False, unique=True
        ),  # lower case: letter case tells no tenants apart
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.String(63)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("admin_email", sa.Text),
        sa.Column("revision", sa.String(128)),
        sa.Column("failed_step", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("attributes", QUERIED_JSON, nullable=False),
        # The fencing token: the one operation that may change this tenant now. A process whose token was replaced has
        # lost it.
        sa.Column("operation_uid", sa.String(32)),
        sa.Column("provisioned_at", UtcTime),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        one_of("status", tuple(status.value for status in TenantStatus)),
    )
    # The journal outlives its tenant: no foreign key.
    operation = sa.Table(
        "operation",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("tenant_uid", sa.String(32), nullable=False, index=True),
        sa.Column("slug", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("options", QUERIED_JSON, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("finished_at", UtcTime),
        sa.Column("error", sa.Text),
        one_of("status", WORK_STATES),
        sa.Index(None, "slug", "uid"),
    )
    step = sa.Table(
        "step",
        metadata,
        sa.Column("operation_uid", sa.String(32), primary_key=True),
        sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        one_of("status", WORK_STATES),
    )
    # Append-only: the registry has no method that changes or removes a row. Numbers come from the head, without a gap.
    audit = sa.Table(
        "audit",
        metadata,
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("slug", sa.String(128)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),  # kept letter by letter, unlike JSONB
        sa.Column("previous", sa.String(64), nullable=False, server_default="unchained"),
        sa.Column("hash", sa.String(64), nullable=False, server_default="unchained"),
        one_of("outcome", OUTCOMES),
        sa.Index(None, "slug", "sequence"),
        sqlite_autoincrement=True,
    )
    # One row: where the trail ends.
    audit_head = sa.Table(
        "audit_head",
        metadata,
        sa.Column("uid", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.CheckConstraint("uid = 1", name="uid"),
    )
    plan = sa.Table(
        "plan",
        metadata,
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),  # of database
        sa.Column("base", sa.String(128)),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
    )
    rollout = sa.Table(
        "rollout",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("target", sa.String(128)),  # None: base
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("finished_at", UtcTime),
        sa.Column("error", sa.Text),
        one_of("status", ROLLOUT_STATES),
    )
    # Outlives its tenant as the journal does.
    rollout_outcome = sa.Table(
        "rollout_outcome",
        metadata,
        sa.Column("rollout_uid", sa.String(32), primary_key=True),
        sa.Column("tenant_uid", sa.String(32), primary_key=True, index=True),
        sa.Column("slug", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),  # 0: the canaries
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("base", sa.String(128)),
        sa.Column("revision", sa.String(128)),
        sa.Column("seconds", sa.Float),
        sa.Column("lock_wait", sa.Float),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("sqlstate", sa.String(64)),  # or SQLite's name of the error
        sa.Column("object", sa.Text),  # what the error is about: a constraint, a table
        sa.Column("error", sa.Text),
        sa.Column("finished_at", UtcTime),
        one_of("status", ROLLOUT_OUTCOMES),
    )
    # Places of tenants to come. They are no tenants: nothing that lists tenants knows them.
    standby = sa.Table(
        "standby",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("location", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.String(63)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("revision", sa.String(128)),
        sa.Column("created_at", UtcTime, nullable=False),
        one_of("status", STANDBY_STATES),
    )
    standby_pool = sa.Table(
        "standby_pool",
        metadata,
        sa.Column("uid", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("keep", sa.Integer, nullable=False),
        sa.CheckConstraint("uid = 1", name="uid"),
    )
    return RegistryTables(
        metadata, tenant, operation, step, audit, audit_head, plan, rollout, rollout_outcome, standby, standby_pool
    )
