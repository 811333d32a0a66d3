"""Which tenants' schemas are not what their revision says, and in which ways.

Every tenant is compared with the baseline of the revision that it stands at, so one that is behind is no drift. Equal
drifts are one class, with the SQL that repairs it; a class is repaired in all its tenants or, where one is in use or
has changed meanwhile, in the others. Looking takes no lock that anyone waits for and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from tenantry.archive.sources import owner_engine
from tenantry.archive.work import Work
from tenantry.errors import (
    DriftNotFound,
    DriftNotRepairable,
    StoreMissing,
    TenancyError,
    UnknownRevision,
)
from tenantry.migrations import catalog, compiler, online
from tenantry.migrations.catalog import Shape
from tenantry.migrations.differences import Difference, differences
from tenantry.migrations.planner import Planner
from tenantry.registry.registry import Registry
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.opening import engine_for
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant, TenantStatus

STORED = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)


@dataclass(frozen=True)
class DriftClass:
    """Tenants that differ from their baseline in the same way."""

    key: str  # names the class as long as the difference is the same
    revision: str | None
    differences: tuple[Difference, ...]
    tenants: tuple[str, ...]

    @property
    def repair(self) -> tuple[str, ...] | None:
        """The statements that repair it; None when one of the differences needs a person."""
        if any(difference.repair is None for difference in self.differences):
            return None
        return tuple(statement for difference in self.differences for statement in difference.repair or ())

    @property
    def loses_rows(self) -> bool:
        """Whether repairing drops what people may have entered."""
        return any(difference.loses_rows for difference in self.differences)


@dataclass(frozen=True)
class DriftReport:
    """What a look at some tenants found."""

    checked: int
    classes: tuple[DriftClass, ...]
    unread: dict[str, str] = field(default_factory=dict)  # by slug: why it could not be looked at


@dataclass(frozen=True)
class Repair:
    """How the repair of one tenant ended; without an error it is as its baseline now."""

    slug: str
    error: str | None = None


class Drifts:
    """Looks for drift and repairs it. ``changed``: told of every tenant that was repaired."""

    def __init__(
        self, store: Store, registry: Registry, planner: Planner, changed: Callable[[str], None] = lambda slug: None
    ) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner
        self._changed = changed
        self._baselines: dict[str | None, Shape] = {}

    def report(self, slug: str | None = None) -> DriftReport:
        """Compare one tenant, or every active and suspended one, with the baseline of its revision, one after the
        other: most of the time goes into comparing, so that several connections were no faster.

        :raises TenantNotFound: there is none of that slug.
        """
        if slug is None:
            tenants = [tenant for status in STORED for tenant in self._registry.list(status)]
        else:
            tenants = [self._registry.get(slug)]
        classes: dict[str, tuple[str | None, tuple[Difference, ...], list[str]]] = {}
        unread = {}
        tenants.sort(key=lambda tenant: tenant.slug)
        for tenant in tenants:
            try:
                revision, found = self._look(tenant)
            except TenancyError as error:  # one that cannot be looked at does not keep the others from it
                unread[tenant.slug] = str(error)
                continue
            if found:
                classes.setdefault(_key(revision, found), (revision, found, []))[2].append(tenant.slug)
        told = [DriftClass(key, revision, found, tuple(slugs)) for key, (revision, found, slugs) in classes.items()]
        told.sort(key=lambda drift: (-len(drift.tenants), drift.key))
        return DriftReport(len(tenants), tuple(told), unread)

    def repair(self, key: str, *, slug: str | None = None, lose_rows: bool = False) -> list[Repair]:
        """Send the repair of a class to all its tenants, each in one transaction that ends with another look.

        ``lose_rows``: also when tables or columns that hold rows are dropped by it.

        :raises DriftNotFound: no tenant has this drift now. :raises DriftNotRepairable: it needs a person, or drops
        rows and that was not asked for.
        """
        report = self.report(slug)
        drift = next((drift for drift in report.classes if drift.key == key), None)
        if drift is None:
            raise DriftNotFound(key)
        if drift.repair is None:
            by_hand = [str(difference) for difference in drift.differences if difference.repair is None]
            raise DriftNotRepairable(key, "; ".join(by_hand), "change it by a revision, or by hand")
        if drift.loses_rows and not lose_rows:
            lost = [str(difference) for difference in drift.differences if difference.loses_rows]
            raise DriftNotRepairable(key, f"it would drop rows: {'; '.join(lost)}", "add --drop if they may go")
        return [self._attempt(tenant, drift) for tenant in map(self._registry.get, drift.tenants)]

    def _attempt(self, tenant: Tenant, drift: DriftClass) -> Repair:
        try:
            with self._store.lock(tenant.slug, wait=False):
                self._mend(tenant, drift)
        except TenancyError as error:
            return Repair(tenant.slug, str(error))
        finally:
            self._changed(tenant.slug)
        return Repair(tenant.slug)

    def _mend(self, tenant: Tenant, drift: DriftClass) -> None:
        statements = [catalog.for_role(text, tenant.role) for text in drift.repair or ()]
        options = {"class": drift.key}
        operation = self._registry.open_operation(tenant, "repair", wait=False, options=options)
        work = Work(self._registry, self._store.control_schema, tenant, "repair", operation, ())
        with work.outcome("tenant.repair"), work("repair"), self._store.change(tenant) as site:
            if site.joint is not None:
                work.claim(site.joint)
            revision, found = self._compare(site.connection, tenant)
            if _key(revision, found) != drift.key:
                raise DriftNotFound(drift.key)  # it has changed since it was looked at
            site.send([(text, ()) for text in statements if text is not None])
            _, left = self._compare(site.connection, tenant)
            if left:
                reason = f"'{tenant.slug}' would still differ afterwards ({left[0]})"
                raise DriftNotRepairable(drift.key, reason, "nothing of it was kept; repair it by hand")
            details = {"class": drift.key, "differences": [str(difference) for difference in drift.differences]}
            site.record(lambda connection: work.settle(connection, "tenant.repair", details))

    # -- looking

    def _look(self, tenant: Tenant) -> tuple[str | None, tuple[Difference, ...]]:
        location = self._store.describe(tenant.location)
        if not self._store.exists(tenant.location):
            raise StoreMissing(tenant.slug, self._store.kind, location)
        with faults(location), _looking(self._store, tenant) as connection:
            return self._compare(connection, tenant)

    def _compare(self, connection: sa.Connection, tenant: Tenant) -> tuple[str | None, tuple[Difference, ...]]:
        migrations = self._planner.migrations
        revision = online.revision_of(connection, migrations.version_table)
        if revision is not None and not migrations.knows(revision):
            raise UnknownRevision(self._store.describe(tenant.location), revision, migrations.head())
        expected = catalog.as_tenants(self._baseline(revision), tenant.role, migrations.version_table)
        return revision, tuple(differences(catalog.read(connection, tenant.role), expected))

    def _baseline(self, revision: str | None) -> Shape:
        if revision not in self._baselines:
            plan = self._planner.plan(None, revision)
            with self._store.scratch() as connection:
                compiler.lay(self._store, self._planner.migrations, connection, plan)
                self._baselines[revision] = catalog.read(connection)
        return self._baselines[revision]


@contextmanager
def _looking(store: Store, tenant: Tenant) -> Iterator[sa.Connection]:
    """A connection of the owner to the tenant's place that changes nothing."""
    if isinstance(store, PostgresSchemas):
        with owner_engine(store, tenant).connect() as connection:
            yield connection
    elif isinstance(store, SqliteFiles):
        engine = engine_for(store.path(tenant.location), begin="BEGIN", foreign_keys=False)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
    else:
        with store.engine(tenant).connect() as connection:
            yield connection


def _key(revision: str | None, found: Sequence[Difference]) -> str:
    told = [revision, *([item.kind.value, item.name, item.found, item.expected] for item in found)]
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()[:10]
