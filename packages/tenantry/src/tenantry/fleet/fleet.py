"""The whole fleet of one application: rollouts of its revisions, and what is known of those that were.

``tenancy.fleet`` is one. Nothing to do costs one query on the ledger; a rollout is written down before it begins, so
that another process can tell how far it is, end it, or go on with it after a kill.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from typing import Any

from tenantry.errors import (
    DeclarationError,
    MigrationError,
    RolloutEnded,
    RolloutNotFound,
    RolloutRefused,
    RolloutRunning,
    TenancyError,
)
from tenantry.fleet import sweep
from tenantry.fleet.alone import alone
from tenantry.fleet.crew import Crew
from tenantry.fleet.doctor import Doctor
from tenantry.fleet.drift import Drifts
from tenantry.fleet.files import FileCrew
from tenantry.fleet.finding import Finding
from tenantry.fleet.leftovers import Leftovers
from tenantry.fleet.locks import LockProfiles, narrowed, room
from tenantry.fleet.outcomes import (
    Budget,
    Outcome,
    OutcomeStatus,
    Report,
    Rollout,
    RolloutStatus,
    grouped,
    waves,
)
from tenantry.fleet.preflight import Preflight, Trial, Way, attempt, predicted
from tenantry.fleet.rollout import Plans, Run, Watcher, messaged
from tenantry.fleet.standby import StandbyPool
from tenantry.fleet.worker import Setting
from tenantry.fleet.workers import WorkerCrew
from tenantry.migrations.directory import HEAD
from tenantry.migrations.planner import Planner
from tenantry.registry.registry import Registry
from tenantry.registry.rollouts import RolloutBook, Standing
from tenantry.stores.base import Store
from tenantry.stores.faults import cause, faults
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant
from tenantry.tracing import span

WORK = "rollout"  # what is done by one process at a time
JOBS = 4  # tenants at once
PATIENCE = 0.5  # seconds a tenant's transaction waits for a lock; whoever wants the same table waits behind it
UNFINISHED = (RolloutStatus.RUNNING, RolloutStatus.PAUSED, RolloutStatus.STOPPED)


class Fleet:
    """The tenants of one store as a whole. ``changed`` is told of every tenant whose revision was changed."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        planner: Planner,
        pool: StandbyPool,
        changed: Callable[[str], None] = lambda slug: None,
    ) -> None:
        self.standby = pool
        self._store = store
        self._registry = registry
        self._planner = planner
        self._changed = changed
        self._book = RolloutBook(registry, store.control_schema)
        self._profiles = LockProfiles(store, registry, planner)

    # -- rolling out

    def rollout(
        self,
        to: str = HEAD,
        *,
        canary: int | Sequence[str] = 0,
        wave_size: int | None = None,
        jobs: int = JOBS,
        max_failures: int | str | None = None,
        only_failed: bool = False,
        verify: bool = False,
        patience: float = PATIENCE,
        watcher: Watcher | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Report:
        """Bring every tenant that is served or suspended to a revision, up or down; each is whole at every moment.

        ``canary``: how many go first, or their slugs; when one of them fails no other is begun. ``wave_size``: tenants
        in a wave after them. ``jobs``: tenants at once. ``max_failures``: how many may fail, a number or ``2%``; one
        more, and no further tenant is begun. ``only_failed``: only those whose latest outcome is a failure.
        ``verify``: read every store's own version table first, and mend the ledger. ``patience``: seconds to wait for a
        lock before a tenant is put off. ``stop``: asked between two tenants whether to pause.

        :raises RolloutRefused: the server has no room for it. :raises RolloutRunning: another process rolls out.
        :raises TenantNotFound: a canary is no tenant. :raises DeclarationError: a number cannot be used.
        """
        began = time.perf_counter()
        budget = Budget.parse(max_failures)
        if jobs < 1:
            raise DeclarationError(f"{jobs} jobs", "expected at least one tenant at once.")
        target = self._planner.migrations.resolve(to)
        notes = list(self.verify()) if verify else []
        standing = self._book.standing(target)
        notes += _unfinished(standing)
        if standing.standby and not only_failed:
            notes += self._migrate_standby(target)
        if not standing.behind and (self._on_server or not standing.running):
            return Report(None, target, standing.served, time.perf_counter() - began, (), tuple(notes))
        with self._working():
            tenants = self._concerned(target, only_failed=only_failed)
            if not tenants:
                return Report(None, target, standing.served, time.perf_counter() - began, (), tuple(notes))
            members = self._members(tenants, canary, wave_size)
            plans = Plans(self._planner, target, self._profiles if self._on_server else None)
            jobs, narrow = self._room_for(plans, [tenant for tenant, _ in members], jobs)
            options = {
                "canary": canary if isinstance(canary, int) else list(canary),
                "wave_size": wave_size,
                "jobs": jobs,
                "max_failures": max_failures,
                "only_failed": only_failed,
                "patience": patience,
            }
            uid = self._book.open(target, options, members)
            notes += narrow
            self._carry_out(
                uid, plans, members, options, budget, watcher or Watcher(), stop, notes, newcomers=not only_failed
            )
        return self._report(uid, target, standing.served, began, notes)

    def _migrate_standby(self, target: str | None) -> list[str]:
        """The places on standby go first: one that cannot be migrated is made anew, and no tenant is in it."""
        if target != self._planner.migrations.head():
            return []  # new tenants are made at the head, whatever the fleet is taken back to
        try:
            kept = self.standby.keep()
        except TenancyError as error:
            return [f"The places on standby are not at the head: {error}"]
        return [f"{kept.ready} places on standby are at the head."] if kept.ready else []

    def preflight(
        self, to: str = HEAD, *, jobs: int = JOBS, only_failed: bool = False, patience: float = PATIENCE
    ) -> Preflight:
        """What :meth:`rollout` would do, tried on a sample with the largest tenants in it and undone. Changes nothing,
        but holds the locks of each sampled tenant for as long as the revision takes on it.

        :raises RolloutRefused: the server has no room for it.
        """
        target = self._planner.migrations.resolve(to)
        tenants = self._concerned(target, only_failed=only_failed)
        plans = Plans(self._planner, target, self._profiles if self._on_server else None)
        ways, known = [], []
        for base in sorted({tenant.revision for tenant in tenants}, key=lambda base: base or ""):
            members = [tenant for tenant in tenants if tenant.revision == base]
            try:
                ways.append(Way(base, len(members), plans.of(base, f"{len(members)} tenants")))
                known += members
            except MigrationError as error:
                ways.append(Way(base, len(members), None, str(error)))
        jobs, narrow = self._room_for(plans, tenants, jobs)
        trials: tuple[Trial, ...] = ()
        if known:
            with closing(self._sending(None, {"jobs": 1, "patience": patience})) as crew:
                trials = attempt(self._store, plans, known, crew)
        notes = [*_unfinished(self._book.standing(target)), *narrow]
        for way in ways:
            if way.plan is not None and not messaged(way.plan):
                reason = "run as Python, tenant by tenant, in processes, and are not tried"
                notes.append(f"The revisions from {way.base or 'base'} {reason}.")
        seconds = predicted(trials, len(known), jobs)
        return Preflight(target, len(tenants), tuple(ways), trials, jobs, seconds, tuple(notes))

    def _concerned(self, target: str | None, *, only_failed: bool) -> list[Tenant]:
        tenants = self._book.behind(target)
        if not only_failed:
            return tenants
        failed = self._book.failed_last()
        return [tenant for tenant in tenants if tenant.uid in failed]

    def resume(
        self,
        uid: str | None = None,
        *,
        jobs: int | None = None,
        watcher: Watcher | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Report:
        """Go on with a rollout that was paused, stopped or interrupted, or with the latest; those that failed stay so.

        :raises RolloutNotFound, RolloutEnded, RolloutRunning, RolloutRefused: see there.
        """
        began = time.perf_counter()
        notes: list[str] = []
        with self._working(resuming=True):
            held = self.get(uid)
            if held.status not in UNFINISHED:
                raise RolloutEnded(held.uid, held.status.value)
            standing = self._book.standing(held.target)
            notes += _unfinished(standing)
            members = []
            for tenant, member, wave in self._book.pending(held.uid):
                if tenant is None:
                    self._book.record(held.uid, member, OutcomeStatus.GONE.value, error="The tenant was removed.")
                else:
                    members.append((tenant, wave))
            plans = Plans(self._planner, held.target, self._profiles if self._on_server else None)
            options = {**held.options, "jobs": jobs or held.options.get("jobs", JOBS)}
            options["jobs"], narrow = self._room_for(plans, [tenant for tenant, _ in members], options["jobs"])
            notes += narrow
            self._book.reopen(held.uid)
            budget = Budget.parse(options.get("max_failures"))
            if held.status is RolloutStatus.STOPPED:
                notes.append("It was stopped by its failures; they count no more.")
            self._carry_out(
                held.uid,
                plans,
                members,
                options,
                budget,
                watcher or Watcher(),
                stop,
                notes,
                newcomers=not options.get("only_failed", False),
            )
        return self._report(held.uid, held.target, standing.served, began, notes)

    def abort(self, uid: str | None = None) -> Rollout:
        """Give up a rollout, or the latest: a process that runs it begins no further tenant. What was done stays.

        :raises RolloutNotFound, RolloutEnded: see there.
        """
        held = self.get(uid)
        if self.interrupted(held):
            self._mend(held)
        if not self._book.abort(held.uid):
            raise RolloutEnded(held.uid, held.status.value)
        return self.get(held.uid)

    # -- looking

    def get(self, uid: str | None = None) -> Rollout:
        """The rollout whose uid begins with this; without one, the latest. :raises RolloutNotFound: there is none."""
        row = self._book.find(uid)
        if row is None:
            raise RolloutNotFound(uid)
        return _rollout(row, self._book.counts([row["uid"]]))

    def rollouts(self, limit: int = 20) -> list[Rollout]:
        """The latest rollouts, newest first."""
        rows = self._book.latest(limit)
        counts = self._book.counts([row["uid"] for row in rows])
        return [_rollout(row, counts) for row in rows]

    def outcomes(self, uid: str, statuses: Sequence[OutcomeStatus] | None = None) -> list[Outcome]:
        """The outcomes of a rollout in its order, all or those of some statuses."""
        wanted = None if statuses is None else [status.value for status in statuses]
        rows = self._book.outcomes(uid, wanted)
        return [Outcome(**{**row, "status": OutcomeStatus(row["status"])}) for row in rows]

    def interrupted(self, rollout: Rollout) -> bool:
        """Whether a rollout that is called running has no process that works on it."""
        if rollout.status is not RolloutStatus.RUNNING:
            return False
        with alone(self._store, WORK) as free:
            return free

    def standing(self, to: str = HEAD) -> Standing:
        """Where the fleet stands, by the ledger: one query."""
        return self._book.standing(self._planner.migrations.resolve(to))

    def verify(self) -> list[str]:
        """Read every store's own version table, in batches, and write into the ledger what is found; tells what was
        mended and which places are missing.
        """
        tenants = self._book.served()
        found, missing = sweep.read(self._store, tenants, self._planner.migrations.version_table)
        wrong = {
            tenant.uid: found[tenant.uid]
            for tenant in tenants
            if tenant.uid in found and found[tenant.uid] != tenant.revision
        }
        if wrong:
            self._book.correct(wrong)
        for tenant in tenants:
            if tenant.uid in wrong:
                self._changed(tenant.slug)
        told = [
            f"{tenant.slug}: the ledger said {tenant.revision or 'base'}, its store is at"
            f" {wrong[tenant.uid] or 'base'}; the ledger was mended."
            for tenant in tenants
            if tenant.uid in wrong
        ]
        told += [f"{tenant.slug}: its {self._store.kind} {tenant.location} is missing." for tenant in missing]
        return told

    # -- looking after

    @cached_property
    def drifts(self) -> Drifts:
        """Tenants whose schema is not what their revision says, and the repair of those."""
        return Drifts(self._store, self._registry, self._planner, self._changed)

    @cached_property
    def leftovers(self) -> Leftovers:
        """What builds that are gone left behind, and its removal."""
        return Leftovers(self._store, self._registry, self._planner)

    def doctor(self) -> list[Finding]:
        """Examine everything, changing nothing: see :meth:`Doctor.examine`."""
        return Doctor(self._store, self._registry, self._planner).examine()

    # -- within

    @property
    def _on_server(self) -> bool:
        return isinstance(self._store, PostgresSchemas)

    @contextmanager
    def _working(self, *, resuming: bool = False) -> Iterator[None]:
        with faults(self._store.describe()), alone(self._store, WORK) as free:
            running = [rollout for rollout in self.rollouts() if rollout.status is RolloutStatus.RUNNING]
            if not free:
                first = running[0] if running else None
                raise RolloutRunning(*((first.uid, first.actor, first.origin) if first else ("", "", "")))
            for rollout in running:  # its process is dead: it would hold the lock
                self._mend(rollout)
                if not resuming:
                    reason = "Interrupted: its process ended, and another rollout took over."
                    self._book.close(rollout.uid, RolloutStatus.STOPPED.value, error=reason, details={})
            yield

    def _mend(self, rollout: Rollout) -> None:
        """Where the registry is a file of its own, a killed process may have changed stores that it had no time to tell
        of: look at those that it was to change.
        """
        if self._on_server:
            return
        tenants = [tenant for tenant, _, _ in self._book.pending(rollout.uid) if tenant is not None]
        found, _ = sweep.read(self._store, tenants, self._planner.migrations.version_table)
        if found:
            self._book.correct(found)

    def _members(
        self, tenants: Sequence[Tenant], canary: int | Sequence[str], wave_size: int | None
    ) -> list[tuple[Tenant, int]]:
        if not isinstance(canary, int):
            for slug in canary:
                self._registry.get(slug)  # one that is at the target already is no mistake
        numbers = waves([tenant.slug for tenant in tenants], canary, wave_size)
        return sorted(((tenant, numbers[tenant.slug]) for tenant in tenants), key=lambda member: member[1])

    def _room_for(self, plans: Plans, tenants: Sequence[Tenant], jobs: int) -> tuple[int, Sequence[str]]:
        """How many tenants at once the server has room for, and why it is fewer than asked for.

        :raises RolloutRefused: not even one.
        """
        if not isinstance(self._store, PostgresSchemas):
            return jobs, ()
        profiles = []
        first: dict[str | None, Tenant] = {}
        for tenant in tenants:
            first.setdefault(tenant.revision, tenant)
        for base, tenant in first.items():
            with suppress(TenancyError):  # such tenants are reported, each with its reason
                plan = plans.of(base, "")
                if messaged(plan):
                    profiles.append(self._profiles.of(plan, tenant))
        return narrowed(jobs, profiles, room(self._store))

    def _carry_out(
        self,
        uid: str,
        plans: Plans,
        members: Sequence[tuple[Tenant, int]],
        options: Mapping[str, Any],
        budget: Budget,
        watcher: Watcher,
        stop: Callable[[], bool],
        notes: Sequence[str],
        *,
        newcomers: bool,
    ) -> None:
        watcher.began(uid, len(members), notes)
        run: Run | None = None
        try:
            sending = self._sending(uid, options)
            with (
                span("rollout", rollout=uid, target=plans.target or "base", tenants=len(members)),
                closing(sending),
                closing(self._running(uid, plans.target, options)) as running,
            ):
                run = Run(
                    self._book,
                    uid,
                    plans,
                    (sending, running),
                    store=self._store,
                    allowed=budget.allowed(len(members)),
                    watcher=watcher,
                    stop=stop,
                )
                run.carry_out(members)
                if newcomers:
                    last = max((wave for _, wave in members), default=0)
                    run.newcomers(lambda: self._book.behind(plans.target, without=uid), last + 1)
        except BaseException as error:
            # When the registry is gone this cannot be written; it stays running without a process, and is resumed.
            with suppress(TenancyError):
                reason = f"Interrupted: {str(error) if isinstance(error, TenancyError) else cause(error)}"
                self._book.close(uid, RolloutStatus.STOPPED.value, error=reason, details={})
            raise
        finally:
            if run is not None:
                for slug in run.changed:
                    self._changed(slug)
        counts = self._book.counts([uid]).get(uid, {})
        unmet = counts.get("failed", 0) + counts.get("unknown", 0)
        status = run.ended or (RolloutStatus.FAILED if unmet else RolloutStatus.DONE)
        if status is not RolloutStatus.ABORTED:  # which is written by who aborted it
            self._book.close(uid, status.value, error=run.reason, details=counts)

    def _sending(self, uid: str | None, options: Mapping[str, Any]) -> Crew:
        """The crew for plans that are sent; without a rollout it undoes what it does."""
        table, patience = self._planner.migrations.version_table, float(options["patience"])
        jobs = int(options["jobs"])
        if isinstance(self._store, SqliteFiles) and uid is None:
            return FileCrew(
                self._store,
                table,
                admit=lambda _: "yes",
                keep=lambda _: None,
                jobs=jobs,
                patience=patience,
                trial=True,
            )
        if isinstance(self._store, SqliteFiles):
            return FileCrew(
                self._store,
                table,
                admit=lambda task: self._book.admit(str(uid), task.tenant, None),
                keep=lambda results: self._book.done(
                    str(uid),
                    [(each.task.tenant, each.task.plan.target, each.seconds, each.lock_wait) for each in results],
                ),
                jobs=jobs,
                patience=patience,
            )
        if isinstance(self._store, PostgresSchemas):
            from tenantry.fleet.messages import MessageCrew

            return MessageCrew(self._store, uid, table, jobs=jobs, patience=patience)
        raise RolloutRefused(f"tenants in a {type(self._store).__name__} cannot be rolled out.")

    def _running(self, uid: str, target: str | None, options: Mapping[str, Any]) -> WorkerCrew:
        store, migrations = self._store, self._planner.migrations
        further: dict[str, Any] = {}
        if isinstance(store, PostgresSchemas):
            url = store.url().render_as_string(hide_password=False)
            # Named already: the roles of its tenants are in their records.
            further = {**store.declared(), "role_per_tenant": False}
        else:
            url = store.describe()
        setting = Setting(
            store.dialect_name,
            url,
            store.template,
            further,
            str(migrations.directory),
            migrations.version_table,
            uid,
            target,
            float(options["patience"]),
            tuple(sys.path),
        )
        return WorkerCrew(setting, jobs=min(int(options["jobs"]), os.cpu_count() or 1))

    def _report(self, uid: str, target: str | None, tenants: int, began: float, notes: Sequence[str]) -> Report:
        rollout = self.get(uid)
        failures = grouped(self.outcomes(uid, [OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN]))
        return Report(rollout, target, tenants, time.perf_counter() - began, failures, tuple(notes))


def _rollout(row: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> Rollout:
    mine = {OutcomeStatus(status): count for status, count in counts.get(row["uid"], {}).items()}
    return Rollout(**{**row, "status": RolloutStatus(row["status"])}, counts=mine)


def _unfinished(standing: Standing) -> list[str]:
    if not standing.unfinished:
        return []
    count = standing.unfinished
    which = "tenant is" if count == 1 else "tenants are"
    return [f"{count} {which} not provisioned to the end, and not touched: `tenant migrate --slug SLUG` finishes one."]
