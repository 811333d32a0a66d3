"""The registry: every tenant's record, and every change of it under a status rule and a fencing token.

A change is refused in SQL, by the rows it would touch, and not by an earlier look: so two processes cannot both be
right. The registry makes, moves and removes records; where a tenant's data lies is the stores' business.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.errors import (
    NameRejected,
    StatusRefused,
    StoreExists,
    TenantBusy,
    TenantExists,
    TenantNotFound,
)
from tenantry.names import Slug
from tenantry.registry import audit, journal
from tenantry.registry.audit import AuditTrail, Record
from tenantry.registry.journal import Operation, StepRecord
from tenantry.registry.uids import new_uid
from tenantry.stores.faults import scrubbed
from tenantry.tenant import TRANSITIONS, Tenant, TenantStatus

RESERVE_ATTEMPTS = 5  # a holder that is removed between two looks at it leaves the name free again

_COLUMNS = (
    "uid",
    "slug",
    "name",
    "location",
    "status",
    "created_at",
    "updated_at",
    "role",
    "admin_email",
    "revision",
    "failed_step",
    "error",
    "provisioned_at",
    "attributes",
)


@dataclass(frozen=True)
class Reservation:
    """A name taken for a new tenant, and the token of the operation that may now provision it."""

    tenant: Tenant
    operation_uid: str


def sources(wanted: TenantStatus) -> frozenset[TenantStatus]:
    """The statuses that this one may follow."""
    return frozenset(status for status, following in TRANSITIONS.items() if wanted in following)


class Registry(AuditTrail):
    """The tenants of one application, with their journal and audit trail.

    Every method joins the transaction of the ``connection`` it is given, else it runs in one of its own.
    """

    def __init__(self, engine: Callable[[], sa.Engine], schema: str | None, location: str) -> None:
        super().__init__(engine, schema, location)
        tenant = self._tables.tenant
        self._select = sa.select(*(tenant.c[column] for column in _COLUMNS))
        self._by_slug = self._select.where(tenant.c.slug == sa.bindparam("of_slug"))
        self._by_uid = self._select.where(tenant.c.uid == sa.bindparam("of_uid"))
        # Takes the token from the row together with the change that it was for.
        self._activate = sa.update(tenant).where(
            tenant.c.uid == sa.bindparam("of_uid"),
            tenant.c.operation_uid == sa.bindparam("of_operation"),
            # Not IN: SQLAlchemy would write its list into the statement anew every time.
            sa.or_(*(tenant.c.status == word for word in _words({*sources(TenantStatus.ACTIVE), TenantStatus.ACTIVE}))),
        )

    # -- reading

    def find(self, slug: str, *, connection: sa.Connection | None = None) -> Tenant | None:
        """The tenant of that slug, or None."""
        if not slug.isascii() or "\0" in slug:
            return None  # it is no slug, and PostgreSQL would refuse it as text
        with self._transaction(connection) as joined:
            row = joined.execute(self._by_slug, {"of_slug": slug}).first()
            return None if row is None else _tenant(row)

    def get(self, slug: str, *, connection: sa.Connection | None = None) -> Tenant:
        """The tenant of that slug. :raises TenantNotFound: there is none."""
        found = self.find(slug, connection=connection)
        if found is None:
            raise TenantNotFound(slug)
        return found

    def list(self, status: TenantStatus | None = None, *, connection: sa.Connection | None = None) -> list[Tenant]:
        """All tenants, or those of one status, by slug."""
        query = self._select.order_by(self._tables.tenant.c.slug_key)
        if status is not None:
            query = query.where(self._tables.tenant.c.status == status.value)
        with self._transaction(connection) as joined:
            return [_tenant(row) for row in joined.execute(query)]

    # -- a tenant's life

    def reserve(
        self,
        slug: Slug,
        *,
        name: str,
        location: str,
        role: str | None = None,
        admin_email: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        kind: str = "provision",
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> Reservation:
        """Take the slug and the location for a new tenant, and open the operation that may provision it.

        Its status is ``provisioning``.

        :raises TenantExists: the slug is taken, by this or by one that differs in letter case only.
        :raises StoreExists: another tenant has the location.
        """
        at = journal.now()
        tenant = Tenant(
            uid=new_uid(),
            slug=slug.value,
            name=storable("name", name),
            location=location,
            status=TenantStatus.PROVISIONING,
            created_at=at,
            updated_at=at,
            role=role,
            admin_email=None if admin_email is None else storable("email", admin_email),
            attributes=dict(attributes or {}),
        )
        row = {column: getattr(tenant, column) for column in _COLUMNS}
        with self._transaction(connection, writes=True) as joined:
            for _ in range(RESERVE_ATTEMPTS):
                operation_uid = new_uid()
                insert = insert_new(joined.dialect.name, self._tables.tenant)
                values = {**row, "status": tenant.status.value, "slug_key": slug.key, "operation_uid": operation_uid}
                if joined.execute(insert, values).rowcount == 1:
                    journal.open_operation(
                        joined,
                        self._tables,
                        uid=operation_uid,
                        tenant_uid=tenant.uid,
                        slug=tenant.slug,
                        kind=kind,
                        options=options or {},
                        actor=actor,
                        origin=origin,
                        at=at,
                    )
                    return Reservation(tenant, operation_uid)
                self._refuse_taken(joined, slug, location)
        raise TenantBusy(slug.value)

    def _refuse_taken(self, connection: sa.Connection, slug: Slug, location: str) -> None:
        tenant = self._tables.tenant
        taken = connection.execute(
            sa.select(tenant.c.slug, tenant.c.status, tenant.c.slug_key)
            .where(sa.or_(tenant.c.slug_key == slug.key, tenant.c.location == location))
            # The slug's holder first: most often it holds the location too.
            .order_by(sa.case((tenant.c.slug_key == slug.key, 0), else_=1))
        ).first()
        if taken is None:
            return
        if taken.slug_key == slug.key:
            raise TenantExists(slug.value, taken.slug, taken.status)
        raise StoreExists("file" if self._schema is None else "schema", location)

    def open_operation(
        self,
        tenant: Tenant,
        kind: str,
        *,
        status: TenantStatus | None = None,
        wait: bool = True,
        options: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> str:
        """Give the tenant a new fencing token, optionally with a new status, and return the token.

        Who held the old one can change nothing more. ``wait``: for another transaction that holds the row; without it
        such a tenant is busy.

        :raises StatusRefused: the status may not follow the present one.
        :raises TenantBusy: another transaction holds the row and ``wait`` is false, or the tenant has another status by
        now than the one it was read with.
        """
        table, at = self._tables.tenant, journal.now()
        change: dict[str, Any] = {"updated_at": at}
        allowed = [tenant.status] if status is None else sources(status)
        condition = (table.c.uid == tenant.uid) & table.c.status.in_(_words(allowed))
        if status is not None:
            change["status"] = status.value
        with self._transaction(connection, writes=True) as joined:
            if not wait:
                self._lock(joined, tenant, wait=False)
            uid = change["operation_uid"] = new_uid()
            if joined.execute(sa.update(table).where(condition).values(change)).rowcount != 1:
                raise self._refusal(joined, tenant, status)
            journal.supersede(joined, self._tables, tenant.uid, at)
            journal.open_operation(
                joined,
                self._tables,
                uid=uid,
                tenant_uid=tenant.uid,
                slug=tenant.slug,
                kind=kind,
                options=options or {},
                actor=actor,
                origin=origin,
                at=at,
            )
            return uid

    def holds(self, operation_uid: str, tenant: Tenant, *, connection: sa.Connection | None = None) -> bool:
        """Whether the tenant is still this operation's to change."""
        table = self._tables.tenant
        with self._transaction(connection) as joined:
            held = sa.select(table.c.operation_uid).where(table.c.uid == tenant.uid)
            return bool(joined.scalar(held) == operation_uid)

    def lock_row(
        self, tenant: Tenant, operation_uid: str | None = None, *, wait: bool = True, connection: sa.Connection
    ) -> Tenant:
        """Hold the tenant's row until the transaction ends, and return what it says now.

        SQLite has no row locks: there it only looks.

        :raises TenantBusy: the tenant is no longer this operation's, or another transaction holds the row and
        ``wait`` is false.
        :raises TenantNotFound: the row is gone.
        """
        with self._transaction(connection) as joined:
            row = self._lock(joined, tenant, wait=wait)
        if operation_uid is not None and row.operation_uid != operation_uid:
            raise TenantBusy(tenant.slug)
        return _tenant(row)

    def _lock(self, connection: sa.Connection, tenant: Tenant, *, wait: bool) -> sa.Row[Any]:
        query = self._by_uid.add_columns(self._tables.tenant.c.operation_uid)
        # Not NOWAIT: its error would end the caller's transaction.
        row = connection.execute(query.with_for_update(skip_locked=not wait), {"of_uid": tenant.uid}).first()
        if row is None:
            if connection.execute(self._by_uid, {"of_uid": tenant.uid}).first() is not None:
                raise TenantBusy(tenant.slug)
            raise TenantNotFound(tenant.slug)
        return row

    def activate(
        self,
        tenant: Tenant,
        operation_uid: str,
        *,
        revision: str | None,
        steps: Sequence[StepRecord] = (),
        action: str = "tenant.provision",
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> Tenant:
        """Make the tenant active, end its operation and write both down; returns the tenant as it is now.

        Also for a tenant that is active already: ``provisioned_at`` is set anew.

        :raises TenantBusy: the tenant is no longer this operation's.
        :raises StatusRefused: its status may not become active (a failed one is first made ``provisioning`` by its
        operation).
        """
        at = journal.now()
        change = {"revision": revision, "provisioned_at": at, "updated_at": at, "failed_step": None, "error": None}
        ended = {**change, "status": TenantStatus.ACTIVE.value, "operation_uid": None}
        with self._transaction(connection, writes=True) as joined:
            held = {"of_uid": tenant.uid, "of_operation": operation_uid}
            if joined.execute(self._activate, {**held, **ended}).rowcount != 1:
                raise self._refusal(joined, tenant, TenantStatus.ACTIVE, operation_uid)
            self._write_down(
                joined, operation_uid, steps, None, Record(at, action, tenant.slug, details, actor, origin)
            )
        return replace(
            tenant,
            status=TenantStatus.ACTIVE,
            revision=revision,
            provisioned_at=at,
            updated_at=at,
            failed_step=None,
            error=None,
        )

    def fail(
        self,
        tenant: Tenant,
        operation_uid: str,
        *,
        step: str,
        error: str,
        steps: Sequence[StepRecord] = (),
        action: str = "tenant.provision",
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> bool:
        """Make a ``provisioning`` tenant failed, with the step and the error on its record.

        Any other status stays; the journal has the error. Tells whether the tenant was still this operation's; if
        not, its record is left to the one that took over. It raises nothing then, because it is called while another
        error is on its way.
        """
        at, text = journal.now(), scrubbed(error)
        table = self._tables.tenant
        with self._transaction(connection, writes=True) as joined:
            ours = table.c.operation_uid == operation_uid
            was_new = table.c.status == TenantStatus.PROVISIONING.value
            held = joined.execute(
                sa.update(table)
                .where(table.c.uid == tenant.uid, ours)
                .values(
                    status=sa.case((was_new, TenantStatus.FAILED.value), else_=table.c.status),
                    failed_step=sa.case((was_new, step), else_=table.c.failed_step),
                    error=sa.case((was_new, text), else_=table.c.error),
                    operation_uid=None,
                    updated_at=at,
                )
            ).rowcount
            told = {**(details or {}), "step": step, "error": text}
            self._write_down(joined, operation_uid, steps, text, Record(at, action, tenant.slug, told, actor, origin))
        return held == 1

    def finish(
        self,
        tenant: Tenant,
        operation_uid: str,
        *,
        steps: Sequence[StepRecord] = (),
        error: str | None = None,
        revision: str | None = None,
        action: str,
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> None:
        """End an operation that leaves the tenant's status as it is; with ``error`` it failed.

        ``revision`` goes into the ledger.

        :raises TenantBusy: it did not fail, but the tenant is no longer this operation's.
        """
        at, text = journal.now(), None if error is None else scrubbed(error)
        table = self._tables.tenant
        change: dict[str, Any] = {"operation_uid": None, "updated_at": at}
        if revision is not None:
            change["revision"] = revision
        ours = (table.c.uid == tenant.uid) & (table.c.operation_uid == operation_uid)
        told = dict(details or {}) if text is None else {**(details or {}), "error": text}
        with self._transaction(connection, writes=True) as joined:
            held = joined.execute(sa.update(table).where(ours).values(change)).rowcount
            if held != 1 and error is None:
                raise self._refusal(joined, tenant, None)
            self._write_down(joined, operation_uid, steps, text, Record(at, action, tenant.slug, told, actor, origin))

    def set_status(
        self,
        tenant: Tenant,
        wanted: TenantStatus,
        *,
        action: str = "tenant.status",
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> Tenant:
        """Give the tenant another status, audited, and return it as it is now.

        :raises StatusRefused: the status may not follow the one that the record has now.
        """
        at = journal.now()
        change: dict[str, Any] = {"status": wanted.value, "updated_at": at}
        if wanted is TenantStatus.ACTIVE:
            change["provisioned_at"] = at
        table = self._tables.tenant
        allowed = (table.c.uid == tenant.uid) & table.c.status.in_(_words(sources(wanted)))
        with self._transaction(connection, writes=True) as joined:
            if joined.execute(sa.update(table).where(allowed).values(change)).rowcount != 1:
                raise self._refusal(joined, tenant, wanted)
            told = {**(details or {}), "status": wanted.value}
            audit.append(joined, self._tables, Record(at, action, tenant.slug, told, actor, origin))
            return _tenant(joined.execute(self._by_uid, {"of_uid": tenant.uid}).one())

    def change_attributes(
        self,
        slug: str,
        change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        action: str,
        details: Mapping[str, Any] | None = None,
        connection: sa.Connection | None = None,
    ) -> Tenant:
        """Give the tenant the attributes that ``change`` makes of its present ones, audited, and return it as it is
        then. Changes of one tenant wait for each other; one that leaves all as it was is written nowhere.

        :raises TenantNotFound: there is no such tenant. :raises the errors of ``change``.
        """
        table = self._tables.tenant
        with self._transaction(connection, writes=True) as joined:
            row = joined.execute(self._select.where(table.c.slug == slug).with_for_update()).first()
            if row is None:
                raise TenantNotFound(slug)
            tenant = _tenant(row)
            attributes = dict(change(tenant.attributes))
            if attributes == tenant.attributes:
                return tenant
            at = journal.now()
            given = {"attributes": attributes, "updated_at": at}
            joined.execute(sa.update(table).where(table.c.uid == tenant.uid).values(given))
            audit.append(joined, self._tables, Record(at, action, slug, details or {}, None, None))
            return _tenant(joined.execute(self._by_uid, {"of_uid": tenant.uid}).one())

    def set_revision(self, slug: str, revision: str | None, *, connection: sa.Connection | None = None) -> None:
        """Write the revision that the tenant's store was seen at into the ledger.

        :raises TenantNotFound: there is no such tenant.
        """
        table = self._tables.tenant
        with self._transaction(connection, writes=True) as joined:
            change = sa.update(table).where(table.c.slug == slug).values(revision=revision, updated_at=journal.now())
            if joined.execute(change).rowcount != 1:
                raise TenantNotFound(slug)

    def delete(
        self,
        tenant: Tenant,
        operation_uid: str | None = None,
        *,
        steps: Sequence[StepRecord] = (),
        action: str = "tenant.delete",
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> None:
        """Remove the record of a tenant that is ``deleting``, and end the operation.

        Its store is gone by now; its journal and audit trail stay.

        :raises StatusRefused: the tenant is not ``deleting`` (open its operation with that status first).
        :raises TenantBusy: the tenant is no longer this operation's.
        """
        at, table = journal.now(), self._tables.tenant
        condition = (table.c.uid == tenant.uid) & (table.c.status == TenantStatus.DELETING.value)
        if operation_uid is not None:
            condition &= table.c.operation_uid == operation_uid
        told = {**(details or {}), "location": tenant.location}
        with self._transaction(connection, writes=True) as joined:
            if joined.execute(sa.delete(table).where(condition)).rowcount != 1:
                raise self._refusal(joined, tenant, "gone", operation_uid)
            record = Record(at, action, tenant.slug, told, actor, origin)
            if operation_uid is None:
                audit.append(joined, self._tables, record)
            else:
                self._write_down(joined, operation_uid, steps, None, record)

    # -- the journal

    def operations(
        self, slug: str | None = None, *, limit: int = 20, connection: sa.Connection | None = None
    ) -> Sequence[Operation]:
        """The latest operations with their steps, newest first: on every tenant that had this slug, or on all."""
        with self._transaction(connection) as joined:
            return journal.read_operations(joined, self._tables, slug, limit)

    def options(
        self, tenant: Tenant, *, kind: str = "provision", connection: sa.Connection | None = None
    ) -> dict[str, Any]:
        """The options that this tenant's latest operation of that kind was given; empty when there was none."""
        operation = self._tables.operation
        query = (
            sa.select(operation.c.options)
            .where(operation.c.tenant_uid == tenant.uid, operation.c.kind == kind)
            .order_by(operation.c.uid.desc())
            .limit(1)
        )
        with self._transaction(connection) as joined:
            return dict(joined.execute(query).scalar() or {})

    # -- the cache of compiled plans

    def load_plan(self, digest: str, *, connection: sa.Connection | None = None) -> dict[str, Any] | None:
        """The body of the plan kept under that digest, or None."""
        plan = self._tables.plan
        with self._transaction(connection) as joined:
            body = joined.execute(sa.select(plan.c.body).where(plan.c.digest == digest)).scalar()
        return None if body is None else dict(body)

    def save_plan(
        self,
        digest: str,
        *,
        kind: str,
        base: str | None,
        target: str,
        body: Mapping[str, Any],
        connection: sa.Connection | None = None,
    ) -> None:
        """Keep a plan. One that is there already stays: the digest says that they are equal."""
        row = {
            "digest": digest,
            "kind": kind,
            "base": base,
            "target": target,
            "body": dict(body),
            "created_at": journal.now(),
        }
        with self._transaction(connection, writes=True) as joined:
            joined.execute(insert_new(joined.dialect.name, self._tables.plan), row)

    # -- within

    def _refusal(
        self,
        connection: sa.Connection,
        tenant: Tenant,
        wanted: TenantStatus | str | None,
        operation_uid: str | None = None,
    ) -> Exception:
        """Why a change found no row: there is none, another operation has it, or its status forbids it."""
        table = self._tables.tenant
        row = connection.execute(
            sa.select(table.c.status, table.c.operation_uid).where(table.c.uid == tenant.uid)
        ).first()
        if row is None:
            return TenantNotFound(tenant.slug)
        if wanted is None or (operation_uid is not None and row.operation_uid != operation_uid):
            return TenantBusy(tenant.slug)
        return StatusRefused(tenant.slug, row.status, str(wanted))

    def _write_down(
        self,
        connection: sa.Connection,
        operation_uid: str,
        steps: Sequence[StepRecord],
        error: str | None,
        record: Record,
    ) -> None:
        journal.close_operation(connection, self._tables, operation_uid, steps=steps, error=error, at=record.at)
        audit.append(connection, self._tables, record, outcome="done" if error is None else "failed")


def _tenant(row: sa.Row[Any]) -> Tenant:
    fields = dict(zip(_COLUMNS, row, strict=False))  # a look under lock reads the token as well
    return Tenant(**{**fields, "status": TenantStatus(fields["status"])})


def _words(statuses: Iterable[TenantStatus]) -> list[str]:
    return sorted(status.value for status in statuses)


@functools.cache
def insert_new(dialect: str, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that passes over a row that is there already, and counts."""
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def storable(kind: str, text: str) -> str:
    """The text, if both databases can keep it. :raises NameRejected: they cannot."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise NameRejected(kind, text.encode("utf-8", "replace").decode(), "it holds a NUL or half a character.")
    return text
