"""The contract of a store: where one tenant's data lives.

A store makes, opens and removes the places of single tenants and hands out connections that see one tenant only. It
knows no statuses, keeps no records and decides nothing: that is the work of the registry and of provisioning above it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa

from tenantry.names import NameTemplate, Slug, SlugRule
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

# One statement as a migration sent it: its SQL and its parameters, by position or by name (always empty on PostgreSQL,
# where they are written into the SQL).
Parameters = tuple[object, ...] | dict[str, object]
Statement = tuple[str, Parameters]


class Site(ABC):
    """One tenant's place while it is built or changed, inside one transaction, with the rights of its owner."""

    # The connection that also holds the registry's rows; None where the registry has a database of its own.
    joint: sa.Connection | None = None

    @property
    @abstractmethod
    def connection(self) -> sa.Connection:
        """A connection whose unqualified names are the tenant's own tables."""

    @abstractmethod
    def create(self) -> bool:
        """Make the place, empty, with its role, and tell whether anything was missing. What is there already is kept as
        it is.

        :raises PermissionMissing: the database user may not make schemas or roles.
        """

    @abstractmethod
    def lay(self, digest: str, statements: Sequence[Statement]) -> None:
        """Bring an empty place to the baseline that these statements make; ``digest`` names them, so that a template
        may be kept.
        """

    @abstractmethod
    def send(self, statements: Sequence[Statement]) -> None:
        """Send statements in their order to this place (see :meth:`Store.send`)."""

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether the place itself holds a table of this name."""

    @abstractmethod
    def protect(self, table: str) -> None:
        """Let the tenant's sessions read this table and not write it."""

    @abstractmethod
    def rest(self) -> None:
        """Keep the transaction and its locks while work goes on elsewhere, and nothing that it would wait for."""

    @abstractmethod
    def as_tenant(self) -> AbstractContextManager[None]:
        """Inside, ``connection`` has the rights of the tenant's own sessions only."""

    @abstractmethod
    def record(self, write: Callable[[sa.Connection], None]) -> None:
        """Write rows of the registry that are kept together with the change: at once on ``joint``, else when the change
        stands.
        """


class Store(ABC):
    """Where tenants' data lives. One object per application and process; safe to share between threads."""

    kind: ClassVar[str]  # what one tenant's place is called: "schema" or "file"
    dialect_name: ClassVar[str]  # SQLAlchemy's name of the database
    exclusive: ClassVar[bool]  # whether `lock` alone keeps other processes away

    def __init__(self, name: str | NameTemplate, slugs: SlugRule | None) -> None:
        self.template = name if isinstance(name, NameTemplate) else NameTemplate(name)
        self.slugs = slugs or SlugRule()

    def parse(self, slug: str) -> Slug:
        """The slug, checked together with the physical name that it gives.

        :raises NameRejected: either is not allowed.
        """
        parsed = self.slugs.parse(slug)
        self.locate(parsed)
        return parsed

    @abstractmethod
    def locate(self, slug: Slug) -> str:
        """The location of a new tenant of this slug, as the registry keeps it.

        :raises NameRejected: it is not allowed.
        """

    @abstractmethod
    def role_for(self, slug: Slug) -> str | None:
        """The database role of a new tenant of this slug; None where tenants have none."""

    @abstractmethod
    def describe(self, location: str = "") -> str:
        """The store, or one location in it, as people read it in messages; without secrets."""

    @property
    @abstractmethod
    def control_schema(self) -> str | None:
        """The schema of the registry's tables; None where the registry has a database of its own."""

    @abstractmethod
    def control_engine(self) -> sa.Engine:
        """The engine of the control plane: bound to no tenant, its unqualified names are the platform's own tables."""

    @abstractmethod
    def control(self) -> AbstractContextManager[sa.Connection]:
        """A transaction on the control plane, one process at a time, whose unqualified names are the platform's own
        tables; commits at the end.

        Makes the schema or file that holds them.
        """

    @abstractmethod
    def lock(self, slug: str, *, wait: bool) -> AbstractContextManager[None]:
        """Keep other processes away from this tenant's place while it is built or changed.

        :raises TenantBusy: another holds it and ``wait`` is false.
        """

    @abstractmethod
    def exists(self, location: str) -> bool:
        """Whether the place is there. Reads only."""

    def reclaim(self, location: str) -> bool:
        """Remove a place that a killed ``construct`` left before its record was written; tells whether there was one.
        The caller holds the tenant's lock and knows of no record.
        """
        return False

    @abstractmethod
    def construct(self, tenant: Tenant, *, at_once: bool = False) -> AbstractContextManager[Site]:
        """A site for a place that is not there yet; it appears whole at the end, or not at all when an exception leaves
        the block.

        ``at_once``: the tenant has no record yet, the site's records write it: it appears with them or not at all.
        """

    @abstractmethod
    def change(self, tenant: Tenant) -> AbstractContextManager[Site]:
        """A site in an existing place; the change is kept at the end, or lost when an exception leaves the block.

        :raises StoreMissing: the place is not there.
        """

    @abstractmethod
    def remove(self, tenant: Tenant, *, claim: Callable[[sa.Connection], object] | None = None) -> None:
        """Remove the place, its role and what a killed provisioning left of it, in steps that may be run again. What is
        not there is passed over. ``claim``: called first in every transaction next to the registry's rows; raises when
        the tenant is another's by now, whose place must stay.
        """

    @abstractmethod
    def online(self, tenant: Tenant) -> AbstractContextManager[sa.Connection]:
        """A connection of its own for revisions that must run as Python: it may commit and change its isolation level,
        and is closed at the end.
        """

    @abstractmethod
    def scratch(self) -> AbstractContextManager[sa.Connection]:
        """A connection to an empty place of no tenant, in a transaction; nothing of what is done there is kept."""

    @abstractmethod
    def send(self, connection: sa.Connection, statements: Sequence[Statement], location: str) -> None:
        """Send statements in their order, in as few messages as the database allows; ``location`` is named when one
        fails.

        :raises StatementFailed: one of them failed.
        """

    @abstractmethod
    def engine(self, tenant: Tenant, *, write: bool = False) -> sa.Engine:
        """An engine whose every transaction sees this tenant only. ``write``: take SQLite's write lock at BEGIN, so
        that reading first cannot fail later.
        """

    @abstractmethod
    async def async_engine(self, tenant: Tenant, *, write: bool = False) -> AsyncEngine:
        """The same for asyncio."""

    def gauges(self) -> dict[str, int]:
        """What this process holds open, by names that monitoring shows."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Close every pooled connection. The store may be used again afterwards."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections that :meth:`async_engine` opened."""


def retire(engine: sa.Engine) -> None:
    """Have connections closed as they come back: when an engine is given up, a session may hold or be about to take
    one, and nobody would close it then.
    """

    @sa.event.listens_for(engine, "checkin")
    def close(driver: object, record: ConnectionPoolEntry) -> None:
        record.invalidate()
