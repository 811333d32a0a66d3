"""The registry against reality, both ways: what is missing, left over, unfinished, behind, or about to hurt.

Looks only: no row, no file and no lock of a tenant is touched, and each finding says what mends it. What takes long on
many tenants (comparing every schema) is `tenant drift`'s, and the content of the audit trail is `audit verify`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from tenantry.archive.fence import GONE
from tenantry.errors import RegistryError, StoreUnavailable, TenancyError, UnknownRevision
from tenantry.fleet import examining_files, examining_server, sweep
from tenantry.fleet.finding import Finding
from tenantry.fleet.leftovers import Leftovers
from tenantry.migrations.planner import Planner
from tenantry.registry.journal import Operation
from tenantry.registry.pasts import COPIES, half_restored, operations_of
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.stores.base import Store
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant, TenantStatus

AT_WORK = 60.0  # seconds for which an open operation may be one that is going on
STORED = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)
# What finishes an interrupted operation; others are taken over by the next one on the same tenant.
FINISHES = {
    "archive": "tenant archive {slug}",
    "unarchive": "tenant unarchive {slug}",
    "delete": "tenant delete {slug} --confirm {slug}",
    "cleanup": "tenant cleanup --slug {slug}",
    "provision": "tenant migrate --slug {slug}",
    "migrate": "tenant migrate --slug {slug}",
    "downgrade": "tenant migrate --slug {slug}",
    "rollout": "tenant migrate --slug {slug}",
    "activate": "tenant activate --slug {slug}",
    "repair": "tenant drift {slug}",
}


@dataclass(frozen=True)
class Reality:
    """What is there, whoever it belongs to: places and roles by their names."""

    places: frozenset[str]
    roles: frozenset[str] | None  # None where tenants have no roles


class Doctor:
    """Examines the tenants of one application."""

    def __init__(self, store: Store, registry: Registry, planner: Planner) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner

    def examine(self) -> list[Finding]:
        """Everything that is wrong, the worst first. Empty when nothing is.

        :raises StoreUnavailable: the database cannot be reached at all.
        """
        try:
            self._registry.check()
        except StoreUnavailable:
            raise
        except UnknownRevision as error:
            return [Finding("registry", self._registry.location, str(error), "deploy the newer build")]
        except RegistryError as error:
            return [Finding("registry", self._registry.location, str(error), "db upgrade")]
        tenants = self._registry.list()
        reality = self._reality(tenants)
        findings: list[Finding] = []
        for tenant in tenants:
            findings += self._tenant(tenant, reality)
        findings += self._journals(tenants)
        findings += self._revisions([tenant for tenant in tenants if tenant.location in reality.places])
        known = {tenant.location for tenant in tenants} | {f"{GONE}{tenant.uid}" for tenant in tenants}
        roles = {tenant.role for tenant in tenants if tenant.role is not None}
        standby = tables(self._store.control_schema).standby
        with self._registry.transaction() as connection:
            for location, role in connection.execute(sa.select(standby.c.location, standby.c.role)):
                known.add(location)
                roles.add(role)
        if isinstance(self._store, PostgresSchemas):
            findings += examining_server.strays(self._store, reality.places, reality.roles, known, roles)
            findings += examining_server.settings(self._store, tenants)
        elif isinstance(self._store, SqliteFiles):
            findings += examining_files.strays(self._store, reality.places, known)
            findings += examining_files.condition(self._store, [t for t in tenants if t.location in reality.places])
        left = Leftovers(self._store, self._registry, self._planner).find()
        if left.plans or left.templates:
            findings.append(Finding("leftover", "other builds", f"they left {left}, more than a week ago", "db prune"))
        return worst_first(findings)

    def _reality(self, tenants: Sequence[Tenant]) -> Reality:
        if isinstance(self._store, PostgresSchemas):
            return Reality(*examining_server.reality(self._store))
        if isinstance(self._store, SqliteFiles):
            return Reality(examining_files.reality(self._store, tenants), None)
        return Reality(frozenset(t.location for t in tenants if self._store.exists(t.location)), None)

    # -- one tenant

    def _tenant(self, tenant: Tenant, reality: Reality) -> Iterator[Finding]:
        slug, there = tenant.slug, tenant.location in reality.places
        place = f"{self._store.kind} {self._store.describe(tenant.location)}"
        match tenant.status:
            case TenantStatus.ACTIVE | TenantStatus.SUSPENDED:
                if not there:
                    text = f"its {place} is missing"
                    yield Finding("missing", slug, text, f"tenant restore FILE --as {slug}")
                elif reality.roles is not None and tenant.role is not None and tenant.role not in reality.roles:
                    yield Finding(
                        "missing", slug, f"its role {tenant.role} is missing", f"tenant migrate --slug {slug}"
                    )
            case TenantStatus.ARCHIVED:
                if there or f"{GONE}{tenant.uid}" in reality.places:
                    text = f"it is archived, but its {place} was not removed to its end"
                    yield Finding("unfinished", slug, text, f"tenant archive {slug}")
                yield from self._archive(tenant)
            case TenantStatus.FAILED | TenantStatus.PROVISIONING:
                yield from self._unmade(tenant)
            case TenantStatus.DELETING:
                done = operations_of(self._registry, self._store.control_schema, tenant)
                by_delete = bool(done) and done[-1].kind == "delete"
                mend = f"tenant delete {slug} --confirm {slug}" if by_delete else f"tenant cleanup --slug {slug}"
                yield Finding("unfinished", slug, "its removal was interrupted", mend)

    def _archive(self, tenant: Tenant) -> Iterator[Finding]:
        done = operations_of(self._registry, self._store.control_schema, tenant)
        files = [operation.options["file"] for operation in done if operation.kind == "archive"]
        if not files or not Path(files[-1]).is_file():
            where = files[-1] if files else "a file that the journal does not name"
            mend = f"tenant unarchive {tenant.slug} --from FILE"
            yield Finding("missing", tenant.slug, f"it is archived to {where}, which is not there", mend)

    def _unmade(self, tenant: Tenant) -> Iterator[Finding]:
        slug = tenant.slug
        if half_restored(self._registry, self._store.control_schema, tenant):
            if tenant.status is TenantStatus.FAILED or _old(tenant.updated_at):
                text = f"its restoring did not end ({tenant.error or 'interrupted'})"
                yield Finding("unfinished", slug, text, f"tenant restore FILE --as {slug}")
        elif tenant.status is TenantStatus.FAILED:
            text = f"it failed at step {tenant.failed_step}: {tenant.error}"
            yield Finding("failed", slug, text, f"tenant migrate --slug {slug}, or tenant cleanup --slug {slug}")
        elif _old(tenant.updated_at):
            yield Finding("unfinished", slug, "its provisioning was interrupted", f"tenant migrate --slug {slug}")

    # -- the journal

    def _journals(self, tenants: Sequence[Tenant]) -> Iterator[Finding]:
        table = tables(self._store.control_schema).operation
        query = sa.select(table).where(table.c.status == "running").order_by(table.c.uid)
        by_uid = {tenant.uid: tenant for tenant in tenants}
        with self._registry.transaction() as connection:
            running = [Operation(**row) for row in connection.execute(query).mappings()]
        for operation in running:
            tenant = by_uid.get(operation.tenant_uid)
            # What a status says already is told there.
            settled = tenant is not None and tenant.status not in (*STORED, TenantStatus.ARCHIVED)
            if settled or not _old(operation.started_at):
                continue
            text = f"a {operation.kind} that began {operation.started_at:%Y-%m-%d %H:%M} was never ended"
            slug = operation.slug if tenant is None else tenant.slug
            yield Finding("unfinished", slug, text, _mend(operation, slug))

    # -- revisions

    def _revisions(self, tenants: Sequence[Tenant]) -> Iterator[Finding]:
        migrations = self._planner.migrations
        served = [tenant for tenant in tenants if tenant.status in STORED]
        try:
            found, _ = sweep.read(self._store, served, migrations.version_table)
        except TenancyError as error:
            yield Finding("unreadable", self._store.describe(), str(error), "tenant drift")
            return
        head = migrations.head()
        behind: list[str] = []
        for tenant in served:
            stands = found.get(tenant.uid)
            if stands != tenant.revision:
                text = f"the ledger says {tenant.revision or 'base'}, its own version table {stands or 'base'}"
                yield Finding("ledger", tenant.slug, text, "tenant migrate --all --verify")
            if stands is not None and ("," in stands or not migrations.knows(stands)):
                text = f"it stands at {stands}, which this build does not know"
                yield Finding("ahead", tenant.slug, text, f"deploy the build that holds {stands}")
            elif stands != head:
                behind.append(tenant.slug)
        if behind:
            shown = ", ".join(behind[:5]) + (f" and {len(behind) - 5} more" if len(behind) > 5 else "")
            yield Finding("behind", shown, f"{len(behind)} tenants are behind {head}", "tenant migrate --all")


def _mend(operation: Operation, slug: str) -> str:
    if operation.kind == "rename":
        return f"tenant rename {operation.options.get('slug', slug)} {operation.options.get('to', 'NEW')}"
    if operation.kind in COPIES:
        return f"tenant restore {operation.options.get('file', 'FILE')} --as {slug}"
    known = FINISHES.get(operation.kind, "tenant show --slug {slug}")
    return known.format(slug=slug)


def _old(since: datetime) -> bool:
    return (datetime.now(UTC) - since).total_seconds() > AT_WORK


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order in which a person should read them."""
    order = ("registry", "missing", "unreadable", "unfinished", "failed", "ahead", "ledger", "behind")
    ranked = {kind: number for number, kind in enumerate(order)}
    return sorted(findings, key=lambda finding: (ranked.get(finding.kind, len(ranked)), finding.subject))
