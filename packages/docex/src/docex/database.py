"""The database behind a DocEX object: one tenant's, or the only one when there are no tenants.

Both kinds have one face, so that nothing above knows which it works on. Every ``session()`` is one short transaction
on the same tables. Tables are made where there are none; existing ones are never dropped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from docex.config.settings import DatabaseSettings, Settings
from docex.context import UserContext
from docex.db.statements import Statements
from docex.errors import ClosedError, DatabaseError, TenantRequired
from docex.settling import settle, settle_all
from docex.sqlite_files import tune
from docex.storage.saved import PLACES, place_of, with_place
from docex.tenancy import close_all, ensure, existing, postgres_url, tenancy_for, tenant_errors, tenants
from tenantry import Migrations, Tenancy, scope
from tenantry.errors import StoreError, StoreMissing, TenancyError
from tenantry.migrations import online
from tenantry.stores.faults import faults
from tenantry.stores.opening import engine_for

# A version table of its own name: the database may be another application's too, and that one's may be called
# alembic_version.
MIGRATIONS = Migrations("docex:migrations", metadata="docex.models.schema:metadata", version_table="docex_version")
CONNECT_TIMEOUT = 10  # seconds until an unreachable server is an error

Key = tuple[int, DatabaseSettings, str]  # process, configuration, working directory

_engines: dict[Key, dict[bool, sa.Engine]] = {}
_ready: set[Key] = set()  # whose tables were found or made
_guard = threading.Lock()


class Database(Protocol):
    """Where the rows of one DocEX object are; ``tenant_id`` is None when there are no tenants."""

    tenant_id: str | None
    user_context: UserContext | None  # who works; written with every change
    enforced: bool  # whether the user's roles are checked

    @property
    def user_id(self) -> str | None:
        """The user whose changes these are."""

    def session(self, *, write: bool = False) -> AbstractContextManager[Session]:
        """One transaction; commits at the end of the block, rolls back when an exception leaves it.

        ``write``: on SQLite take the write lock at once, for work that reads first and writes later.
        """

    def connection(self, *, write: bool = False, large: bool = False) -> AbstractContextManager[sa.Connection]:
        """The same without an ORM session, which takes longer to make than many a statement takes to run.

        ``large``: much will be written, so a SQLite file gets it from its log a moment later.
        """

    def remember(self, storage_config: Mapping[str, Any]) -> None:
        """Have the tenant's record name where a basket keeps its contents, for what is done with the whole tenant."""

    def close(self) -> None:
        """Refuse further sessions. Connections are shared with other objects and stay with their pool."""


def open_database(
    settings: Settings, tenant_id: str | None, user_context: UserContext | None, *, provision: bool
) -> Database:
    """The database of the configuration, or of one of its tenants, which ``provision`` makes if need be.

    :raises TenantRequired: there are tenants and none was named. :raises the errors of docex.tenancy.
    """
    enforced = settings.security.enforce_user_context
    if not settings.by_tenant:
        return SingleDatabase(settings.database, user_context, enforced=enforced)
    if not tenant_id:
        raise TenantRequired()
    tenancy = tenancy_for(settings)
    if provision:
        ensure(tenancy, tenant_id, user_context.user_id if user_context else "docex")
    else:
        existing(tenancy, tenant_id)
    return TenantDatabase(tenancy, tenant_id, user_context, enforced=enforced)


def check_database(settings: Settings) -> None:
    """Try whether the database can be reached; without tenants also make its tables.

    :raises DatabaseError: it cannot.
    """
    if settings.by_tenant:
        tenants(tenancy_for(settings))
    else:
        SingleDatabase(settings.database)


def close_connections() -> None:
    """Close every connection of this process. Objects made before may be used again: they connect anew."""
    settle_all()
    close_all()
    with _guard:
        for key, engines in _engines.items():
            if key[0] == os.getpid():
                for engine in engines.values():
                    engine.dispose()
        _ready.clear()


class _Work(Statements):
    """Who works on a database, and whether that is still wanted."""

    def __init__(self, tenant_id: str | None, user_context: UserContext | None, enforced: bool) -> None:
        self.tenant_id = tenant_id
        self.user_context = user_context
        self.enforced = enforced
        self._closed = False

    @property
    def user_id(self) -> str | None:
        """See :class:`Database`."""
        return self.user_context.user_id if self.user_context else None

    def close(self) -> None:
        """See :class:`Database`."""
        self._closed = True
        settle_all()


