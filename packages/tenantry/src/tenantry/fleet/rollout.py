"""One rollout carried out: canaries, waves, retries, the error budget, and what is written of every tenant.

Decides what is done next and hands it to the crews. A tenant that fails does not stop the others; a tenant that is busy
is tried again at the end, so that it does not hold up the rest. It may be told to pause between two tenants.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from tenantry.errors import MigrationError, UnknownRevision
from tenantry.fleet.crew import Crew, Result, Task, Verdict
from tenantry.fleet.locks import LockProfiles
from tenantry.fleet.outcomes import RolloutStatus
from tenantry.migrations.plan import Plan
from tenantry.migrations.planner import Planner
from tenantry.registry.rollouts import RolloutBook
from tenantry.stores.base import Store
from tenantry.tenant import Tenant

logger = logging.getLogger(__name__)

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before busy tenants are tried again; after the last they fail
LOOK = 0.1  # seconds between two looks whether to pause
NEWCOMERS = 3  # times to look for tenants that others provisioned at another revision meanwhile
MOVES = 3  # times that a tenant may be found elsewhere than it was expected


class Watcher:
    """Who is told how a rollout goes. By default nobody listens."""

    def began(self, uid: str, total: int, notes: Sequence[str]) -> None:
        """It was written down and begins now."""

    def wave(self, number: int, size: int) -> None:
        """A wave begins; 0 are the canaries."""

    def ended(self, result: Result) -> None:
        """A tenant is done, failed, or put off."""

    def waiting(self, count: int, seconds: float) -> None:
        """Busy tenants are tried again after this time."""


class Plans:
    """The plans of one rollout by where a tenant stands, and what they lock."""

    def __init__(self, planner: Planner, target: str | None, profiles: LockProfiles | None) -> None:
        self._planner = planner
        self.target = target
        self._profiles = profiles
        self._found: dict[str | None, Plan | MigrationError] = {}

    def of(self, base: str | None, location: str) -> Plan:
        """The plan from there. :raises MigrationError: there is none; the tenant is not to be touched."""
        migrations = self._planner.migrations
        if base is not None and not migrations.knows(base):
            raise UnknownRevision(location, base, migrations.head())
        found = self._found.get(base)
        if found is None:
            try:
                found = self._planner.plan(base, self.target)
            except MigrationError as error:
                found = error
            self._found[base] = found
        if isinstance(found, MigrationError):
            raise found
        return found

    def locks(self, plan: Plan) -> tuple[tuple[str, str], ...]:
        """The tables that the plan will lock."""
        return self._profiles.of(plan).tables if self._profiles is not None and messaged(plan) else ()


def messaged(plan: Plan) -> bool:
    """Whether the plan can be sent as it is. One that begins or ends at nothing makes or removes the version table."""
    return plan.replayable and plan.base is not None and plan.target is not None


class Run:
    """The work of one rollout in this process."""

    def __init__(
        self,
        book: RolloutBook,
        uid: str,
        plans: Plans,
        crews: tuple[Crew, Crew],  # for plans that are sent, and for revisions that run as Python
        *,
        store: Store,
        allowed: int | None,
        watcher: Watcher,
        stop: Callable[[], bool],
    ) -> None:
        self._book = book
        self._uid = uid
        self._plans = plans
        self._crews = crews
        self._store = store
        self._allowed = allowed
        self._watcher = watcher
        self._stop = stop
        self._later: list[Task] = []
        self._busy: dict[str, Result] = {}  # what kept a tenant from being done, by its uid
        self._moves: dict[str, int] = {}  # how often it was found elsewhere
        self._told = False
        self.failed = 0
        self.changed: list[str] = []  # slugs
        self.ended: RolloutStatus | None = None  # how it ended early
        self.reason: str | None = None

    def carry_out(self, members: Sequence[tuple[Tenant, int]]) -> None:
        """Bring these tenants to the target, wave by wave."""
        by_wave: dict[int, list[Tenant]] = {}
        for tenant, wave in members:
            by_wave.setdefault(wave, []).append(tenant)
        for wave, tenants in sorted(by_wave.items()):
            if self._over():
                return
            self._watcher.wave(wave, len(tenants))
            failed = self.failed
            self._work(self._tasks(tenants, wave))
            if wave == 0 and not self._over():
                self._retry()  # the others wait for the canaries' verdict
                if self.failed > failed:
                    self._end(RolloutStatus.STOPPED, "A canary failed; no other tenant was begun.")
        self._retry()

    def newcomers(self, find: Callable[[], Sequence[Tenant]], wave: int) -> None:
        """Bring along those that came meanwhile at another revision."""
        for _ in range(NEWCOMERS):
            if self._over():
                return
            found = find()
            if not found:
                return
            members = [(tenant, wave) for tenant in found]
            self._book.add(self._uid, members)
            self.carry_out(members)

    # -- deciding

    def _over(self) -> bool:
        if self.ended is None:
            if self._told:
                self._end(RolloutStatus.ABORTED, None)
            elif self._allowed is not None and self.failed > self._allowed:
                reason = f"The error budget is spent: {self.failed} tenants failed, {self._allowed} may."
                self._end(RolloutStatus.STOPPED, reason)
            elif self._stop():
                self._end(RolloutStatus.PAUSED, None)
        return self.ended is not None

    def _end(self, status: RolloutStatus, reason: str | None) -> None:
        self.ended, self.reason = status, reason

    def _tasks(self, tenants: Iterable[Tenant], wave: int) -> list[Task]:
        tasks = []
        for tenant in tenants:
            task = self._task(tenant, tenant.revision, wave)
            if task is not None:
                tasks.append(task)
        return tasks

    def _task(self, tenant: Tenant, base: str | None, wave: int, attempt: int = 1) -> Task | None:
        """What is to be done for a tenant that stands there; None when nothing is, which is written down."""
        if base == self._plans.target:
            self._settled(tenant, wave, base)
            return None
        try:
            plan = self._plans.of(base, self._store.describe(tenant.location))
        except UnknownRevision as error:
            self._fail(Result(Task(tenant, NOWHERE, wave), Verdict.FAILED, 0.0, error=str(error)), "unknown")
            return None
        except MigrationError as error:
            self._fail(Result(Task(tenant, NOWHERE, wave), Verdict.FAILED, 0.0, error=str(error)))
            return None
        return Task(tenant, plan, wave, attempt, self._plans.locks(plan))

    def _work(self, tasks: Iterable[Task]) -> None:
        sent, run = deque[Task](), deque[Task]()
        for task in tasks:
            (sent if messaged(task.plan) else run).append(task)
        for crew, queue in zip(self._crews, (sent, run), strict=True):
            if queue:
                for result in crew.run(partial(self._next, queue)):
                    self._take(result)

    def _next(self, queue: deque[Task]) -> Task | None:
        return queue.popleft() if queue and not self._over() else None

    def _retry(self) -> None:
        for pause in PAUSES:
            if not self._later or self._over():
                return
            self._watcher.waiting(len(self._later), pause)
            self._sleep(pause)
            if self._over():
                return
            tasks, self._later = self._later, []
            self._work(tasks)
        if not self._over():
            for task in self._later:
                self._fail(self._busy[task.tenant.uid])
            self._later = []

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over():
            time.sleep(LOOK)

    # -- writing down

    def _take(self, result: Result) -> None:
        tenant, task = result.task.tenant, result.task
        if result.verdict is Verdict.DONE:
            if not result.recorded:
                self._book.settle(
                    self._uid, tenant, self._plans.target, seconds=result.seconds, lock_wait=result.lock_wait
                )
            self.changed.append(tenant.slug)
            self._watcher.ended(result)
        elif result.verdict is Verdict.FAILED:
            self._fail(result)
        elif result.verdict is Verdict.BUSY:
            self._busy[tenant.uid] = result
            self._book.record(
                self._uid, tenant.uid, "pending", sqlstate=result.sqlstate, object=result.object, error=result.error
            )
            self._later.append(replace(task, attempt=task.attempt + 1))
            self._watcher.ended(result)
        elif result.verdict is Verdict.MOVED:
            self._moved(result)
        elif result.verdict is Verdict.GONE:
            self._book.record(self._uid, tenant.uid, "gone", error=result.error)
            self._watcher.ended(result)
        else:
            self._told = True

    def _moved(self, result: Result) -> None:
        task = result.task
        moves = self._moves[task.tenant.uid] = self._moves.get(task.tenant.uid, 0) + 1
        if moves > MOVES:
            self._fail(
                replace(result, verdict=Verdict.FAILED, error="Others move the store meanwhile, again and again.")
            )
            return
        again = self._task(task.tenant, result.found, task.wave, task.attempt + 1)
        if again is not None:
            self._later.append(again)

    def _settled(self, tenant: Tenant, wave: int, revision: str | None) -> None:
        self._book.settle(self._uid, tenant, revision)
        self.changed.append(tenant.slug)
        self._watcher.ended(Result(Task(tenant, NOWHERE, wave), Verdict.DONE, 0.0, recorded=True))

    def _fail(self, result: Result, status: str = "failed") -> None:
        tenant = result.task.tenant
        self.failed += 1
        logger.warning(
            "migration failed",
            extra={"tenant": tenant.slug, "rollout": self._uid, "sqlstate": result.sqlstate, "error": result.error},
        )
        self._book.record(
            self._uid,
            tenant.uid,
            status,
            seconds=result.seconds,
            sqlstate=result.sqlstate,
            object=result.object,
            error=result.error,
        )
        self._watcher.ended(replace(result, verdict=Verdict.FAILED))


NOWHERE = Plan("", None, None, ())  # of a tenant for which there is nothing to be done
