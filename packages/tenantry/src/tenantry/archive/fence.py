"""A tenant's place kept from writers until what was decided meanwhile is done, and then out of everyone's reach.

Whoever writes waits; when the fence is lifted without closing, they go on. When it is closed the place is gone for
them: nobody's write is lost in a place that is about to be removed, not even one whose session was opened before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from psycopg import sql

from tenantry.archive.sources import lock_tables, owner_engine, tables_of
from tenantry.errors import StoreError, StoreMissing
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.opening import begin, engine_for
from tenantry.stores.postgres import PostgresSchemas, execute
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant

Write = Callable[[sa.Connection], None]  # what is recorded together with the closing

GONE = "tenantry_gone_"  # begins the name of a schema that is about to be dropped; its tenant's uid follows


class Fence(ABC):
    """Writers wait while it stands."""

    @abstractmethod
    def close(self, write: Write) -> None:
        """Record what was decided and take the place out of reach."""


@contextmanager
def fenced(store: Store, tenant: Tenant, claim: Write) -> Iterator[Fence]:
    """Keep writers away from the tenant's place. ``claim``: called first, next to the registry's rows; raises when
    the tenant is another's.

    :raises StoreMissing: the place is not there.
    """
    if isinstance(store, PostgresSchemas):
        names = tables_of(store, tenant)
        with faults(store.describe()), owner_engine(store, tenant).connect() as connection, connection.begin():
            claim(connection)
            lock_tables(connection, tenant, names, "SHARE")
            yield _SchemaFence(connection, tenant)
    elif isinstance(store, SqliteFiles):
        if not store.exists(tenant.location):
            raise StoreMissing(tenant.slug, store.kind, store.describe(tenant.location))
        path = store.path(tenant.location)
        engine = engine_for(path, begin=begin(write=True), foreign_keys=False)
        try:
            with faults(str(path)), engine.connect() as connection:
                connection.begin()
                with store.control_engine().begin() as control:
                    claim(control)
                yield _FileFence(connection, store)
        finally:
            engine.dispose()
    else:
        raise StoreError(store.describe(), f"a {type(store).__name__} cannot be archived.")


class _SchemaFence(Fence):
    def __init__(self, connection: sa.Connection, tenant: Tenant) -> None:
        self._connection = connection
        self._tenant = tenant

    def close(self, write: Write) -> None:
        # A statement that waited for a table's lock looks its name up again, and finds it no more.
        rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
        names = (sql.Identifier(self._tenant.location), sql.Identifier(remains(self._tenant).location))
        execute(self._connection, rename.format(*names))
        write(self._connection)  # both are kept when the fence's transaction ends


class _FileFence(Fence):
    def __init__(self, connection: sa.Connection, store: SqliteFiles) -> None:
        self._connection = connection
        self._store = store

    def close(self, write: Write) -> None:
        with self._store.control_engine().begin() as control:
            write(control)
        poison(self._connection)


def poison(connection: sa.Connection) -> None:
    """Have every later statement on this file fail, also of those who have it open when it is removed."""
    driver = cast(Any, connection.connection.driver_connection)
    version = driver.execute("PRAGMA schema_version").fetchone()[0]
    driver.execute("PRAGMA writable_schema = ON")
    driver.execute("DELETE FROM sqlite_schema")
    driver.execute(f"PRAGMA schema_version = {version + 1}")  # so that open connections read the schema again
    connection.commit()


def remains(tenant: Tenant) -> Tenant:
    """The tenant as the owner of the schema that closing left under another name."""
    return replace(tenant, location=f"{GONE}{tenant.uid}")


def remove_place(store: Store, tenant: Tenant, claim: Write) -> None:
    """Remove the tenant's place, and what closing made of it, in steps that may be run again."""
    if isinstance(store, PostgresSchemas):
        store.remove(replace(remains(tenant), role=None), claim=claim)
    store.remove(tenant, claim=claim)
