"""Plans, each compiled once: kept in memory, and through a cache that other processes share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from tenantry.migrations.compiler import compile_plan, plan_digest
from tenantry.migrations.directory import BASE, Migrations
from tenantry.migrations.plan import Plan
from tenantry.stores.base import Store


class PlanCache(Protocol):
    """Where compiled plans are kept between processes; the registry is one."""

    def load_plan(self, digest: str) -> dict[str, Any] | None:
        """The plan's body, or None."""

    def save_plan(self, digest: str, *, kind: str, base: str | None, target: str, body: Mapping[str, Any]) -> None:
        """Keep it; a plan of this digest that is there already is the same."""


class Planner:
    """The plans of one application on one store."""

    def __init__(self, store: Store, migrations: Migrations, cache: PlanCache) -> None:
        self.store = store
        self.migrations = migrations
        self._cache = cache
        self._plans: dict[tuple[str | None, str | None], Plan] = {}
        self._guard = threading.RLock()

    def plan(self, base: str | None, target: str | None) -> Plan:
        """The plan from one revision (None: nothing) to another, compiled when no one has yet.

        :raises MigrationFailed: a revision raised on the scratch place. :raises RevisionsRejected: there is no such
        way.
        """
        with self._guard:
            known = self._plans.get((base, target))
            if known is None:
                known = self._plans[base, target] = self._load(base, target)
            return known

    def _load(self, base: str | None, target: str | None) -> Plan:
        digest = plan_digest(self.store, self.migrations, base, target)
        saved = self._cache.load_plan(digest)
        if saved is not None:
            return Plan.from_body(saved)
        start = self.plan(None, base) if base is not None else None
        plan = compile_plan(self.store, self.migrations, base, target, start)
        self._cache.save_plan(
            digest, kind=self.store.dialect_name, base=base, target=target or BASE, body=plan.to_body()
        )
        return plan
