"""One tenant made, finished, changed, activated or cleaned up, every step in the journal.

The record is written and committed before anything else, and everything after it is kept or lost as one: a process
killed anywhere leaves either nothing or an active tenant, and a record that ``migrate`` finishes. Where there is
nothing to wait for - a place made ready before, a file that is a copy - place and record are one from the start.
Whoever opens an operation takes the tenant over: a slower process finds its token replaced and changes nothing. Nothing
here handles more than one tenant at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from tenantry.errors import (
    NotReady,
    RestoreUnfinished,
    StatusRefused,
    StepFailed,
    StoreExists,
    StoreMissing,
    TenancyError,
    TenantBusy,
    TenantExists,
    TenantNotActive,
    TenantNotFailed,
    TenantNotFound,
)
from tenantry.migrations import apply
from tenantry.migrations.directory import HEAD
from tenantry.migrations.plan import Plan
from tenantry.migrations.planner import Planner
from tenantry.names import Slug
from tenantry.registry.enlisting import enlist
from tenantry.registry.journal import StepRecord
from tenantry.registry.pasts import half_restored, operations_of
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.steps import Clock, Observer, outcome
from tenantry.stores.base import Site, Store
from tenantry.stores.faults import cause
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)

YOUNG = 0.5  # seconds for which a provisioning that holds no lock is not taken for an interrupted one
PAUSE = 0.05  # seconds between two looks at a tenant that another process is making
ENSURE_PATIENCE = 300.0  # seconds after which waiting for it is an error


@dataclass(frozen=True)
class Seeding:
    """What a seed is given. It runs inside provisioning's transaction with the tenant's own rights, and again when
    provisioning is resumed.
    """

    session: Session  # the tenant's; commit belongs to provisioning
    tenant: Tenant
    options: Mapping[str, Any]
    receipts: dict[str, str] = field(
        default_factory=dict, repr=False
    )  # told to the caller once, never stored or logged


Seed = Callable[[Seeding], None]


@dataclass(frozen=True)
class Provisioned:
    """What an operation made of a tenant."""

    tenant: Tenant
    steps: tuple[StepRecord, ...]
    receipts: Mapping[str, str] = field(default_factory=dict, repr=False)
    before: str | None = None  # the revision it stood at


@dataclass(frozen=True)
class Activation:
    """A tenant made active, and the checks that were skipped for it."""

    tenant: Tenant
    skipped: tuple[str, ...]


class Pool(Protocol):
    """Places made ready before anyone asked for them."""

    def take(self, site: Site, tenant: Tenant, plan: Plan) -> bool:
        """Make this site, which is not there yet, a ready-made place at the plan's target, in the site's transaction;
        tells whether there was one.
        """

    def promising(self) -> bool:
        """Whether there was one when last looked, a moment ago; asks nobody."""

    def refill(self) -> None:
        """Have what was taken replaced; does not wait for it."""


class Provisioner:
    """The operations on one tenant, for one application. ``observers`` are told of every step before it begins."""

    def __init__(
        self, store: Store, registry: Registry, planner: Planner, readiness: Sequence[str], seeds: Sequence[Seed]
    ) -> None:
        self.store = store
        self.registry = registry
        self.planner = planner
        self.readiness = tuple(readiness)
        self.seeds = tuple(seeds)
        self.observers: list[Observer] = []
        self.pool: Pool | None = None

    # -- making

    def provision(
        self,
        slug: str,
        *,
        name: str | None = None,
        admin_email: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Provisioned:
        """Make a tenant, ready to use. A failure leaves its record ``failed`` and nothing else; what was there before
        is untouched.

        :raises TenantExists: the slug is taken. :raises TenantBusy: another process is making it now.
        :raises StoreExists: its schema or file is there already. :raises MigrationFailed, StepFailed, NotReady: a step
        failed.
        """
        parsed = self.store.parse(slug)
        location = self.store.locate(parsed)
        clock = Clock(parsed.value, self.observers)
        with self.store.lock(parsed.value, wait=False):
            asked: dict[str, Any] = {
                "name": name,
                "admin_email": admin_email,
                "attributes": attributes,
                "options": options,
            }
            made = self._at_once(parsed, location, **asked)
            if made is not None:
                return made
            with clock("reserve"):
                if self.store.exists(location):
                    held = self.registry.find(parsed.value)
                    if held is not None:
                        raise self._taken(held)
                    if not self.store.reclaim(location):
                        raise StoreExists(self.store.kind, location)
                try:
                    reservation = self.registry.reserve(
                        parsed,
                        name=name or parsed.value,
                        location=location,
                        role=self.store.role_for(parsed),
                        admin_email=admin_email,
                        attributes=attributes,
                        options=options,
                    )
                except TenantExists as error:
                    rival = self.registry.find(parsed.value)
                    raise error if rival is None else self._taken(rival) from error
            return self._build(reservation.tenant, reservation.operation_uid, dict(options or {}), clock)

    def _at_once(
        self,
        slug: Slug,
        location: str,
        *,
        name: str | None,
        admin_email: str | None,
        attributes: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> Provisioned | None:
        """A tenant whose place needs no time to speak of: its record is written with it, in one transaction. None when
        it is to be made the long way, which also tells what is wrong.

        Not with seeds: they may take their time, for which the record must be there for others to see. A file is a copy
        of its baseline; a schema must have been made ready before.
        """
        ready = self.pool is not None and self.pool.promising()
        # Whoever watches the steps is shown them one by one.
        if self.seeds or (self.observers if self.store.exclusive else not ready):
            return None
        try:
            head, at = self.planner.migrations.head(), datetime.now(UTC)
            plan = self.planner.plan(None, head)
            if not plan.replayable:
                return None
            clock = Clock(slug.value, ())  # observers are told once there is a place: without one this was no step
            with clock("reserve"):
                if self.store.exclusive and self.store.exists(location):
                    return None
            draft = Tenant(
                uid="",
                slug=slug.value,
                name=name or slug.value,
                location=location,
                status=TenantStatus.PROVISIONING,
                created_at=at,
                updated_at=at,
                role=self.store.role_for(slug),
                admin_email=admin_email,
                revision=head,
                attributes=dict(attributes or {}),
            )
            made: list[Tenant] = []
            with self.store.construct(draft, at_once=True) as site:
                with clock("create"):
                    ready = ready and self.pool is not None and self.pool.take(site, draft, plan)
                    if not ready and not self.store.exclusive:
                        return None
                for observe in self.observers:
                    observe(slug.value, "create")
                with clock("migrate"):
                    if not ready:
                        apply.build(site, plan, self.planner.migrations, self.store.describe(location))
                with clock("seed"):
                    pass  # none is declared
                with clock("verify"):
                    if self.store.exclusive:  # else with the record, in the same message
                        self._verify(site, draft)
                with clock("activate"):
                    site.record(
                        lambda connection: made.append(
                            enlist(
                                connection,
                                tables(self.store.control_schema),
                                draft,
                                slug_key=slug.key,
                                steps=clock.so_far(),
                                options=options or {},
                                wanted=self.readiness,
                            )
                        )
                    )
        except TenancyError:
            return None
        if self.pool is not None and ready:
            self.pool.refill()
        return Provisioned(made[0], tuple(clock.records))

    def _taken(self, held: Tenant) -> TenancyError:
        """Tell a tenant that is being made now from one whose making was interrupted.

        Waits up to half a second while it cannot be told: between its record and its work a provisioning holds no lock.
        """
        age = (datetime.now(UTC) - held.updated_at).total_seconds()
        grown = time.monotonic() + min(YOUNG, YOUNG - age)  # not longer where another machine's clock is ahead
        now: Tenant | None = held
        while now is not None and now.status is TenantStatus.PROVISIONING and not self.store.exclusive:
            with suppress(TenantNotFound), self.store.control_engine().begin() as connection:
                try:
                    self.registry.lock_row(now, wait=False, connection=connection)
                except TenantBusy as error:
                    return error
            if time.monotonic() > grown:
                break
            time.sleep(PAUSE)
            now = self.registry.find(held.slug)
        return TenantBusy(held.slug) if now is None else TenantExists(now.slug, now.slug, now.status.value)

    def ensure(self, slug: str, **details: Any) -> Tenant:
        """The active tenant of this slug, made if no one has yet; waits for a process that is making it.

        :raises TenantNotActive: it failed, is suspended or archived. :raises the errors of :meth:`provision`.
        """
        parsed = self.store.parse(slug)
        deadline = time.monotonic() + ENSURE_PATIENCE
        while True:
            held = self.registry.find(parsed.value)
            if held is not None and held.status is TenantStatus.ACTIVE:
                return held
            if held is not None and held.status is not TenantStatus.PROVISIONING:
                raise TenantNotActive(held.slug, held.status.value)
            try:
                if held is None:
                    return self.provision(slug, **details).tenant
                taken = self._taken(held)
                if isinstance(taken, TenantBusy):
                    raise taken
                # No process works on it any more; refused as busy when one has finished it meanwhile.
                return self._migrate(held, HEAD).tenant
            except (TenantBusy, TenantExists) as error:
                other_case = isinstance(error, TenantExists) and error.args[1] != parsed.value
                if other_case or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)

    def _build(self, tenant: Tenant, operation: str, options: Mapping[str, Any], clock: Clock) -> Provisioned:
        """Everything after the record, as one: the place, its tables, its seeds and the status ``active``."""
        receipts: dict[str, str] = {}
        activated: list[Tenant] = []
        migrations = self.planner.migrations
        with outcome(self.registry, tenant, operation, clock, "tenant.provision"):
            # Compiled before the site holds a connection: compiling takes others, and a pool must not run dry of them.
            clock.step = "migrate"  # a revision that fails in it is a failure of this step
            plan = self.planner.plan(None, migrations.head())
            with self.store.construct(tenant) as site:
                if site.joint is not None:
                    self.registry.lock_row(tenant, operation, connection=site.joint)
                with clock("create"):
                    ready = self.pool is not None and self.pool.promising() and self.pool.take(site, tenant, plan)
                    if not ready:
                        site.create()
                with clock("migrate"):
                    if not ready:
                        apply.build(site, plan, migrations, self.store.describe(tenant.location))
                self._complete(site, tenant, operation, plan.target, options, receipts, clock, activated)
        if self.pool is not None and ready:
            self.pool.refill()
        return Provisioned(activated[0], tuple(clock.records), receipts)

    def _complete(
        self,
        site: Site,
        tenant: Tenant,
        operation: str,
        revision: str | None,
        options: Mapping[str, Any],
        receipts: dict[str, str],
        clock: Clock,
        activated: list[Tenant],
    ) -> None:
        """Seed, verify and activate a tenant whose tables stand."""
        with clock("seed"):
            self._seed(site, tenant, options, receipts)
        with clock("verify"):
            self._verify(site, tenant)
        with clock("activate"):
            site.record(
                lambda connection: activated.append(
                    self.registry.activate(
                        tenant, operation, revision=revision, steps=clock.so_far(), connection=connection
                    )
                )
            )

    def _seed(self, site: Site, tenant: Tenant, options: Mapping[str, Any], receipts: dict[str, str]) -> None:
        if not self.seeds:
            return
        from sqlalchemy.orm import Session  # a third of the time that a command takes which seeds nothing

        for seed in self.seeds:
            with site.as_tenant(), Session(site.connection, join_transaction_mode="create_savepoint") as session:
                try:
                    seed(Seeding(session, tenant, options, receipts))
                    session.commit()
                except TenancyError:
                    raise
                except Exception as error:  # a seed is the application's code and may raise anything
                    name = getattr(seed, "__name__", repr(seed))
                    raise StepFailed(
                        tenant.slug, "seed", f"{name} raised {type(error).__name__}: {cause(error).rstrip('.')}."
                    ) from error

    def _verify(self, site: Site, tenant: Tenant) -> None:
        for table in self.readiness:
            if not site.has_table(table):
                raise NotReady(tenant.slug, self.store.describe(tenant.location), table)

    # -- changing

    def migrate(self, slug: str, target: str = HEAD) -> Provisioned:
        """Bring a tenant to a revision; make its place if it is missing; finish a provisioning that failed or was
        interrupted.

        A tenant that is served stays in its status when this fails.

        :raises TenantNotFound, StatusRefused, TenantBusy, MigrationFailed, UnknownRevision, NotReady, StepFailed: see
        there.
        """
        return self._migrate(self._workable(slug), target)

    def _migrate(self, tenant: Tenant, target: str) -> Provisioned:
        slug = tenant.slug
        if half_restored(self.registry, self.store.control_schema, tenant):
            raise RestoreUnfinished(slug)  # what would be made here is empty
        goal = self.planner.migrations.resolve(target)
        unfinished = tenant.status in (TenantStatus.PROVISIONING, TenantStatus.FAILED)
        clock = Clock(slug, self.observers)
        if goal != self.planner.migrations.head() and not self.store.exists(tenant.location):
            raise StoreMissing(slug, self.store.kind, self.store.describe(tenant.location))
        status = TenantStatus.PROVISIONING if tenant.status is TenantStatus.FAILED else None
        options = self.registry.options(tenant) if unfinished else {}
        with self.store.lock(slug, wait=False):
            operation = self.registry.open_operation(tenant, "migrate", status=status, wait=False, options=options)
            if not self.store.exists(tenant.location):  # asked when no other process can be making it any more
                return self._build(tenant, operation, options or self.registry.options(tenant), clock)
            receipts: dict[str, str] = {}
            activated: list[Tenant] = []
            with outcome(self.registry, tenant, operation, clock, "tenant.migrate"):
                with clock("migrate"):
                    before = self._bring(tenant, operation, goal)
                with self.store.change(tenant) as site:
                    if site.joint is not None:
                        self.registry.lock_row(tenant, operation, connection=site.joint)
                    with clock("create"):
                        if site.create():
                            site.protect(self.planner.migrations.version_table)
                    if unfinished:
                        self._complete(site, tenant, operation, goal, options, receipts, clock, activated)
                    else:
                        with clock("verify"):
                            self._verify(site, tenant)
                        site.record(lambda connection: self._finish(tenant, operation, clock, connection))
        return Provisioned(self.registry.get(slug), tuple(clock.records), receipts, before)

    def _workable(self, slug: str) -> Tenant:
        """A tenant that may be changed. :raises StatusRefused: it is archived, or is being removed."""
        tenant = self.registry.get(slug)
        if tenant.status in (TenantStatus.ARCHIVED, TenantStatus.DELETING):
            raise StatusRefused(slug, tenant.status.value, TenantStatus.ACTIVE.value)
        return tenant

    def downgrade(self, slug: str, target: str) -> Tenant:
        """Take a tenant back to a revision (``base``: nothing but the empty place).

        :raises the errors of :meth:`migrate`.
        """
        tenant = self._workable(slug)
        goal = self.planner.migrations.resolve(target)
        clock = Clock(slug, self.observers)
        with self.store.lock(slug, wait=False):
            operation = self.registry.open_operation(tenant, "downgrade", wait=False)
            with outcome(self.registry, tenant, operation, clock, "tenant.downgrade"):
                with clock("migrate"):
                    self._bring(tenant, operation, goal)
                self._finish(tenant, operation, clock, None, action="tenant.downgrade")
        return self.registry.get(slug)

    def _bring(self, tenant: Tenant, operation: str, goal: str | None) -> str | None:
        def claim(connection: sa.Connection | None) -> None:
            if connection is not None:
                self.registry.lock_row(tenant, operation, connection=connection)

        def ledger(connection: sa.Connection, revision: str | None) -> None:
            self.registry.set_revision(tenant.slug, revision, connection=connection)

        before, _ = apply.bring(self.store, self.planner, tenant, goal, claim=claim, ledger=ledger)
        return before

    def _finish(
        self,
        tenant: Tenant,
        operation: str,
        clock: Clock,
        connection: sa.Connection | None,
        *,
        action: str = "tenant.migrate",
    ) -> None:
        self.registry.finish(tenant, operation, steps=clock.records, action=action, connection=connection)

    def activate(self, slug: str, *, force: bool = False) -> Activation:
        """Make a tenant active after its readiness checks; ``force`` skips them and says which.

        :raises StoreMissing, NotReady: a check failed; the status stays. :raises StatusRefused: an archived tenant is
        not made active.
        """
        tenant = self._workable(slug)
        skipped: tuple[str, ...] = ()
        revision = tenant.revision
        if force:
            skipped = (
                f"{self.store.kind} {tenant.location} exists",
                *(f"table {tenant.location}.{table} exists" for table in self.readiness),
            )
        else:
            with self.store.change(tenant) as site:
                self._verify(site, tenant)
                revision = apply.current(site.connection, self.planner.migrations, self.store.describe(tenant.location))
        with self.store.lock(slug, wait=False):
            status = TenantStatus.PROVISIONING if tenant.status is TenantStatus.FAILED else None
            operation = self.registry.open_operation(tenant, "activate", status=status, wait=False)
            with outcome(self.registry, tenant, operation, Clock(slug, ()), "tenant.activate"):
                active = self.registry.activate(
                    tenant,
                    operation,
                    revision=revision,
                    action="tenant.activate",
                    details={"force": force, "skipped": list(skipped)},
                )
        return Activation(active, skipped)

    # -- removing

    def cleanup(self, slug: str | None = None, *, drop: bool = True) -> list[Tenant]:
        """Remove failed tenants, one or all, with what was made of them; ``drop=False`` keeps their schemas or files.
        Others are never touched.

        :raises TenantNotFailed: the one named is not failed. Its removal may be run again after a kill.
        """
        removable = (TenantStatus.FAILED, TenantStatus.DELETING)
        if slug is not None:
            tenant = self.registry.get(slug)
            if tenant.status not in removable or self._deleted(tenant):
                raise TenantNotFailed(slug, tenant.status.value)
            found = [tenant]
        else:
            found = [tenant for status in removable for tenant in self.registry.list(status)]
            found = [tenant for tenant in found if not self._deleted(tenant)]
        removed = []
        for tenant in found:
            try:
                self._remove(tenant, drop)
            except (TenantBusy, TenantNotFound, StatusRefused):
                if slug is not None:
                    raise
                continue  # another process resumes or removes it
            removed.append(tenant)
        return removed

    def _deleted(self, tenant: Tenant) -> bool:
        """Whether it is being removed by ``tenant delete``, which removes more than this would."""
        if tenant.status is not TenantStatus.DELETING:
            return False
        done = operations_of(self.registry, self.store.control_schema, tenant)
        return bool(done) and done[-1].kind == "delete"

    def _remove(self, tenant: Tenant, drop: bool) -> None:
        with self.store.lock(tenant.slug, wait=False):
            status = TenantStatus.DELETING if tenant.status is TenantStatus.FAILED else None
            operation = self.registry.open_operation(
                tenant, "cleanup", status=status, wait=False, options={"drop": drop}
            )
            if drop:
                self.store.remove(
                    tenant, claim=lambda connection: self.registry.lock_row(tenant, operation, connection=connection)
                )
            self.registry.delete(tenant, operation, action="tenant.cleanup", details={"drop": drop})
