"""Make the control plane's tables, or bring them to this build's revision.

All of it in the caller's one transaction, with a lock, so that of many processes at once one does the work and the
others find it done; one that is killed leaves nothing. Alembic is loaded only when there is something to do.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from tenantry.errors import UnknownRevision
from tenantry.migrations import online
from tenantry.migrations.directory import Migrations
from tenantry.registry.revisions import REGISTRY_HEAD, REGISTRY_REVISIONS, VERSION_TABLE

CHAIN = Migrations(Path(__file__).parent / "migrations", version_table=VERSION_TABLE)
# With hashtext(schema) the key of the advisory lock, in a number space of its own.
LOCK_SPACE = 0x7E4A


def upgrade(connection: sa.Connection, schema: str | None, *, location: str = "the control plane") -> bool:
    """Bring the tables to this build's revision, in the connection's transaction.

    Tells whether there was anything to do. ``schema``: on PostgreSQL the schema that holds
    them, made if missing; None on SQLite, where the connection's own file does.

    :raises UnknownRevision: the tables are of a newer build.
    :raises PermissionMissing: the schema is missing and the database user may not make it.
    """
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        if driver is not None and not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")  # the driver itself begins none for CREATE TABLE
        return _run(connection, location)
    if schema is None:
        raise ValueError("On PostgreSQL the control plane needs a schema of its own.")
    from psycopg import sql

    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(:space, hashtext(:schema))"), {"space": LOCK_SPACE, "schema": schema}
    )
    quoted = sql.Identifier(schema).as_string(None)  # not SQLAlchemy's quoting, which doubles a "%" for the driver
    # Asked first: CREATE SCHEMA IF NOT EXISTS needs the right to create schemas even where the schema exists.
    present, before = connection.execute(
        sa.text("SELECT to_regnamespace(:schema) IS NOT NULL, current_setting('search_path')"), {"schema": quoted}
    ).one()
    if not present:
        connection.execute(sa.schema.CreateSchema(schema))
    _set_search_path(connection, quoted)
    changed = _run(connection, location)
    _set_search_path(connection, before)
    return changed


def current(connection: sa.Connection, schema: str | None) -> str | None:
    """The revision of the tables there; None when all were taken back. A driver's error tells that none ever were."""
    table = sa.table(VERSION_TABLE, sa.column("version_num"), schema=schema)
    found: str | None = connection.execute(sa.select(table.c.version_num)).scalar()
    return found


def _set_search_path(connection: sa.Connection, path: str) -> None:
    connection.execute(sa.text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _run(connection: sa.Connection, location: str) -> bool:
    found = current(connection, None) if sa.inspect(connection).has_table(VERSION_TABLE) else None
    if found == REGISTRY_HEAD:
        return False
    if found is not None and found not in REGISTRY_REVISIONS:
        raise UnknownRevision(location, found, REGISTRY_HEAD)
    online.run(connection, CHAIN, REGISTRY_HEAD)
    return True
