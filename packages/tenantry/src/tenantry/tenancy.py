"""The one object an application builds: its tenants, and everything that can be done with them.

Composes the parts below it and adds nothing of its own. Building one connects to nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenantry import scope
from tenantry.directory import Directory
from tenantry.errors import DeclarationError, StoreMissing
from tenantry.migrations import apply, online
from tenantry.migrations.directory import HEAD, Migrations, RevisionInfo
from tenantry.migrations.planner import Planner
from tenantry.migrations.window import Window
from tenantry.provisioning import Activation, Provisioned, Provisioner, Seed
from tenantry.registry import actor
from tenantry.registry.journal import Operation
from tenantry.registry.registry import Registry
from tenantry.steps import Observer
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from tenantry.archive.archives import Archives
    from tenantry.archive.files import TenantFiles
    from tenantry.fleet.fleet import Fleet
    from tenantry.fleet.standby import StandbyPool
    from tenantry.iam.iam import Iam
    from tenantry.iam.secret import SecretSource
    from tenantry.sessions import Sessions

REMEMBERED = 1.0  # seconds a tenant's record is trusted without asking the registry again, while changes are not heard


class Tenancy:
    """An application's tenants.

    ``store``: where their data lies. ``migrations``: the revisions of a tenant's tables. ``platform_migrations``: those
    of the application's own tables beside the registry. ``readiness``: tables that must exist before a tenant may be
    active. ``seeds``: called in their order for every new tenant. ``remembered``: seconds for which what the
    registry said of a tenant is trusted while changes are not heard (see :meth:`watch`). ``secret_key``: what the
    platform's tokens are signed with, or a function that gives it; by default SECRET_KEY of the environment, else one
    that is made once and kept in ``home``. ``files``: what the application keeps beside a tenant's tables, saved and
    restored with them. ``archives``: the directory of archived tenants; by default ``archives`` in ``home``.
    ``supported``: the revisions that this code can work with, ``oldest`` (to the head), ``oldest:newest`` or a
    collection of them; a tenant at another is not served (TenantOutOfWindow). By default it is whatever it stands at.
    """

    def __init__(
        self,
        store: Store,
        migrations: Migrations,
        *,
        platform_migrations: Migrations | None = None,
        readiness: Sequence[str] = (),
        seeds: Sequence[Seed] = (),
        remembered: float = REMEMBERED,
        secret_key: SecretSource = None,
        home: Path | str | Callable[[], Path | str] | None = None,
        files: Sequence[TenantFiles] = (),
        archives: Path | str | Callable[[], Path | str] | None = None,
        supported: str | Collection[str] | None = None,
    ) -> None:
        self.store = store
        self.migrations = migrations
        self.platform_migrations = platform_migrations
        self._readiness = readiness
        self._seeds = seeds
        self._remembered = remembered
        self._secret_key = secret_key
        self._home = home
        self._files = files
        self._archives = archives
        self._window = None if supported is None else Window(migrations, supported)

    # Built at first use: what they say of themselves asks the store for its URL, which may start a server.

    @cached_property
    def registry(self) -> Registry:
        """The records of the tenants."""
        return Registry(self.store.control_engine, self.store.control_schema, self.store.describe())

    @cached_property
    def planner(self) -> Planner:
        """The plans of the tenants' revisions."""
        return Planner(self.store, self.migrations, self.registry)

    @cached_property
    def _provisioner(self) -> Provisioner:
        provisioner = Provisioner(self.store, self.registry, self.planner, self._readiness, self._seeds)
        provisioner.pool = self._standby
        return provisioner

    @cached_property
    def _standby(self) -> StandbyPool:
        from tenantry.fleet.standby import StandbyPool

        return StandbyPool(self.store, self.registry, self.planner)

    @cached_property
    def fleet(self) -> Fleet:
        """All tenants at once: rollouts."""
        from tenantry.fleet.fleet import Fleet  # not needed by a process that serves

        return Fleet(self.store, self.registry, self.planner, self._standby, lambda slug: self.directory.changed(slug))

    @cached_property
    def directory(self) -> Directory:
        """Which tenants there are, answered from memory."""
        return Directory(self.store, self.registry, remembered=self._remembered, window=self._window)

    @cached_property
    def _sessions(self) -> Sessions:
        # Loaded here: SQLAlchemy's ORM is a third of the time that a command such as `tenant list` takes.
        from tenantry.sessions import Sessions

        return Sessions(self.store, self.directory)

    @cached_property
    def archive(self) -> Archives:
        """Single tenants as a whole: saved, restored, copied, exported, suspended, archived, renamed, deleted."""
        from tenantry.archive.archives import Archives  # not needed by a process that serves

        return Archives(self._provisioner, self._files, self._archive_directory, self.directory.changed)

    def _archive_directory(self) -> Path:
        from tenantry.iam.secret import default_home

        given = self._archives() if callable(self._archives) else self._archives
        if given is not None:
            return Path(given)
        home = self._home() if callable(self._home) else self._home
        return (default_home() if home is None else Path(home)) / "archives"

    @cached_property
    def iam(self) -> Iam:
        """The platform's users, their sessions, and what they may do."""
        from tenantry.iam.iam import Iam
        from tenantry.iam.secret import PlatformSecret, default_home

        home = default_home if self._home is None else self._home
        return Iam(self.registry, self.store.control_schema, PlatformSecret(self._secret_key, home))

    def __repr__(self) -> str:
        return f"<Tenancy on {self.store!r}>"

    # -- the control plane

    def initialize(self, *, to: str = HEAD) -> bool:
        """Make the control plane, or bring it to this build's revision; tells whether there was anything to do. Safe to
        run from many processes at once.

        ``to``: the revision of the application's own platform tables.
        """
        with self.store.control() as connection:
            changed = self.registry.upgrade(connection=connection)
            if self.platform_migrations is not None:
                goal = self.platform_migrations.resolve(to)
                if online.revision_of(connection, self.platform_migrations.version_table) != goal:
                    apply.run(connection, self.platform_migrations, goal, self.store.describe())
                    changed = True
        return changed

    @contextmanager
    def platform_session(self) -> Iterator[Session]:
        """A session on the platform's own tables; commits at the end of the block, rolls back when an exception leaves
        it.
        """
        from sqlalchemy.orm import Session

        self.registry.check()
        with Session(self.store.control_engine()) as session, session.begin():
            yield session

    def acting(self, name: str, *, origin: str | None = None) -> AbstractContextManager[actor.Actor]:
        """Inside, the journal and the audit trail name this actor."""
        return actor.acting(name, origin=origin)

    def observe(self, observer: Observer) -> None:
        """Have ``observer(slug, step)`` called before every step of an operation."""
        self._provisioner.observers.append(observer)

    # -- tenants

    def get(self, slug: str) -> Tenant:
        """The tenant's record. :raises TenantNotFound: there is none."""
        return self.registry.get(slug)

    def list(self, status: TenantStatus | None = None) -> builtins.list[Tenant]:
        """The tenants of one status, or all, by slug."""
        return self.registry.list(status)

    def exists(self, slug: str) -> bool:
        """Whether the tenant is registered and its schema or file is there."""
        tenant = self.registry.find(self.store.parse(slug).value)
        return tenant is not None and self.store.exists(tenant.location)

    def operations(self, slug: str) -> Sequence[Operation]:
        """The journal of the tenant, newest first."""
        return self.registry.operations(slug)

    def provision(
        self,
        slug: str,
        *,
        name: str | None = None,
        admin_email: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Provisioned:
        """Make a tenant, ready to use: see :meth:`Provisioner.provision`."""
        self.registry.check()
        try:
            return self._provisioner.provision(
                slug, name=name, admin_email=admin_email, attributes=attributes, options=options
            )
        finally:
            self.directory.changed(slug)

    def ensure(self, slug: str, **details: Any) -> Tenant:
        """The tenant of this slug, made if no one has yet: see :meth:`Provisioner.ensure`."""
        self.registry.check()
        try:
            return self._provisioner.ensure(slug, **details)
        finally:
            self.directory.changed(slug)

    def activate(self, slug: str, *, force: bool = False) -> Activation:
        """Make a tenant active: see :meth:`Provisioner.activate`."""
        with self._changing(slug):
            return self._provisioner.activate(slug, force=force)

    def change_attributes(
        self,
        slug: str,
        change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        action: str,
        details: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Change the application's own part of a tenant's record: see :meth:`Registry.change_attributes`."""
        with self._changing(slug):
            return self.registry.change_attributes(slug, change, action=action, details=details)

    def cleanup(self, slug: str | None = None, *, drop: bool = True) -> builtins.list[Tenant]:
        """Remove failed tenants: see :meth:`Provisioner.cleanup`."""
        removed = self._provisioner.cleanup(slug, drop=drop)
        for tenant in removed:
            self.directory.changed(tenant.slug)
        return removed

    # -- revisions

    def migrate(self, slug: str, *, to: str = HEAD) -> Provisioned:
        """Bring a tenant to a revision, finishing what was left unfinished: see :meth:`Provisioner.migrate`."""
        with self._changing(slug):
            return self._provisioner.migrate(slug, to)

    def downgrade(self, slug: str, to: str) -> Tenant:
        """Take a tenant back to a revision: see :meth:`Provisioner.downgrade`."""
        with self._changing(slug):
            return self._provisioner.downgrade(slug, to)

    def current(self, slug: str) -> str | None:
        """The revision that the tenant's own version table names. :raises StoreMissing: its schema or file is gone."""
        tenant = self.registry.get(slug)
        if not self.store.exists(tenant.location):
            raise StoreMissing(slug, self.store.kind, self.store.describe(tenant.location))
        # With the rights of a session: asking waits for no writer and takes no lock.
        location = self.store.describe(tenant.location)
        with faults(location), self.store.engine(tenant).connect() as connection:
            return apply.current(connection, self.migrations, location)

    def head(self, *, scope: str = "tenant") -> str | None:
        """The newest revision of this build, of a tenant's tables or of the platform's."""
        return self._chain(scope).head()

    def history(self, *, scope: str = "tenant") -> Sequence[RevisionInfo]:
        """The revisions of this build, newest first."""
        return self._chain(scope).history()

    def current_platform(self) -> str | None:
        """The revision of the application's own platform tables."""
        chain = self._chain("platform")
        with self.store.control() as connection:
            self.registry.check(connection=connection)
            return online.revision_of(connection, chain.version_table)

    def downgrade_platform(self, to: str) -> str | None:
        """Take the application's own platform tables back to a revision. The registry itself is never taken back."""
        chain = self._chain("platform")
        goal = chain.resolve(to)
        with self.store.control() as connection:
            self.registry.check(connection=connection)
            apply.run(connection, chain, goal, self.store.describe())
        return goal

    def new_revision(self, message: str, *, scope: str = "tenant", autogenerate: bool = False) -> Path:
        """Write a new revision file and return its path; ``autogenerate`` compares the models with a scratch place at
        head.

        :raises DeclarationError: the scope is neither ``tenant`` nor ``platform``, or that chain is not declared.
        """
        from tenantry.migrations import authoring

        return authoring.new_revision(self.store, self._chain(scope), message, autogenerate=autogenerate)

    def _chain(self, scope: str) -> Migrations:
        if scope == "tenant":
            return self.migrations
        if scope != "platform":
            raise DeclarationError(scope, "a revision's scope is 'tenant' or 'platform'.")
        if self.platform_migrations is None:
            raise DeclarationError("scope 'platform'", "this application declares no platform_migrations.")
        return self.platform_migrations

    # -- work

    def session(self, slug: str | None = None, *, write: bool = False) -> AbstractContextManager[Session]:
        """A session on one tenant: see :meth:`Sessions.session`."""
        return self._sessions.session(slug, write=write)

    def async_session(
        self, slug: str | None = None, *, write: bool = False
    ) -> AbstractAsyncContextManager[AsyncSession]:
        """The same for asyncio: see :meth:`Sessions.async_session`."""
        return self._sessions.async_session(slug, write=write)

    @contextmanager
    def scope(self, slug: str) -> Iterator[None]:
        """Inside, ``session()`` without a slug means this tenant. :raises WrongTenant: another's scope is open.

        :raises TenantNotFound, TenantNotActive: it cannot be worked on.
        """
        self.directory.tenant(slug)
        with scope.tenant_scope(slug):
            yield

    def watch(self) -> None:
        """Have this process hear of every change to a tenant at once, whoever makes it: see :meth:`Directory.watch`."""
        self.directory.watch()

    @contextmanager
    def _changing(self, slug: str) -> Iterator[None]:
        with faults(self.store.describe()):
            try:
                yield
            finally:
                self.directory.changed(slug)

    def close(self) -> None:
        """Close every connection; a place on standby that is being replaced is finished first."""
        self._settle()
        self._unwatch()
        self.store.close()

    async def aclose(self) -> None:
        """Close every connection, those of asyncio too."""
        import asyncio

        await asyncio.to_thread(self._settle)
        await asyncio.to_thread(self._unwatch)
        await self.store.aclose()
        self.store.close()

    def _settle(self) -> None:
        if "_standby" in self.__dict__:
            self._standby.settle()

    def _unwatch(self) -> None:
        if "directory" in self.__dict__:  # else it was never asked for, and closing must not make it
            self.directory.close()
