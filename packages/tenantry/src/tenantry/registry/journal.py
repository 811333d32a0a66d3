"""The journal of operations: what was done to a tenant, step by step, and who asked for it.

Plain rows over a connection that the registry hands in. Nothing here decides about a tenant.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tenantry.registry import actor as actors
from tenantry.registry.tables import RegistryTables
from tenantry.stores.faults import scrubbed

SUPERSEDED = "Interrupted: another operation took over."


@dataclass(frozen=True)
class StepRecord:
    """One step of an operation: how long it took and how it ended ("done", "failed")."""

    name: str
    seconds: float
    status: str = "done"
    error: str | None = None


@dataclass(frozen=True)
class Operation:
    """One operation on a tenant, as the journal holds it. It outlives the tenant."""

    uid: str
    tenant_uid: str
    slug: str
    kind: str
    status: str  # running, done, failed
    actor: str
    origin: str
    started_at: datetime  # UTC
    finished_at: datetime | None = None  # UTC
    error: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def acting(actor: str | None, origin: str | None) -> tuple[str, str]:
    """Who acts: as given, else as the innermost ``acting`` says."""
    present = actors.current()
    return actor or present.name, origin or present.origin


def open_operation(
    connection: sa.Connection,
    tables: RegistryTables,
    *,
    uid: str,
    tenant_uid: str,
    slug: str,
    kind: str,
    options: Mapping[str, Any],
    actor: str | None,
    origin: str | None,
    at: datetime,
) -> None:
    """Write a running operation."""
    who, where = acting(actor, origin)
    row = {
        "uid": uid,
        "tenant_uid": tenant_uid,
        "slug": slug,
        "kind": kind,
        "status": "running",
        "actor": who,
        "origin": where,
        "options": dict(options),
        "started_at": at,
    }
    connection.execute(insert(tables.operation), row)


def supersede(connection: sa.Connection, tables: RegistryTables, tenant_uid: str, at: datetime) -> None:
    """Close what is still running for this tenant: its process was killed, or finds its token replaced."""
    operation = tables.operation
    connection.execute(
        sa.update(operation)
        .where(operation.c.tenant_uid == sa.bindparam("of_tenant"), operation.c.status == "running")
        .values(status="failed", error=sa.bindparam("because"), finished_at=sa.bindparam("at")),
        {"of_tenant": tenant_uid, "because": SUPERSEDED, "at": at},
    )


def close_operation(
    connection: sa.Connection,
    tables: RegistryTables,
    operation_uid: str,
    *,
    steps: Sequence[StepRecord],
    error: str | None,
    at: datetime,
) -> None:
    """Write how an operation ended, with its steps. One that was superseded keeps what was written then."""
    ended = {"status": "failed" if error else "done", "error": error, "finished_at": at}
    connection.execute(_close(tables), {"of_operation": operation_uid, **ended})
    write_steps(connection, tables, operation_uid, steps)


def write_steps(
    connection: sa.Connection, tables: RegistryTables, operation_uid: str, steps: Sequence[StepRecord]
) -> None:
    """Write the steps of an operation, in their order."""
    if steps:
        rows = [
            {
                "operation_uid": operation_uid,
                "position": position,
                "name": step.name,
                "status": step.status,
                "seconds": step.seconds,
                "error": None if step.error is None else scrubbed(step.error),
            }
            for position, step in enumerate(steps, start=1)
        ]
        connection.execute(insert(tables.step), rows)


# Statements that every operation sends, built once: building one takes as long as sending it.


@functools.cache
def insert(table: sa.Table) -> sa.Insert:
    """An INSERT into this table, the same object every time."""
    return sa.insert(table)


@functools.cache
def _close(tables: RegistryTables) -> sa.Update:
    operation = tables.operation
    return sa.update(operation).where(operation.c.uid == sa.bindparam("of_operation"), operation.c.status == "running")


def read_operations(connection: sa.Connection, tables: RegistryTables, slug: str | None, limit: int) -> list[Operation]:
    """The latest operations with their steps, newest first; of every tenant that had this slug, or of all."""
    operation = tables.operation
    query = sa.select(operation).order_by(operation.c.uid.desc()).limit(limit)
    if slug is not None:
        query = query.where(operation.c.slug == slug)
    rows = connection.execute(query).mappings().all()
    steps = _read_steps(connection, tables, [row["uid"] for row in rows])
    return [Operation(**row, steps=tuple(steps.get(row["uid"], ()))) for row in rows]


def _read_steps(
    connection: sa.Connection, tables: RegistryTables, operations: Iterable[str]
) -> dict[str, list[StepRecord]]:
    step = tables.step
    columns = (step.c.operation_uid, step.c.name, step.c.seconds, step.c.status, step.c.error)
    query = sa.select(*columns).where(step.c.operation_uid.in_(list(operations))).order_by(step.c.position)
    steps: dict[str, list[StepRecord]] = {}
    for operation_uid, *fields in connection.execute(query):
        steps.setdefault(operation_uid, []).append(StepRecord(*fields))
    return steps
