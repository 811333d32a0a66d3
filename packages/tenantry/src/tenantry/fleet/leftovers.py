"""What builds that are gone left behind: their compiled plans in the registry, and on SQLite their ready-made files.

All of it is made anew where it is missed, so that a process of another build loses time by a removal and nothing else.
What is younger than a week is no left-over yet: another build may be running, or come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from tenantry.fleet.locks import PROFILE, profile_digest
from tenantry.migrations.compiler import plan_digest
from tenantry.migrations.directory import BASE
from tenantry.migrations.planner import Planner
from tenantry.registry import audit, journal
from tenantry.registry.audit import Record
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.sqlite import SqliteFiles

AGE = timedelta(days=7)


@dataclass(frozen=True)
class Left:
    """What this build does not use."""

    plans: tuple[str, ...]  # their digests
    templates: tuple[Path, ...]
    size: int  # bytes of the templates

    def __str__(self) -> str:
        plans, templates = len(self.plans), len(self.templates)
        text = f"{plans} compiled plan{'' if plans == 1 else 's'}"
        if templates:
            text += f" and {templates} template{'' if templates == 1 else 's'} ({self.size >> 10:,} KB)"
        return text


class Leftovers:
    """The left-overs of one application on one store."""

    def __init__(self, store: Store, registry: Registry, planner: Planner) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner
        self._tables = tables(store.control_schema)

    def find(self) -> Left:
        """What there is. Reads only."""
        with self._registry.transaction() as connection:
            plans = tuple(self._plans(connection))
        templates = {path: path.stat().st_size for path in self._templates()}
        return Left(plans, tuple(templates), sum(templates.values()))

    def remove(self) -> Left:
        """Remove it; tells what was removed."""
        table = self._tables.plan
        with self._registry.transaction(writes=True) as connection:
            plans = tuple(self._plans(connection))
            for digest in plans:
                connection.execute(sa.delete(table).where(table.c.digest == digest))
            if plans:
                told = {"plans": len(plans)}
                audit.append(connection, self._tables, Record(journal.now(), "plan.prune", None, told, None, None))
        size, removed = 0, []
        for path in self._templates():
            size += path.stat().st_size
            path.unlink(missing_ok=True)
            removed.append(path)
        return Left(plans, tuple(removed), size)

    def _plans(self, connection: sa.Connection) -> Iterator[str]:
        """The digests of plans that this build would not look for."""
        table = self._tables.plan
        query = sa.select(table.c.digest, table.c.kind, table.c.base, table.c.target)
        for digest, kind, base, target in connection.execute(query.where(table.c.created_at < journal.now() - AGE)):
            own = self._digest(base, None if target == BASE else target)
            if digest not in ({profile_digest(own)} if kind == PROFILE else {own}):
                yield digest

    def _templates(self) -> Iterator[Path]:
        if not isinstance(self._store, SqliteFiles):
            return
        own = self._store.template_path(self._digest(None, self._planner.migrations.head()))
        before = (journal.now() - AGE).timestamp()
        with faults(str(own.parent)):
            for path in sorted(own.parent.glob("template-*.db")):
                if path != own and path.stat().st_mtime < before:
                    yield path

    def _digest(self, base: str | None, target: str | None) -> str:
        return plan_digest(self._store, self._planner.migrations, base, target)
