"""A saved tenant made a tenant again: under its own name or another, on its own kind of database or the other.

The file is read whole and proved before the registry is touched. The record comes first, then everything else as one:
a process killed anywhere leaves a record that the same command finishes, and on PostgreSQL nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from tenantry.archive import targets
from tenantry.archive.fence import remove_place
from tenantry.archive.files import TenantFiles, unpack
from tenantry.archive.manifest import Manifest
from tenantry.archive.saving import opened, verify
from tenantry.archive.work import Work
from tenantry.errors import ArchiveUnfit, StatusRefused, StoreExists, TenantExists, UnknownRevision
from tenantry.migrations import apply
from tenantry.migrations.plan import Plan
from tenantry.provisioning import Provisioner
from tenantry.registry import journal
from tenantry.registry.pasts import half_restored
from tenantry.registry.registry import Reservation
from tenantry.steps import Observer
from tenantry.stores.base import Site
from tenantry.tenant import Tenant, TenantStatus

LOST = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)  # whose place may be restored when it is gone


class Restorer:
    """Restores tenants of one application."""

    def __init__(self, provisioner: Provisioner, providers: Sequence[TenantFiles]) -> None:
        self.provisioner = provisioner
        self.store = provisioner.store
        self.registry = provisioner.registry
        self.providers = tuple(providers)

    @property
    def observers(self) -> Sequence[Observer]:
        """Who is told of every step."""
        return self.provisioner.observers

    def check(self, path: Path) -> Manifest:
        """Prove that the file is whole and can be restored here; touches nothing.

        :raises ArchiveForeign, ArchiveDamaged: it is no whole saved tenant. :raises UnknownRevision: it is of another
        application or a newer build. :raises ArchiveUnfit: it holds files of a kind that this application does not
        know.
        """
        manifest = verify(path).manifest
        migrations = self.provisioner.planner.migrations
        if manifest.revision is not None and not migrations.knows(manifest.revision):
            raise UnknownRevision(str(path), manifest.revision, migrations.head())
        known = {provider.name for provider in self.providers}
        strange = [entry.provider for entry in manifest.files if entry.files and entry.provider not in known]
        if strange:
            raise ArchiveUnfit(str(path), [f"files of kind {name!r}" for name in strange])
        if manifest.version_table != migrations.version_table:
            raise ArchiveUnfit(str(path), [f"version table {manifest.version_table!r}"])
        return manifest

    def restore(self, path: Path, slug: str | None = None, *, kind: str = "restore", name: str | None = None) -> Tenant:
        """Make a tenant of a file: a new one, one whose restoring was interrupted, or one that has lost its place.

        :raises TenantExists: the slug is another tenant's. :raises StoreExists: there is a schema or file of its name.
        :raises ArchiveUnfit: a type or a value has no equal in this database; nothing was made.
        :raises the errors of :meth:`check`, before anything is touched.
        """
        manifest = self.check(path)
        parsed = self.store.parse(slug or manifest.slug)
        location = self.store.locate(parsed)
        plan = self._plan(manifest)
        options = {"file": str(path.absolute())}
        with self.store.lock(parsed.value, wait=False):
            held = self.registry.find(parsed.value)
            if held is None:
                if self.store.exists(location):
                    raise StoreExists(self.store.kind, location)
                reservation = self.registry.reserve(
                    parsed,
                    name=name or (manifest.name if slug in (None, manifest.slug) else parsed.value),
                    location=location,
                    role=self.store.role_for(parsed),
                    admin_email=manifest.admin_email,
                    attributes=manifest.attributes,
                    options=options,
                    kind=kind,
                )
            else:
                reservation = self._take_over(held, kind, options)
            tenant = reservation.tenant
            work = Work(
                self.registry, self.store.control_schema, tenant, kind, reservation.operation_uid, self.observers
            )
            status = tenant.status if tenant.status in LOST else TenantStatus.ACTIVE
            with work.outcome(f"tenant.{kind}"):
                self.rebuild(work, manifest, path, plan, status=status, action=f"tenant.{kind}")
        return self.registry.get(parsed.value)

    def _take_over(self, held: Tenant, kind: str, options: dict[str, str]) -> Reservation:
        schema = self.store.control_schema
        lost = held.status in LOST and not self.store.exists(held.location)
        if not lost and not half_restored(self.registry, schema, held):
            raise TenantExists(held.slug, held.slug, held.status.value)
        status = TenantStatus.PROVISIONING if held.status is TenantStatus.FAILED else None
        operation = self.registry.open_operation(held, kind, status=status, wait=False, options=options)
        return Reservation(replace(held, status=status or held.status), operation)

    def unarchive(self, tenant: Tenant, path: Path) -> Tenant:
        """Bring an archived tenant back from its file, in the status that it had.

        :raises StatusRefused: it is not archived. :raises the errors of :meth:`check`.
        """
        if tenant.status is not TenantStatus.ARCHIVED:
            raise StatusRefused(tenant.slug, tenant.status.value, TenantStatus.ACTIVE.value)
        manifest = self.check(path)
        plan = self._plan(manifest)
        was = TenantStatus.SUSPENDED if manifest.status == TenantStatus.SUSPENDED.value else TenantStatus.ACTIVE
        with self.store.lock(tenant.slug, wait=False):
            operation = self.registry.open_operation(
                tenant, "unarchive", wait=False, options={"file": str(path.absolute())}
            )
            work = Work(self.registry, self.store.control_schema, tenant, "unarchive", operation, self.observers)
            with work.outcome("tenant.unarchive"):
                with work("clear"):
                    # What a killed archiving or unarchiving left; the file is whole and nobody was served since.
                    remove_place(self.store, tenant, work.claim)
                self.rebuild(work, manifest, path, plan, status=was, action="tenant.unarchive")
        return self.registry.get(tenant.slug)

    def _plan(self, manifest: Manifest) -> Plan | None:
        """What makes the application's own schema where the saved one is of the other database."""
        if manifest.dialect == self.store.dialect_name:
            return None
        return self.provisioner.planner.plan(None, manifest.revision)

    def rebuild(
        self, work: Work, manifest: Manifest, path: Path, plan: Plan | None, *, status: TenantStatus, action: str
    ) -> None:
        """Make everything of a file in the tenant's empty place, and give the tenant its status."""
        tenant, migrations = work.tenant, self.provisioner.planner.migrations
        with opened(path) as (reader, _):
            with work("files"):
                # Before the tables: an interrupted restoring leaves files that nothing points at, not the reverse.
                by_name = {provider.name: provider for provider in self.providers}
                for entry in manifest.files:
                    if entry.files:
                        unpack(by_name[entry.provider], tenant, reader.chunks(entry.member), str(path))
            with self.store.construct(tenant) as site:
                if site.joint is not None:
                    work.claim(site.joint)
                with work("create"):
                    if not site.create():
                        raise StoreExists(self.store.kind, tenant.location)
                with work("rows"):
                    if plan is None:
                        targets.rebuild(site, tenant, manifest, reader.chunks, str(path))
                        if any(entry.name == migrations.version_table for entry in manifest.tables):
                            site.protect(migrations.version_table)
                    else:
                        targets.translate(
                            site, tenant, manifest, reader.chunks, str(path), lambda: self._lay(site, tenant, plan)
                        )
                with work("activate"):
                    site.record(lambda connection: self._settle(work, manifest, connection, status, action, path))

    def _lay(self, site: Site, tenant: Tenant, plan: Plan) -> None:
        location = self.store.describe(tenant.location)
        apply.build(site, plan, self.provisioner.planner.migrations, location)

    @staticmethod
    def _settle(
        work: Work, manifest: Manifest, connection: sa.Connection, status: TenantStatus, action: str, path: Path
    ) -> None:
        changes = {"failed_step": None, "error": None, "provisioned_at": journal.now()}
        details = {"file": str(path.absolute()), "made_at": manifest.made_at, "rows": manifest.rows}
        work.settle(connection, action, details, status=status.value, revision=manifest.revision, **changes)
