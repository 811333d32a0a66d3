"""The control plane as a database: its connections, its transactions, and whether its tables are this build's.

Knows nothing of tenants. Reading never makes a file, a table or a row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from tenantry.errors import RegistryMissing, RegistryOutdated, TenancyError, UnknownRevision
from tenantry.registry import bootstrap
from tenantry.registry.revisions import REGISTRY_HEAD, REGISTRY_REVISIONS
from tenantry.stores.faults import faults


class ControlPlane:
    """The control plane of one application, in a schema on PostgreSQL or in a file on SQLite.

    ``engine`` is called at first use. ``location`` says in messages where the tables are, and holds no secret.
    """

    def __init__(self, engine: Callable[[], sa.Engine], schema: str | None, location: str) -> None:
        self._engine = engine
        self._schema = schema
        self._location = location
        self._checked = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self._location}>"

    @property
    def location(self) -> str:
        """Where the tables are, as messages say it."""
        return self._location

    def upgrade(self, *, connection: sa.Connection | None = None) -> bool:
        """Make the tables, or bring them to this build's revision. Safe under races.

        Tells whether there was anything to do.

        :raises UnknownRevision: they are of a newer build.
        :raises PermissionMissing: the schema is missing and the database user may not make it.
        """
        if connection is None:
            self._make_file()
        # A table that is not found here is no sign of a missing registry.
        with self._transaction(connection, writes=True, missing=None) as joined:
            return bootstrap.upgrade(joined, self._schema, location=self._location)

    def current(self, *, connection: sa.Connection | None = None) -> str | None:
        """The revision of the tables; None when there are none."""
        try:
            with self._transaction(connection) as joined:
                return bootstrap.current(joined, self._schema)
        except RegistryMissing:
            return None

    def check(self, *, connection: sa.Connection | None = None) -> None:
        """Check that the tables are this build's; asked of the database until it is so, and never again.

        :raises RegistryMissing: there are none.
        :raises RegistryOutdated: they are of an older build.
        :raises UnknownRevision: they are of a newer one.
        """
        if self._checked:
            return
        with self._transaction(connection) as joined:
            found = bootstrap.current(joined, self._schema)
        if found is None:
            raise RegistryMissing(self._location)
        if found != REGISTRY_HEAD:
            if found in REGISTRY_REVISIONS:
                raise RegistryOutdated(self._location, found, REGISTRY_HEAD)
            raise UnknownRevision(self._location, found, REGISTRY_HEAD)
        self._checked = True

    def transaction(self, *, writes: bool = False) -> AbstractContextManager[sa.Connection]:
        """A transaction on the tables, which are checked first to be this build's. ``writes``: it will write, whatever
        it reads first.
        """
        self.check()
        return self._transaction(None, writes=writes)

    @contextmanager
    def _transaction(
        self,
        connection: sa.Connection | None,
        *,
        writes: bool = False,
        missing: Callable[[str], TenancyError] | None = RegistryMissing,
    ) -> Iterator[sa.Connection]:
        """The caller's transaction, or one of its own; errors of the driver leave it as the engine's."""
        with faults(self._location, missing=missing):
            if connection is not None:
                yield connection
                return
            engine = self._engine()
            path = _file_of(engine)
            # Asked first: opening a file that is not there would make it.
            if path is not None and not path.exists():
                raise RegistryMissing(self._location)
            with engine.begin() as own:
                if writes and own.dialect.name == "sqlite":
                    _begin_writing(own)
                yield own

    def _make_file(self) -> None:
        with faults(self._location):
            path = _file_of(self._engine())
            if path is not None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                # Hashes of passwords will be in it. Its -wal and -shm take the mode from it.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _file_of(engine: sa.Engine) -> Path | None:
    """The file of a SQLite engine; None for a server and for a database in memory."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or ":memory:" in name:
        return None
    return Path(unquote(name.removeprefix("file:")) if name.startswith("file:") else name)


def _begin_writing(connection: sa.Connection) -> None:
    """Begin the SQLite transaction, in which nothing was done yet, anew as one that writes.

    One that began by reading cannot wait for another writer later: SQLite refuses it at once, whatever its timeout.
    """
    driver: Any = connection.connection.driver_connection
    if driver.in_transaction:
        driver.execute("ROLLBACK")
    driver.execute("BEGIN IMMEDIATE")