class TenantDatabase(_Work):
    """One tenant's rows. The tenant was found active when this was made; later it is asked for again."""

    def __init__(
        self, tenancy: Tenancy, tenant_id: str, user_context: UserContext | None = None, *, enforced: bool = False
    ) -> None:
        super().__init__(tenant_id, user_context, enforced)
        self._id = tenant_id
        self._tenancy = tenancy
        self._place = f"the database of tenant {tenant_id!r}"

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[Session]:
        """See :class:`Database`."""
        if self._closed:
            raise ClosedError()
        with tenant_errors(self._id), faults(self._place, missing=self._missing):
            with self._tenancy.session(self._id, write=write) as session:
                yield session
            if write:
                _settle(session.get_bind().engine)

    @contextmanager
    def connection(self, *, write: bool = False, large: bool = False) -> Iterator[sa.Connection]:
        """See :class:`Database`."""
        if self._closed:
            raise ClosedError()
        with tenant_errors(self._id), faults(self._place, missing=self._missing):
            scope.check(self._id)
            engine = self._tenancy.store.engine(self._tenancy.directory.tenant(self._id), write=write)
            with engine.begin() as connection:
                yield connection
            if write:
                _settle(engine, later=large)

    def remember(self, storage_config: Mapping[str, Any]) -> None:
        """See :class:`Database`."""
        place = place_of(storage_config)
        with tenant_errors(self._id):
            if place is None or place in self._tenancy.directory.tenant(self._id).attributes.get(PLACES, ()):
                return
            change = partial(with_place, place=place)
            self._tenancy.change_attributes(self._id, change, action="documents.place", details=place)

    def _missing(self, place: str) -> TenancyError:
        """What it means that a table is not there. Said after a failure, so it may cost a look."""
        location = self._tenancy.get(self._id).location
        if self._tenancy.exists(self._id):
            reason = "one of DocEX's tables is missing. Restore it from a backup."
            return StoreError(self._tenancy.store.describe(location), reason)
        return StoreMissing(self._id, self._tenancy.store.kind, location)


class SingleDatabase(_Work):
    """The rows of a DocEX without tenants: a SQLite file, or the tables of a PostgreSQL database."""

    def __init__(
        self, settings: DatabaseSettings, user_context: UserContext | None = None, *, enforced: bool = False
    ) -> None:
        """Make the tables, or bring them to this release, if that was not done before."""
        super().__init__(None, user_context, enforced)
        self._place = _place(settings)
        with tenant_errors(""), faults(self._place):
            self._engines = _opened(settings)

    def remember(self, storage_config: Mapping[str, Any]) -> None:
        """See :class:`Database`. There is no tenant."""

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[Session]:
        """See :class:`Database`."""
        if self._closed:
            raise ClosedError()
        with tenant_errors(""), faults(self._place):
            with Session(self._engines[write]) as session:
                yield session
                session.commit()  # and not a block of begin(): a script may have committed by itself
            if write:
                _settle(self._engines[write])

    @contextmanager
    def connection(self, *, write: bool = False, large: bool = False) -> Iterator[sa.Connection]:
        """See :class:`Database`."""
        if self._closed:
            raise ClosedError()
        with tenant_errors(""), faults(self._place):
            with self._engines[write].begin() as connection:
                yield connection
            if write:
                _settle(self._engines[write], later=large)


def _settle(engine: sa.Engine, *, later: bool = False) -> None:
    if engine.dialect.name == "sqlite":
        settle(engine, later=later)


def _place(settings: DatabaseSettings) -> str:
    if settings.type == "sqlite":
        return os.path.abspath(os.path.expanduser(settings.sqlite.path))
    return f"PostgreSQL database {settings.postgres.database!r} on {settings.postgres.host}"


def _opened(settings: DatabaseSettings) -> dict[bool, sa.Engine]:
    """The engines for reading and for writing, one pair per process and configuration, on tables that are ready."""
    key = (os.getpid(), settings, os.getcwd())
    with _guard:
        if key not in _engines:
            _engines[key] = _engines_for(settings)
        if key not in _ready:
            _prepare(_engines[key][True], _place(settings))
            _ready.add(key)
        return _engines[key]


def _engines_for(settings: DatabaseSettings) -> dict[bool, sa.Engine]:
    if settings.type == "sqlite":
        path = Path(_place(settings))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o644)
        engines = {
            write: engine_for(path, begin="BEGIN IMMEDIATE" if write else "BEGIN", foreign_keys=True)
            for write in (False, True)
        }
        for engine in engines.values():
            tune(engine, settings.sqlite.synchronous)
        return engines
    engine = sa.create_engine(
        postgres_url(settings.postgres),
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        connect_args={"connect_timeout": CONNECT_TIMEOUT},
    )
    return {False: engine, True: engine}


def _prepare(engine: sa.Engine, place: str) -> None:
    """Make the tables or bring them to this release, in one transaction and one process at a time."""
    head = MIGRATIONS.head()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('docex'), hashtext(current_schema()))"))
        found = online.revision_of(connection, MIGRATIONS.version_table)
        if found == head:
            return
        if found is None and sa.inspect(connection).has_table("docbasket"):
            raise DatabaseError(
                f"{place} holds tables of DocEX that this release did not make. Nothing was changed: "
                "name another database in the configuration."
            )
        if found is not None and not MIGRATIONS.knows(found):
            raise DatabaseError(f"{place} is at revision {found}, made by a later release of DocEX (this one: {head}).")
        online.run(connection, MIGRATIONS, head)
