"""What ``Tenancy.archive`` is: everything that is done to one tenant as a whole, for one application.

Composes saving, restoring, exporting and the lifecycle, and has the directory forget what it knew of a tenant that
changed. A run over all tenants finishes the list and returns one outcome each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.archive.files import TenantFiles
from tenantry.archive.lifecycle import Archived, Erasure, Lifecycle
from tenantry.archive.restoring import Restorer
from tenantry.archive.saving import Saved, new_path, save, verify
from tenantry.errors import StatusRefused, TenancyError, TenantExists
from tenantry.provisioning import Provisioner
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant, TenantStatus
from tenantry.tracing import span

if TYPE_CHECKING:
    from tenantry.archive.exporting import Exported

STORED = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)  # statuses in which a tenant has data to save


@dataclass(frozen=True)
class BackupOutcome:
    """How the saving of one tenant of many ended."""

    slug: str
    saved: Saved | None
    error: str | None = None


class Archives:
    """Operations on single tenants as a whole. ``changed``: told of every slug whose record may have changed."""

    def __init__(
        self,
        provisioner: Provisioner,
        providers: Sequence[TenantFiles],
        directory: Callable[[], Path],
        changed: Callable[[str], None],
    ) -> None:
        self._provisioner = provisioner
        self._store = provisioner.store
        self._registry = provisioner.registry
        self._providers = tuple(providers)
        self._restorer = Restorer(provisioner, providers)
        self._lifecycle = Lifecycle(provisioner, providers, directory)
        self._told = changed

    @contextmanager
    def _changing(self, *slugs: str) -> Iterator[None]:
        self._registry.check()
        with faults(self._store.describe()):
            try:
                yield
            finally:
                for slug in slugs:
                    self._told(slug)

    # -- to a file and back

    def backup(self, slug: str, *, to: Path | str) -> Saved:
        """Save the tenant to a new file in the directory ``to``, under one snapshot; nobody has to wait for it.

        :raises TenantNotFound, StoreMissing, ArchiveUnfit, StatusRefused: nothing was written.
        """
        with self._changing():
            tenant = self._registry.get(slug)
            if tenant.status not in STORED:
                raise StatusRefused(slug, tenant.status.value, "a backup")
            path = new_path(Path(to), slug)
            saved = self._save(tenant, path)
            details = {"file": str(path.absolute()), "rows": saved.manifest.rows, "bytes": saved.size}
            self._registry.audit("tenant.backup", slug, details=details)
            return saved

    def backup_all(self, *, to: Path | str) -> Iterator[BackupOutcome]:
        """Save every active and suspended tenant, one outcome each as it comes; a failure does not stop the rest."""
        with self._changing():
            slugs = [tenant.slug for status in STORED for tenant in self._registry.list(status)]
        for slug in sorted(slugs):
            try:
                yield BackupOutcome(slug, self.backup(slug, to=to))
            except TenancyError as error:
                yield BackupOutcome(slug, None, str(error))

    def _save(self, tenant: Tenant, path: Path) -> Saved:
        table = self._provisioner.planner.migrations.version_table
        with span("backup", tenant.slug):
            return save(self._store, tenant, path, version_table=table, providers=self._providers)

    def verify_backup(self, path: Path | str) -> Saved:
        """Prove that a file is a whole saved tenant: see :func:`tenantry.archive.saving.verify`."""
        return verify(Path(path))

    def restore(self, path: Path | str, *, slug: str | None = None) -> Tenant:
        """Make a tenant of a file, under its own slug or another: see :meth:`Restorer.restore`."""
        wanted = slug or self.verify_backup(path).manifest.slug
        with self._changing(wanted):
            return self._restorer.restore(Path(path), slug)

    def clone(self, slug: str, new: str) -> Tenant:
        """Make a second tenant with the same data, as they stand now.

        :raises TenantExists: the new slug is taken. :raises the errors of :meth:`backup` and :meth:`restore`.
        """
        with self._changing(new), tempfile.TemporaryDirectory(prefix="tenantry-clone-") as scratch:
            self._store.parse(new)
            tenant = self._registry.get(slug)
            if slug == new:
                raise TenantExists(new, slug, tenant.status.value)
            saved = self._save(tenant, Path(scratch) / "clone.tenantry")
            return self._restorer.restore(saved.path, new, kind="clone")

    def export(self, slug: str, *, format: str, to: Path | str) -> Exported:
        """Write the tenant's tables for other programs: see :func:`tenantry.archive.exporting.export`."""
        from tenantry.archive.exporting import export

        with self._changing():
            tenant = self._registry.get(slug)
            table = self._provisioner.planner.migrations.version_table
            exported = export(self._store, tenant, format=format, to=Path(to), version_table=table)
            self._registry.audit("tenant.export", slug, details={"path": str(exported.path.absolute())})
            return exported

    # -- statuses

    def suspend(self, slug: str) -> Tenant:
        """Serve the tenant no more: see :meth:`Lifecycle.suspend`."""
        with self._changing(slug):
            return self._lifecycle.suspend(slug)

    def resume(self, slug: str) -> Tenant:
        """Serve it again: see :meth:`Lifecycle.resume`."""
        with self._changing(slug):
            return self._lifecycle.resume(slug)

    def archive(self, slug: str, *, to: Path | str | None = None) -> Archived:
        """Save it to a file and remove its place: see :meth:`Lifecycle.archive`."""
        with self._changing(slug):
            return self._lifecycle.archive(slug, to=None if to is None else Path(to))

    def unarchive(self, slug: str, *, path: Path | str | None = None) -> Tenant:
        """Bring an archived tenant back: see :meth:`Restorer.unarchive`. ``path``: another file than the journal's."""
        with self._changing(slug):
            tenant = self._registry.get(slug)
            if tenant.status is not TenantStatus.ARCHIVED:
                raise StatusRefused(slug, tenant.status.value, TenantStatus.ACTIVE.value)
            found = self._lifecycle.archived_file(tenant) if path is None else Path(path)
            return self._restorer.unarchive(tenant, found)

    def rename(self, slug: str, new: str) -> Tenant:
        """Call it otherwise: see :meth:`Renamer.rename`."""
        with self._changing(slug, new):
            return self._lifecycle.rename(slug, new)

    def delete(self, slug: str, *, confirm: str) -> Erasure:
        """Remove it for good and tell what was removed: see :meth:`Lifecycle.delete`."""
        with self._changing(slug):
            return self._lifecycle.delete(slug, confirm=confirm)
