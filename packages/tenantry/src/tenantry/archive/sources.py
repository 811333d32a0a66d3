"""One tenant's place as it stands at one moment: its schema, its rows as lines, where its sequences stand.

Everything is read in one transaction that sees one snapshot and keeps nobody from working. A schema that changes while
it is opened is opened again, so rows and schema belong together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, cast

import sqlalchemy as sa
from psycopg import sql

from tenantry.archive.container import CHUNK
from tenantry.archive.manifest import SequenceEntry
from tenantry.archive.rows import batched, tagged
from tenantry.errors import StoreError, StoreMissing
from tenantry.migrations import catalog, online
from tenantry.migrations.catalog import Shape, Table
from tenantry.names import SchemaName
from tenantry.stores import routing
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.opening import engine_for
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant

ATTEMPTS = 5  # at a schema that a migration changes between two looks
LOCK_TIMEOUT = "60s"  # for a migration that holds a table of this tenant
# Values are written the same whatever the server's settings, and none is rounded.
_SETTINGS = (
    "SET LOCAL TimeZone TO 'UTC'; SET LOCAL DateStyle TO 'ISO'; SET LOCAL IntervalStyle TO 'postgres';"
    " SET LOCAL bytea_output TO 'hex'; SET LOCAL extra_float_digits TO 3; SET LOCAL synchronize_seqscans TO off;"
    " SET LOCAL row_security TO off"
)


class Source(ABC):
    """A place that is being read."""

    connection: sa.Connection
    shape: Shape
    server: str
    revision: str | None

    @abstractmethod
    def rows(self, table: Table) -> Iterator[bytes]:
        """A table's rows as lines, in pieces cut anywhere."""

    @abstractmethod
    def sequences(self) -> list[SequenceEntry]:
        """Where the sequences stand now: at least as far as the rows that were read."""


def reading(store: Store, tenant: Tenant, version_table: str) -> AbstractContextManager[Source]:
    """The tenant's place, open for reading. :raises StoreMissing: it is not there."""
    if isinstance(store, PostgresSchemas):
        return _reading_schema(store, tenant, version_table)
    if isinstance(store, SqliteFiles):
        return _reading_file(store, tenant, version_table)
    raise StoreError(store.describe(), f"a {type(store).__name__} cannot be saved.")


# -- PostgreSQL


def owner_engine(store: PostgresSchemas, tenant: Tenant) -> sa.Engine:
    """An engine with the owner's rights whose unqualified names are the tenant's."""
    return routing.RoutedEngine(store.control_engine(), store._route(tenant, owner=True))


_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
WHERE d.refclassid = 'pg_namespace'::regclass AND c.relkind IN ('r', 'p')
    AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = :schema)
ORDER BY c.relname
"""


def lock_tables(connection: sa.Connection, tenant: Tenant, names: list[str], mode: str) -> None:
    """Lock all of a tenant's tables in one message. It takes no snapshot."""
    if names:
        listed = sql.SQL(", ").join(sql.Identifier(tenant.location, name) for name in names)
        lock = sql.SQL("SET LOCAL lock_timeout TO {}; LOCK TABLE {} IN {} MODE; SET LOCAL lock_timeout TO 0")
        statement = lock.format(sql.Literal(LOCK_TIMEOUT), listed, sql.SQL(mode))
        connection.exec_driver_sql(statement.as_string(None), execution_options={"no_parameters": True})


def tables_of(store: PostgresSchemas, tenant: Tenant) -> list[str]:
    """The names of the tenant's tables now, partitioned ones too. :raises StoreMissing: its schema is not there."""
    if not store.exists(tenant.location):
        raise StoreMissing(tenant.slug, store.kind, tenant.location)
    with owner_engine(store, tenant).connect() as connection:
        return list(connection.execute(sa.text(_TABLES), {"schema": tenant.location}).scalars())


