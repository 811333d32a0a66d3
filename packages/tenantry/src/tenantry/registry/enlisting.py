"""A tenant that is ready before it has a name, written into the registry at once: its record, its journal, its audit.

What reserving and activating write one after the other, so that others see how far it is, is written whole here: nobody
sees anything before the transaction ends. On PostgreSQL it is one statement.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tenantry.errors import NotReady, TenantExists
from tenantry.registry import audit, journal
from tenantry.registry.audit import Record
from tenantry.registry.journal import StepRecord
from tenantry.registry.registry import insert_new, storable
from tenantry.registry.tables import RegistryTables
from tenantry.registry.uids import new_uid
from tenantry.tenant import Tenant, TenantStatus

_TENANT = (
    "uid",
    "slug",
    "slug_key",
    "name",
    "location",
    "role",
    "status",
    "admin_email",
    "revision",
    "attributes",
    "provisioned_at",
    "created_at",
    "updated_at",
)
_OPERATION = ("tenant_uid", "slug", "kind", "status", "actor", "origin", "options", "started_at", "finished_at")


@functools.cache
def _statement(tables: RegistryTables, steps: int, wanted: int) -> sa.Select[Any]:
    def bound(table: sa.Table, prefix: str, names: Sequence[str]) -> dict[str, Any]:
        return {name: sa.bindparam(f"{prefix}__{name}", type_=table.c[name].type) for name in names}

    tenant = postgresql.insert(tables.tenant).values(bound(tables.tenant, "tenant", _TENANT)).on_conflict_do_nothing()
    made = tenant.returning(tables.tenant.c.uid).cte("made")
    operation = sa.insert(tables.operation).values(bound(tables.operation, "operation", ("uid", *_OPERATION)))
    # Rows of a SELECT and not of VALUES: a statement with several of these SQLAlchemy compiles anew each time, which is
    # half of what a tenant from standby takes.
    names = ("operation_uid", "position", "name", "status", "seconds")
    rows = [
        sa.select(
            sa.bindparam("operation__uid", type_=tables.step.c.operation_uid.type),
            sa.literal_column(str(position)),
            sa.bindparam(f"step__{position}", type_=tables.step.c.name.type),
            sa.literal_column("'done'"),
            sa.bindparam(f"seconds__{position}", type_=tables.step.c.seconds.type),
        )
        for position in range(1, steps + 1)
    ]
    taken = sa.insert(tables.step).from_select(names, sa.union_all(*rows), include_defaults=False)
    there = [sa.func.to_regclass(sa.bindparam(f"table__{number}")).is_not(None) for number in range(wanted)]
    count = sa.select(sa.func.count()).select_from(made).scalar_subquery()
    # The end of the trail is locked after the tenant's row is there, as by everything else that writes both.
    moved, line = audit.chained(tables, provided=count == sa.literal_column("1"))
    select = sa.select(count, sa.select(moved.c.sequence).scalar_subquery(), *there)
    return select.add_cte(operation.cte("operation_made"), taken.cte("steps_made"), line)


def enlist(
    connection: sa.Connection,
    tables: RegistryTables,
    tenant: Tenant,
    *,
    slug_key: str,
    steps: Sequence[StepRecord],
    options: Mapping[str, Any],
    wanted: Sequence[str],
) -> Tenant:
    """Write an active tenant whose place stands already, with the operation that made it, in the connection's
    transaction; returns it as it is now. ``wanted``: tables that must be in its place; on SQLite, where that is a file
    of its own, the caller has looked.

    :raises TenantExists: the slug or the location is taken. :raises NotReady: a wanted table is not there.
    :raises NameRejected: its name or email cannot be kept.
    """
    storable("name", tenant.name)
    storable("email", tenant.admin_email or "")
    at = journal.now()
    actor, origin = journal.acting(None, None)
    active = replace(tenant, uid=new_uid(), status=TenantStatus.ACTIVE, created_at=at, updated_at=at, provisioned_at=at)
    fields = {name: getattr(active, name) for name in _TENANT if name not in ("slug_key", "status", "attributes")}
    row = {
        **fields,
        "slug_key": slug_key,
        "status": active.status.value,
        "attributes": dict(active.attributes),
    }
    operation = {
        "uid": new_uid(),
        "tenant_uid": active.uid,
        "slug": active.slug,
        "kind": "provision",
        "status": "done",
        "actor": actor,
        "origin": origin,
        "options": dict(options),
        "started_at": at,
        "finished_at": at,
    }
    record = Record(at, "tenant.provision", active.slug, None, None, None)
    if connection.dialect.name == "sqlite":
        _row_by_row(connection, tables, row, operation, steps, record)
    else:
        _in_one(connection, tables, row, operation, steps, record, wanted)
    return active


def _row_by_row(
    connection: sa.Connection,
    tables: RegistryTables,
    tenant: Mapping[str, Any],
    operation: Mapping[str, Any],
    steps: Sequence[StepRecord],
    record: Record,
) -> None:
    if connection.execute(insert_new("sqlite", tables.tenant), tenant).rowcount != 1:
        raise TenantExists(tenant["slug"], tenant["slug"], tenant["status"])
    connection.execute(journal.insert(tables.operation), operation)
    journal.write_steps(connection, tables, operation["uid"], steps)
    audit.append(connection, tables, record)


def _in_one(
    connection: sa.Connection,
    tables: RegistryTables,
    tenant: Mapping[str, Any],
    operation: Mapping[str, Any],
    steps: Sequence[StepRecord],
    record: Record,
    wanted: Sequence[str],
) -> None:
    values: dict[str, Any] = {f"tenant__{name}": value for name, value in tenant.items()}
    values |= {f"operation__{name}": value for name, value in operation.items()}
    values |= audit.line(record)
    for position, step in enumerate(steps, start=1):
        values |= {f"step__{position}": step.name, f"seconds__{position}": step.seconds}
    quote = connection.dialect.identifier_preparer.quote_identifier
    location = tenant["location"]
    values |= {f"table__{number}": f"{quote(location)}.{quote(table)}" for number, table in enumerate(wanted)}
    made, number, *there = connection.execute(_statement(tables, len(steps), len(wanted)), values).one()
    if made != 1:
        raise TenantExists(tenant["slug"], tenant["slug"], tenant["status"])
    for table, found in zip(wanted, there, strict=True):
        if not found:
            raise NotReady(tenant["slug"], location, table)
    if number is None:  # nothing says where the trail ends
        audit.append(connection, tables, record)
