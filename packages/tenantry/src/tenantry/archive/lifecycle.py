"""A tenant suspended, resumed, archived, renamed and deleted: each in the journal, each whole after a kill.

What cannot be one transaction is done in an order in which a killed operation has lost nothing, and the same command
run again finishes it. Nothing here removes a tenant that is not archived or failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry.archive.fence import fenced, remains, remove_place
from tenantry.archive.files import TenantFiles
from tenantry.archive.renaming import Renamer
from tenantry.archive.saving import new_path, opened, save, verify
from tenantry.archive.sources import reading
from tenantry.archive.work import Work
from tenantry.errors import ArchiveError, NotConfirmed, StatusRefused, StoreMissing, TenancyError
from tenantry.provisioning import Provisioner
from tenantry.registry.pasts import operations_of
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant, TenantStatus


@dataclass(frozen=True)
class Archived:
    """A tenant whose data now lie in a file alone."""

    tenant: Tenant
    path: Path


@dataclass(frozen=True)
class Erasure:
    """What was removed of a tenant and where, counted and hashed, and what may be left of it elsewhere."""

    slug: str
    removed: Sequence[Mapping[str, Any]]  # what, where, rows or files, bytes, SHA-256
    kept: Sequence[str]  # backups that were made of it and are not the engine's to remove

    def details(self) -> dict[str, Any]:
        """As the audit trail keeps it."""
        return {"removed": [dict(entry) for entry in self.removed], "kept": list(self.kept)}


class Lifecycle:
    """The later statuses of one application's tenants."""

    def __init__(
        self,
        provisioner: Provisioner,
        providers: Sequence[TenantFiles],
        directory: Callable[[], Path],
    ) -> None:
        self.provisioner = provisioner
        self.store = provisioner.store
        self.registry = provisioner.registry
        self.providers = tuple(providers)
        self._directory = directory

    @property
    def _version_table(self) -> str:
        return self.provisioner.planner.migrations.version_table

    def _work(self, tenant: Tenant, kind: str, operation: str) -> Work:
        schema = self.store.control_schema
        return Work(self.registry, schema, tenant, kind, operation, self.provisioner.observers)

    # -- suspended and back

    def suspend(self, slug: str) -> Tenant:
        """Serve the tenant no more; its data stay. What is under way is finished.

        :raises StatusRefused: it is not active.
        """
        return self._turn(slug, "suspend", TenantStatus.ACTIVE, TenantStatus.SUSPENDED)

    def resume(self, slug: str) -> Tenant:
        """Serve a suspended tenant again. :raises StatusRefused: it is not suspended."""
        return self._turn(slug, "resume", TenantStatus.SUSPENDED, TenantStatus.ACTIVE)

    def _turn(self, slug: str, kind: str, present: TenantStatus, wanted: TenantStatus) -> Tenant:
        tenant = self.registry.get(slug)
        if tenant.status is not present:
            raise StatusRefused(slug, tenant.status.value, wanted.value)
        with self.store.lock(slug, wait=False), self.registry.transaction(writes=True) as connection:
            operation = self.registry.open_operation(tenant, kind, status=wanted, wait=False, connection=connection)
            self._work(tenant, kind, operation).settle(connection, f"tenant.{kind}", {"status": wanted.value})
        return self.registry.get(slug)

    # -- archived

    def archive(self, slug: str, *, to: Path | None = None) -> Archived:
        """Save the tenant to a file, prove that file, and remove the tenant's place; its record stays, ``archived``.

        Nobody can write between the saving and the end. Interrupted, it may be run again: before the status has
        changed it begins anew, afterwards it removes what is left.

        :raises StatusRefused: it is neither active nor suspended. :raises StoreMissing: its place is gone.
        :raises ArchiveError: it is archived, and in another directory.
        """
        tenant = self.registry.get(slug)
        with self.store.lock(slug, wait=False):
            if tenant.status is TenantStatus.ARCHIVED:
                return self._clear(tenant, to)
            tenant.require(TenantStatus.ARCHIVED)
            path = new_path(to or self._directory(), slug)
            options = {"file": str(path.absolute())}
            operation = self.registry.open_operation(tenant, "archive", wait=False, options=options)
            work = self._work(tenant, "archive", operation)
            with work.outcome("tenant.archive"):
                with fenced(self.store, tenant, work.claim) as fence:
                    with work("save"):
                        saved = save(
                            self.store, tenant, path, version_table=self._version_table, providers=self.providers
                        )
                    with work("verify"):
                        verify(path)
                    with work("withdraw"):
                        fence.close(
                            lambda connection: work.mark(
                                connection, status=TenantStatus.ARCHIVED.value, revision=saved.manifest.revision
                            )
                        )
                self._drop(work, path)
        return Archived(self.registry.get(slug), path)

    def _clear(self, tenant: Tenant, to: Path | None) -> Archived:
        """Finish an archiving that was interrupted after the status had changed."""
        path = self.archived_file(tenant)
        if to is not None and path.parent.resolve() != to.resolve():
            reason = "the tenant is archived there already: move the file yourself, and name it to `unarchive --from`."
            raise ArchiveError(path, reason)
        verify(path)
        operation = self.registry.open_operation(tenant, "archive", wait=False, options={"file": str(path)})
        work = self._work(tenant, "archive", operation)
        with work.outcome("tenant.archive"):
            self._drop(work, path)
        return Archived(self.registry.get(tenant.slug), path)

    def _drop(self, work: Work, path: Path) -> None:
        with work("drop"):
            remove_place(self.store, work.tenant, work.claim)
        with work("files"):
            for provider in self.providers:
                provider.remove(work.tenant)
        with work("record"), self.registry.transaction(writes=True) as connection:
            work.settle(connection, "tenant.archive", {"file": str(path.absolute())})

    def archived_file(self, tenant: Tenant) -> Path:
        """Where the tenant was archived to. :raises ArchiveError: the journal does not say."""
        for operation in reversed(operations_of(self.registry, self.store.control_schema, tenant)):
            if operation.kind == "archive" and "file" in operation.options:
                return Path(operation.options["file"])
        raise ArchiveError(tenant.slug, "the journal does not say where it was archived; name the file.")

    # -- renamed

    def rename(self, slug: str, new: str) -> Tenant:
        """Call the tenant otherwise: see :meth:`Renamer.rename`."""
        return Renamer(self.store, self.registry, self.providers, self._work).rename(slug, new)

    # -- deleted

    def delete(self, slug: str, *, confirm: str) -> Erasure:
        """Remove an archived or failed tenant for good: what is left of its place, its files, the file that it was
        archived to, its record. Its journal and audit trail stay, and hold the report.

        Interrupted, it may be run again. ``confirm``: the slug once more.

        :raises NotConfirmed: it is not the slug. :raises StatusRefused: the tenant is neither archived nor failed.
        """
        if confirm != slug:
            raise NotConfirmed(slug, confirm)
        tenant = self.registry.get(slug)
        with self.store.lock(slug, wait=False):
            if tenant.status is TenantStatus.DELETING:
                report = self.registry.options(tenant, kind="delete")
                status = None
            else:
                tenant.require(TenantStatus.DELETING)
                report, status = self._report(tenant).details(), TenantStatus.DELETING
            archives = self._archives(tenant)
            operation = self.registry.open_operation(tenant, "delete", status=status, wait=False, options=report)
            work = self._work(tenant, "delete", operation)
            with work.outcome("tenant.delete"):
                with work("drop"):
                    remove_place(self.store, tenant, work.claim)
                with work("files"), faults(slug):
                    for provider in self.providers:
                        provider.remove(tenant)
                    for path in archives:
                        path.unlink(missing_ok=True)
                with work("record"):
                    self.registry.delete(tenant, operation, steps=work.records, action="tenant.delete", details=report)
        return Erasure(slug, report.get("removed", ()), report.get("kept", ()))

    def _report(self, tenant: Tenant) -> Erasure:
        removed: list[dict[str, Any]] = []
        for place in (tenant, remains(tenant)):
            removed += self._counted(place)
        if tenant.role is not None:
            removed.append({"what": "role", "where": tenant.role})
        for provider in self.providers:
            files = list(provider.list(tenant))
            if files:
                size = sum(kept.size for kept in files)
                removed.append({"what": "files", "where": provider.name, "files": len(files), "bytes": size})
        removed += [_of_file(path) for path in self._archives(tenant) if path.exists()]
        made = self.registry.audit_entries(tenant.slug, action="tenant.backup", limit=1_000)
        files_left = {str(entry.details["file"]) for entry in made if "file" in entry.details}
        return Erasure(tenant.slug, removed, sorted(path for path in files_left if Path(path).exists()))

    def _archives(self, tenant: Tenant) -> list[Path]:
        """Every file that it was ever archived to."""
        done = operations_of(self.registry, self.store.control_schema, tenant)
        named = [each.options["file"] for each in done if each.kind == "archive" and "file" in each.options]
        return [Path(file) for file in dict.fromkeys(named)]

    def _counted(self, tenant: Tenant) -> list[dict[str, Any]]:
        try:
            with reading(self.store, tenant, self._version_table) as source:
                found = []
                for table in source.shape.tables:
                    digest, rows = hashlib.sha256(), 0
                    for piece in source.rows(table):
                        digest.update(piece)
                        rows += piece.count(b"\n")
                    where = f"{self.store.describe(tenant.location)} {table.name}"
                    found.append({"what": "table", "where": where, "rows": rows, "sha256": digest.hexdigest()})
                return found
        except StoreMissing:
            return []
        except TenancyError as error:  # half made, or damaged: it goes whatever it holds
            return [{"what": self.store.kind, "where": self.store.describe(tenant.location), "error": str(error)}]


def _of_file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            digest.update(piece)
    told: dict[str, Any] = {"what": "archive", "where": str(path), "bytes": path.stat().st_size}
    told["sha256"] = digest.hexdigest()
    try:
        with opened(path) as (_, manifest):
            told["rows"] = manifest.rows
            told["tables"] = {table.name: [table.rows, table.sha256] for table in manifest.tables}
    except ArchiveError as error:
        told["error"] = str(error)
    return told
