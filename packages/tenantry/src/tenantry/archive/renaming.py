"""A tenant called otherwise: its slug, its schema or file, its role, its files.

On PostgreSQL it is one transaction. On SQLite the file is copied while writers wait, the record follows, and the old
file is put out of reach; killed between, the same command run again finishes it, and so does no other.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from psycopg import sql

from tenantry.archive.fence import poison
from tenantry.archive.files import TenantFiles
from tenantry.archive.work import Work
from tenantry.errors import StatusRefused, StoreError, StoreExists, TenantExists, TenantNotFound
from tenantry.migrations import catalog
from tenantry.migrations.catalog import Kind
from tenantry.names import Slug
from tenantry.registry.registry import Registry
from tenantry.stores.base import Store
from tenantry.stores.disk import make_directories, sync
from tenantry.stores.faults import faults
from tenantry.stores.opening import begin, engine_for, file_url
from tenantry.stores.postgres import execute
from tenantry.stores.sqlite import SqliteFiles, draft_of
from tenantry.tenant import Tenant, TenantStatus

RENAMABLE = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED, TenantStatus.ARCHIVED, TenantStatus.FAILED)


class Renamer:
    """Renames tenants of one application."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        providers: Sequence[TenantFiles],
        work: Callable[[Tenant, str, str], Work],
    ) -> None:
        self._store = store
        self._registry = registry
        self._providers = providers
        self._work = work

    def rename(self, slug: str, new: str) -> Tenant:
        """Give the tenant another slug, and its place and role the names that follow from it. Sessions that are open
        on the old name fail at their next statement; nothing is lost.

        :raises TenantExists: the new slug is taken. :raises StoreExists: a schema or file of the new name is there.
        :raises NameRejected: the new slug is not allowed. :raises StatusRefused: the tenant is half made or half gone.
        :raises StoreError: a function of the tenant's names its schema, or its files are not where its rows say.
        """
        parsed = self._store.parse(new)
        first, second = sorted((slug, parsed.value))
        with self._store.lock(first, wait=False), self._store.lock(second, wait=False):
            tenant = self._registry.find(slug)
            if tenant is None:
                tenant = self._begun(slug, parsed.value)
                return self._finish(tenant, slug)
            if tenant.status not in RENAMABLE:
                raise StatusRefused(slug, tenant.status.value, f"'{parsed.value}'")
            taken = self._registry.find(parsed.value)
            if taken is not None:
                raise TenantExists(parsed.value, taken.slug, taken.status.value)
            renamed = self._renamed(tenant, parsed)
            options = {"to": renamed.slug, "location": tenant.location, "slug": tenant.slug}
            operation = self._registry.open_operation(tenant, "rename", wait=False, options=options)
            work = self._work(tenant, "rename", operation)
            with work.outcome("tenant.rename"):
                if isinstance(self._store, SqliteFiles):
                    self._copy_file(work, self._store, renamed, parsed)
                else:
                    self._rename_schema(work, renamed, parsed)
            return self._finish(self._registry.get(renamed.slug), slug, work)

    def _renamed(self, tenant: Tenant, parsed: Slug) -> Tenant:
        role = None if tenant.role is None else self._store.role_for(parsed) or tenant.role
        return replace(tenant, slug=parsed.value, location=self._store.locate(parsed), role=role)

    def _begun(self, slug: str, new: str) -> Tenant:
        """The tenant of the new name, whose renaming was interrupted after its record had changed."""
        tenant = self._registry.find(new)
        if tenant is not None:
            options = self._registry.options(tenant, kind="rename")
            if options.get("slug") == slug and options.get("to") == new:
                return tenant
        raise TenantNotFound(slug)

    def _record(self, work: Work, connection: sa.Connection, renamed: Tenant, parsed: Slug) -> None:
        changes = {"slug": renamed.slug, "slug_key": parsed.key, "location": renamed.location, "role": renamed.role}
        try:
            work.mark(connection, **changes)
        except sa.exc.IntegrityError as error:
            raise TenantExists(renamed.slug, renamed.slug, renamed.status.value) from error

    def _finish(self, tenant: Tenant, old: str, work: Work | None = None) -> Tenant:
        """Everything after the record: the application's files, the old file, the end in the journal. May be run
        again.
        """
        options = self._registry.options(tenant, kind="rename")
        before = replace(tenant, slug=old, location=str(options["location"]))
        if work is None:
            operation = self._registry.open_operation(tenant, "rename", wait=False, options=options)
            work = self._work(tenant, "rename", operation)
        with work.outcome("tenant.rename"):
            with work("files"), faults(old):
                for provider in self._providers:
                    provider.move(before, tenant)
            with work("clear"):
                if isinstance(self._store, SqliteFiles) and before.location != tenant.location:
                    self._store.remove(before)
            with work("record"), self._registry.transaction(writes=True) as connection:
                work.settle(connection, "tenant.rename", {"from": old, "to": tenant.slug})
        return self._registry.get(tenant.slug)

    # -- PostgreSQL

    def _rename_schema(self, work: Work, renamed: Tenant, parsed: Slug) -> None:
        tenant = work.tenant
        if not self._store.exists(tenant.location):
            with self._registry.transaction(writes=True) as connection:
                self._record(work, connection, renamed, parsed)
            return
        if self._store.exists(renamed.location):
            raise StoreExists(self._store.kind, renamed.location)
        with self._store.change(tenant) as site:
            connection = site.connection
            work.claim(connection)
            for provider in self._providers:
                provider.check(tenant, connection)
            with work("rename"):
                shape = catalog.read(connection, tenant.role)
                named = [
                    item.name
                    for item in shape.items
                    if item.kind is Kind.FUNCTION and re.search(rf"\b{re.escape(tenant.location)}\b", item.text)
                ]
                if named:
                    reason = f"the functions {', '.join(named)} name their schema; take it out of them first."
                    raise StoreError(tenant.location, reason)
                rename = sql.SQL("ALTER {} {} RENAME TO {}")
                names = (sql.Identifier(tenant.location), sql.Identifier(renamed.location))
                execute(connection, rename.format(sql.SQL("SCHEMA"), *names))
                if tenant.role is not None and renamed.role is not None and tenant.role != renamed.role:
                    roles = (sql.Identifier(tenant.role), sql.Identifier(renamed.role))
                    execute(connection, rename.format(sql.SQL("ROLE"), *roles))
                self._record(work, connection, renamed, parsed)

    # -- SQLite

    def _copy_file(self, work: Work, store: SqliteFiles, renamed: Tenant, parsed: Slug) -> None:
        tenant = work.tenant
        source, target = store.path(tenant.location), store.path(renamed.location)
        if not store.exists(tenant.location):
            with self._registry.transaction(writes=True) as connection:
                self._record(work, connection, renamed, parsed)
            return
        draft = draft_of(target, "renaming")  # swept like what a killed provisioning leaves
        engine = engine_for(source, begin=begin(write=True), foreign_keys=False)
        try:
            with faults(str(source)), engine.connect() as connection:
                connection.begin()  # from here on writers wait
                for provider in self._providers:
                    provider.check(tenant, connection)
                with work("copy"):
                    made = make_directories(target.parent)
                    self._leftover(work, store, renamed, target)
                    try:
                        _copy(source, draft)
                        sync(draft)
                        draft.rename(target)
                        sync(target.parent)
                    except BaseException:
                        draft.unlink(missing_ok=True)
                        for directory in made:
                            with suppress(OSError):
                                directory.rmdir()
                        raise
                with work("rename"):
                    with self._registry.transaction(writes=True) as control:
                        self._record(work, control, renamed, parsed)
                    poison(connection)
        finally:
            engine.dispose()

    def _leftover(self, work: Work, store: SqliteFiles, renamed: Tenant, target: Path) -> None:
        """A file of the new name is this tenant's own only when an earlier renaming to it was interrupted."""
        if not target.exists():
            return
        before = [
            operation
            for operation in self._registry.operations(work.tenant.slug, limit=5)
            if operation.tenant_uid == work.tenant.uid and operation.uid != work.operation
        ]
        if not before or before[0].kind != "rename" or before[0].options.get("to") != renamed.slug:
            raise StoreExists(store.kind, store.describe(renamed.location))
        store.remove(renamed)
        make_directories(target.parent)


def _copy(source: Path, target: Path) -> None:
    """A whole copy of a database that is open elsewhere, in the mode that sessions expect."""
    url = cast(str, file_url(source).database)
    with closing(sqlite3.connect(f"{url}?mode=ro", uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        cast(Any, new).execute("PRAGMA journal_mode = WAL")
