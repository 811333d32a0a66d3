"""A PostgreSQL server examined: schemas and roles that belong to nobody, poolers, settings, space.

Every query reads a catalog as a whole, once, so the time grows with what is there and not with it times the tenants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import sqlalchemy as sa
from psycopg import sql

from tenantry.archive.fence import GONE
from tenantry.fleet.finding import Finding
from tenantry.migrations.compiler import SCRATCH
from tenantry.stores.faults import faults
from tenantry.stores.postgres import PostgresSchemas
from tenantry.tenant import Tenant

MANY_ROLES = 2_000  # from here on a GRANT is felt by every session before PostgreSQL 18
LOCKS_PER_RELATION = 2  # that a migration which rewrites a table may take: the old and the new
DEAD = 0.5  # of a catalog's rows; above it VACUUM is behind
OLD_XIDS = 1_500_000_000  # transactions; at two thousand million the server stops writing

Names = frozenset[str]


def reality(store: PostgresSchemas) -> tuple[Names, Names]:
    """Every schema, and every role that the engine made for this database."""
    with faults(store.describe()), store.control_engine().connect() as connection:
        schemas = connection.execute(sa.text("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'")).scalars()
        roles = connection.execute(
            sa.text("SELECT rolname FROM pg_roles WHERE rolname LIKE '%@' || :oid"), {"oid": store.login().database_oid}
        ).scalars()
        return frozenset(schemas), frozenset(roles)


def strays(
    store: PostgresSchemas, schemas: Names, roles: Names | None, known: set[str], known_roles: set[str]
) -> Iterator[Finding]:
    """What looks like a tenant's and is no tenant's."""
    before, _, after = store.template.template.partition("{" + store.template.placeholder + "}")
    for schema in sorted(schemas - known):
        drop = sql.SQL("DROP SCHEMA {} CASCADE;").format(sql.Identifier(schema)).as_string(None)
        if schema.startswith((SCRATCH, GONE)):
            yield Finding("stray", schema, "this schema was left by a process that was killed", drop)
        elif schema.startswith(before) and schema.endswith(after) and len(schema) > len(before + after) and before:
            text = "this schema is named like a tenant's, and no tenant is registered for it"
            yield Finding("stray", schema, text, f"look into it, then: {drop}")
    # Another application's tenants in the same database have roles of the same making, named for its own template.
    named = {role for role in roles or () if before and role.startswith(before)}
    for role in sorted(named - known_roles):
        drop = sql.SQL("DROP ROLE {};").format(sql.Identifier(role)).as_string(None)
        yield Finding("stray", role, "this role was made for a tenant that is not there", drop)


def settings(store: PostgresSchemas, tenants: Sequence[Tenant]) -> Iterator[Finding]:
    """A pooler in between, settings that will hurt, and room that is running out."""
    login = store.login()
    with faults(store.describe()), store.control_engine().connect() as connection:
        yield from _pooler(store, connection)
        rows = connection.execute(sa.text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), _NAMES)
        set_to = {row.name: row.setting for row in rows}
        for name, reason in _OFF.items():
            if set_to.get(name) == "off":
                text = f"{name} is off: {reason}"
                yield Finding("setting", name, text, f"ALTER SYSTEM SET {name} = on; then restart the server")
        largest = connection.execute(sa.text(_LARGEST), {"schemas": [tenant.location for tenant in tenants]}).first()
        room = int(set_to["max_locks_per_transaction"]) * (
            int(set_to["max_connections"]) + int(set_to["max_prepared_transactions"])
        )
        if largest is not None and largest.relations * LOCKS_PER_RELATION > room:
            needed = -(-largest.relations * LOCKS_PER_RELATION * 2 // int(set_to["max_connections"]))
            text = f"{largest.schema} has {largest.relations} relations, and the server has room for {room} locks"
            mend = f"ALTER SYSTEM SET max_locks_per_transaction = {needed}; then restart the server"
            yield Finding("setting", "max_locks_per_transaction", text, mend)
        free = int(set_to["max_connections"]) - int(set_to["superuser_reserved_connections"])
        used = connection.execute(
            sa.text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        ).scalar_one()
        if used > 0.9 * free:
            text = f"{used} of {free} connections are in use"
            yield Finding("setting", "max_connections", text, "lower the pools' sizes, or raise max_connections")
        roles = sum(tenant.role is not None for tenant in tenants)
        if roles > MANY_ROLES and login.version < 180_000 and not login.superuser:
            text = f"{roles} roles: on PostgreSQL {login.version // 10_000} every GRANT is felt by all sessions"
            yield Finding("setting", "roles", text, "tenant standby --keep N makes roles in batches; or PostgreSQL 18")
        yield from _space(connection)


_NAMES = {
    "names": [
        "max_locks_per_transaction",
        "max_connections",
        "max_prepared_transactions",
        "superuser_reserved_connections",
        "fsync",
        "full_page_writes",
        "autovacuum",
        "track_counts",
    ]
}
_OFF = {
    "fsync": "what was committed is lost when the machine stops",
    "full_page_writes": "pages may be torn when the machine stops",
    "autovacuum": "the catalog of many tenants grows without end",
    "track_counts": "autovacuum does not know where to work",
}
_LARGEST = """
SELECT n.nspname AS schema, count(*) AS relations FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) GROUP BY n.nspname ORDER BY count(*) DESC LIMIT 1
"""


def _pooler(store: PostgresSchemas, connection: sa.Connection) -> Iterator[Finding]:
    driver = cast(Any, connection.connection.driver_connection)
    path, server_pid = connection.exec_driver_sql("SELECT current_setting('search_path'), pg_backend_pid()").one()
    pooled = server_pid != driver.info.backend_pid  # a pooler makes up process ids of its own
    connection.rollback()
    if pooled and driver.prepare_threshold is not None:
        text = "a pooler stands in front, and prepared statements are kept by server connections that change"
        mend = "declare PostgresSchemas(..., prepare_threshold=None), or set max_prepared_statements in PgBouncer"
        yield Finding("pooler", store.describe(), text, mend)
    # What a fresh server connection begins with, before any transaction of ours sets a path.
    begins = connection.exec_driver_sql("SELECT reset_val FROM pg_settings WHERE name = 'search_path'").scalar_one()
    connection.rollback()
    before = store.template.template.partition("{")[0]
    named = [part.strip(' "') for part in begins.split(",")]
    leaked = [name for name in named if before and name.startswith(before)]
    if leaked:
        text = f"connections begin with the search_path {begins}: whoever forgets a tenant works on {leaked[0]}"
        reset = sql.SQL("ALTER ROLE {} RESET search_path; and in the pooler's connect_query").format(
            sql.Identifier(store.login().user)
        )
        yield Finding("pooler", store.describe(), text, reset.as_string(None))
    if pooled:
        seen = {_begun(connection) for _ in range(5)}
        if seen - {path}:
            text = "transactions through the pooler do not keep the tenant they begin with (statement pooling?)"
            yield Finding("pooler", store.describe(), text, "set pool_mode = transaction (or session)")


def _begun(connection: sa.Connection) -> str:
    connection.exec_driver_sql("SELECT 1")
    found = str(connection.exec_driver_sql("SHOW search_path").scalar_one())
    connection.rollback()
    return found


def _space(connection: sa.Connection) -> Iterator[Finding]:
    age = connection.execute(
        sa.text("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    ).scalar_one()
    if age > OLD_XIDS:
        text = f"the oldest transaction is {age:,} old; at 2,000,000,000 the server stops writing"
        yield Finding("space", "transaction ids", text, "VACUUM (FREEZE);")
    bloated = connection.execute(
        sa.text(
            "SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_sys_tables WHERE schemaname = 'pg_catalog'"
            " AND n_dead_tup > 100000 AND n_dead_tup > :dead * (n_live_tup + n_dead_tup) ORDER BY relname"
        ),
        {"dead": DEAD},
    )
    for name, dead, live in bloated:
        text = f"{dead:,} dead rows beside {live:,} live ones slow every catalog query down"
        yield Finding("space", f"pg_catalog.{name}", text, f"VACUUM pg_catalog.{name};")
