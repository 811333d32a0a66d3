"""What a rollout would do, tried on a few tenants and undone.

A trial holds the locks of its tenant for as long as the revision takes on it, like the rollout itself; a statement that
takes longer than half a minute is given up. Revisions that must run as Python are not tried.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tenantry.fleet.crew import Crew, Result, Task, Verdict
from tenantry.fleet.rollout import Plans, messaged
from tenantry.migrations.plan import Plan
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant

LARGEST = 3  # tenants of a sample that are the largest
SPREAD = 3  # ... and that are taken evenly from the others


@dataclass(frozen=True)
class Way:
    """How the tenants that stand at one revision get to the target."""

    base: str | None
    tenants: int
    plan: Plan | None  # None: there is no way, for the reason given
    reason: str | None = None

    @property
    def sql(self) -> str:
        """The statements, as they are sent."""
        return "" if self.plan is None else ";\n".join(text for text, _ in self.plan.statements) + ";"


@dataclass(frozen=True)
class Trial:
    """One tenant on which the way was tried and undone."""

    slug: str
    size: int  # bytes of its tables
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Preflight:
    """What a rollout would do."""

    target: str | None
    tenants: int  # that it concerns
    ways: tuple[Way, ...]
    trials: tuple[Trial, ...]
    jobs: int
    seconds: tuple[float, float] | None  # predicted: with all jobs fully used, and with one; None: nothing was tried
    notes: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether nothing was found that would fail."""
        return all(way.plan is not None for way in self.ways) and not any(trial.error for trial in self.trials)


def sample(tenants: Sequence[Tenant], sizes: dict[str, int]) -> list[Tenant]:
    """The largest of these, and some taken evenly from the others."""
    by_size = sorted(tenants, key=lambda tenant: (-sizes.get(tenant.uid, 0), tenant.slug))
    largest, others = by_size[:LARGEST], sorted(by_size[LARGEST:], key=lambda tenant: tenant.slug)
    count = min(SPREAD, len(others))
    return largest + [others[number * len(others) // count] for number in range(count)]


def sizes(store: Store, tenants: Sequence[Tenant]) -> dict[str, int]:
    """Bytes that each tenant's tables take, by uid."""
    if isinstance(store, SqliteFiles):
        paths = {tenant.uid: store.path(tenant.location) for tenant in tenants}
        return {uid: path.stat().st_size for uid, path in paths.items() if path.is_file()}
    query = sa.text(
        "SELECT n.nspname, sum(pg_relation_size(c.oid))::bigint FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND n.nspname = ANY(:schemas) GROUP BY n.nspname"
    )
    with faults(store.describe()), store.control_engine().connect() as connection:
        rows = connection.execute(query, {"schemas": [tenant.location for tenant in tenants]})
        found: dict[str, int] = {schema: int(size) for schema, size in rows}
    return {tenant.uid: found.get(tenant.location, 0) for tenant in tenants}


def attempt(store: Store, plans: Plans, tenants: Sequence[Tenant], crew: Crew) -> tuple[Trial, ...]:
    """Try the plans on a sample of these; the crew undoes what it does."""
    known = sizes(store, tenants)
    tasks = [
        Task(tenant, plan, 0, locks=plans.locks(plan))
        for tenant in sample(tenants, known)
        if messaged(plan := plans.of(tenant.revision, tenant.location))
    ]
    waiting = list(reversed(tasks))
    results = list(crew.run(lambda: waiting.pop() if waiting else None))
    by_slug = {result.task.tenant.slug: result for result in results}
    return tuple(_trial(by_slug[task.tenant.slug], known.get(task.tenant.uid, 0)) for task in tasks)


def _trial(result: Result, size: int) -> Trial:
    error = None
    if result.verdict is not Verdict.DONE:
        code = f" ({result.sqlstate})" if result.sqlstate else ""
        moved = f"it stands at {result.found or 'base'}; `--verify` mends the ledger."
        error = moved if result.verdict is Verdict.MOVED else f"{result.error}{code}"
    return Trial(result.task.tenant.slug, size, result.seconds, error)


def predicted(trials: Sequence[Trial], tenants: int, jobs: int) -> tuple[float, float] | None:
    """Seconds for all tenants: the largest as they were tried, the others like the median of the smaller ones."""
    good = [trial.seconds for trial in trials if trial.error is None]
    if not good:
        return None
    typical = statistics.median(sorted(good)[: max(len(good) - LARGEST, 1)])
    alone = sum(good) + typical * max(tenants - len(good), 0)
    return max(alone / jobs, max(good)), alone