@contextmanager
def _reading_schema(store: PostgresSchemas, tenant: Tenant, version_table: str) -> Iterator[Source]:
    SchemaName(tenant.location)
    with faults(store.describe()):
        for _ in range(ATTEMPTS):
            names = tables_of(store, tenant)
            with owner_engine(store, tenant).connect() as connection, connection.begin():
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                try:
                    # Before the snapshot is taken, so that no table can change after it.
                    lock_tables(connection, tenant, names, "ACCESS SHARE")
                except sa.exc.ProgrammingError:  # one was dropped meanwhile
                    continue
                connection.exec_driver_sql(_SETTINGS)
                shape = catalog.read(connection, tenant.role)
                seen = connection.execute(sa.text(_TABLES), {"schema": tenant.location}).scalars()
                if list(seen) == names:
                    revision = online.revision_of(connection, version_table)
                    yield SchemaSource(connection, shape, revision)
                    return
    raise StoreError(tenant.location, "its tables are being changed all the time; try again when that has ended.")


class SchemaSource(Source):
    """A schema of PostgreSQL."""

    def __init__(self, connection: sa.Connection, shape: Shape, revision: str | None) -> None:
        self.connection = connection
        self.shape = shape
        self.revision = revision
        self.server = str(connection.exec_driver_sql("SHOW server_version").scalar_one())

    def rows(self, table: Table) -> Iterator[bytes]:
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        listed = sql.SQL("({})").format(columns) if table.columns else sql.SQL("")
        statement = sql.SQL("COPY {} {} TO STDOUT").format(sql.Identifier(table.name), listed)
        driver = cast(Any, self.connection.connection.driver_connection)
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            yield from batched((bytes(piece) for piece in copy), CHUNK)

    def sequences(self) -> list[SequenceEntry]:
        known = {sequence.name: sequence for sequence in self.shape.sequences}
        found: list[SequenceEntry] = []
        for names in _slices(list(known), 200):
            union = sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {}, last_value, is_called FROM {}").format(sql.Literal(name), sql.Identifier(name))
                for name in names
            )
            rows = self.connection.exec_driver_sql(union.as_string(None), execution_options={"no_parameters": True})
            for name, value, called in rows:
                found.append(SequenceEntry(name, known[name].table, known[name].column, value, called))
        return found


def _slices(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


# -- SQLite


@contextmanager
def _reading_file(store: SqliteFiles, tenant: Tenant, version_table: str) -> Iterator[Source]:
    if not store.exists(tenant.location):
        raise StoreMissing(tenant.slug, store.kind, store.describe(tenant.location))
    path = store.path(tenant.location)
    engine = engine_for(path, begin="BEGIN", foreign_keys=False)
    try:
        with faults(str(path)), engine.connect() as connection, connection.begin():
            yield FileSource(connection, catalog.read(connection), online.revision_of(connection, version_table))
    finally:
        engine.dispose()


class FileSource(Source):
    """A file of SQLite."""

    def __init__(self, connection: sa.Connection, shape: Shape, revision: str | None) -> None:
        self.connection = connection
        self.shape = shape
        self.revision = revision
        self.server = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())

    def rows(self, table: Table) -> Iterator[bytes]:
        names = ", ".join(catalog.quote(column.name) for column in table.columns)
        order = ", ".join(name if name == "rowid" else catalog.quote(name) for name in table.order)
        driver = cast(Any, self.connection.connection.driver_connection)
        with closing(driver.cursor()) as cursor:
            cursor.execute(f"SELECT {names} FROM {catalog.quote(table.name)} ORDER BY {order}")
            yield from batched((b"\t".join(map(tagged, row)) + b"\n" for row in cursor), CHUNK)

    def sequences(self) -> list[SequenceEntry]:
        known = {sequence.name: sequence for sequence in self.shape.sequences}
        if not known:
            return []
        rows = self.connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
        return [SequenceEntry(name, name, known[name].column, value, True) for name, value in rows if name in known]
