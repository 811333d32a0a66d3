"""Rollouts in the registry: which tenants they concern, and what became of each.

Outcomes are written together with what they tell of wherever the store lies beside the registry. Nothing here touches a
tenant's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tenantry.registry import audit, journal
from tenantry.registry.audit import Record
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.registry.uids import new_uid
from tenantry.stores.faults import scrubbed
from tenantry.tenant import Tenant, TenantStatus

SERVED = (TenantStatus.ACTIVE.value, TenantStatus.SUSPENDED.value)  # whose revision a rollout changes
UNFINISHED = (TenantStatus.PROVISIONING.value, TenantStatus.FAILED.value)  # `tenant migrate --slug` finishes them
UID_LENGTH = 32


@dataclass(frozen=True)
class Standing:
    """Where the whole fleet stands, by the ledger."""

    served: int  # tenants that are served or suspended
    behind: int  # of them, those not at the revision asked for
    unfinished: int  # whose provisioning did not end
    standby: int  # places made ready for tenants to come that are not at that revision
    running: int  # rollouts that are at work, or whose process was killed


class RolloutBook:
    """The rollouts of one registry. Rows are plain mappings: what they mean is the fleet's to say."""

    def __init__(self, registry: Registry, schema: str | None) -> None:
        self._registry = registry
        self._tables = tables(schema)
        tenant = self._tables.tenant
        self._served = tenant.c.status.in_(SERVED)
        self._columns = [tenant.c[name] for name in Tenant.__dataclass_fields__]

    # -- which tenants

    def standing(self, target: str | None) -> Standing:
        """Where the fleet stands: one query."""
        tenant = self._tables.tenant
        counted, place = sa.func.count, self._tables.standby
        stale = sa.select(counted()).where(place.c.revision.is_distinct_from(target)).select_from(place)
        query = sa.select(
            counted(sa.case((self._served, 1))),
            counted(sa.case((self._served & tenant.c.revision.is_distinct_from(target), 1))),
            counted(sa.case((tenant.c.status.in_(UNFINISHED), 1))),
            stale.scalar_subquery(),
            sa.select(counted()).where(self._tables.rollout.c.status == "running").scalar_subquery(),
        )
        with self._registry.transaction() as connection:
            return Standing(*connection.execute(query).one())

    def behind(self, target: str | None, *, without: str | None = None) -> list[Tenant]:
        """The tenants that are not at that revision, by slug; ``without`` those that this rollout knows."""
        tenant, outcome = self._tables.tenant, self._tables.rollout_outcome
        query = sa.select(*self._columns).where(self._served, tenant.c.revision.is_distinct_from(target))
        if without is not None:
            known = sa.select(outcome.c.tenant_uid).where(outcome.c.rollout_uid == without)
            query = query.where(tenant.c.uid.not_in(known))
        with self._registry.transaction() as connection:
            return [_tenant(row) for row in connection.execute(query.order_by(tenant.c.slug_key))]

    def served(self) -> list[Tenant]:
        """Every tenant whose revision a rollout may change, by slug."""
        query = sa.select(*self._columns).where(self._served).order_by(self._tables.tenant.c.slug_key)
        with self._registry.transaction() as connection:
            return [_tenant(row) for row in connection.execute(query)]

    def failed_last(self) -> set[str]:
        """The uids of the tenants whose latest outcome is a failure."""
        outcome = self._tables.rollout_outcome
        ended = outcome.c.status.in_(("done", "failed", "unknown"))
        latest = (
            sa.select(outcome.c.tenant_uid, sa.func.max(outcome.c.rollout_uid).label("rollout_uid"))
            .where(ended)
            .group_by(outcome.c.tenant_uid)
            .subquery()
        )
        query = (
            sa.select(outcome.c.tenant_uid)
            .join(
                latest,
                (latest.c.tenant_uid == outcome.c.tenant_uid) & (latest.c.rollout_uid == outcome.c.rollout_uid),
            )
            .where(outcome.c.status.in_(("failed", "unknown")))
        )
        with self._registry.transaction() as connection:
            return set(connection.execute(query).scalars())

    # -- a rollout's life

    def open(self, target: str | None, options: Mapping[str, Any], members: Sequence[tuple[Tenant, int]]) -> str:
        """Write a running rollout with a pending outcome for each member and its wave; returns its uid."""
        uid, at = new_uid(), journal.now()
        actor, origin = journal.acting(None, None)
        row = {
            "uid": uid,
            "target": target,
            "status": "running",
            "options": dict(options),
            "actor": actor,
            "origin": origin,
            "started_at": at,
        }
        with self._registry.transaction(writes=True) as connection:
            connection.execute(sa.insert(self._tables.rollout), row)
            self._add(connection, uid, members, 0)
            told = {"rollout": uid, "target": target, "tenants": len(members)}
            audit.append(connection, self._tables, Record(at, "rollout.start", None, told, None, None))
        return uid

    def add(self, uid: str, members: Sequence[tuple[Tenant, int]]) -> None:
        """Add tenants that came meanwhile."""
        outcome = self._tables.rollout_outcome
        with self._registry.transaction(writes=True) as connection:
            last = sa.select(sa.func.max(outcome.c.position)).where(outcome.c.rollout_uid == uid)
            self._add(connection, uid, members, (connection.scalar(last) or 0) + 1)

    def _add(self, connection: sa.Connection, uid: str, members: Iterable[tuple[Tenant, int]], start: int) -> None:
        rows = [
            {
                "rollout_uid": uid,
                "tenant_uid": tenant.uid,
                "slug": tenant.slug,
                "position": position,
                "wave": wave,
                "status": "pending",
                "base": tenant.revision,
            }
            for position, (tenant, wave) in enumerate(members, start=start)
        ]
        if rows:
            connection.execute(sa.insert(self._tables.rollout_outcome), rows)

    def reopen(self, uid: str) -> None:
        """Have a rollout run again."""
        self._change(uid, {"status": "running", "finished_at": None, "error": None}, "rollout.resume")

    def close(self, uid: str, status: str, *, error: str | None = None, details: Mapping[str, Any]) -> bool:
        """Write how a rollout ended, and tell whether it was running until now: else another process ended it."""
        change = {"status": status, "finished_at": journal.now(), "error": error}
        return self._change(uid, change, "rollout.end", while_status="running", details={**details, "status": status})

    def abort(self, uid: str) -> bool:
        """Give up a rollout that is not at its end; tells whether it was not. A process that runs it begins no further
        tenant.
        """
        change = {"status": "aborted", "finished_at": journal.now()}
        return any(
            self._change(uid, change, "rollout.abort", while_status=status)
            for status in ("running", "paused", "stopped", "failed")
        )

    def _change(
        self,
        uid: str,
        change: Mapping[str, Any],
        action: str,
        *,
        while_status: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        rollout, at = self._tables.rollout, journal.now()
        update = sa.update(rollout).where(rollout.c.uid == uid).values(dict(change))
        if while_status is not None:
            update = update.where(rollout.c.status == while_status)
        with self._registry.transaction(writes=True) as connection:
            if connection.execute(update).rowcount != 1:
                return False
            told = {**(details or {}), "rollout": uid}
            audit.append(connection, self._tables, Record(at, action, None, told, None, None))
        return True

    def admit(self, uid: str, tenant: Tenant, connection: sa.Connection | None) -> str:
        """Hold the tenant's row in the connection's transaction (without one, only look) and tell whether its revision
        may be changed now: ``yes``, ``busy``, ``gone``, or ``stopped`` when the rollout was told to.
        """
        table = self._tables.tenant
        query = sa.select(table.c.status, table.c.operation_uid).where(table.c.uid == tenant.uid)
        if connection is None:
            with self._registry.transaction() as own:
                row = own.execute(query).first()
                going = own.scalar(self._status_of(uid))
        else:
            row = connection.execute(query.with_for_update(skip_locked=True)).first()
            if row is None and connection.execute(query).first() is not None:
                return "busy"
            going = connection.scalar(self._status_of(uid))
        if row is None or row.status not in SERVED:
            return "gone"
        if row.operation_uid is not None:
            return "busy"
        return "yes" if going == "running" else "stopped"

    def _status_of(self, uid: str) -> sa.Select[Any]:
        rollout = self._tables.rollout
        return sa.select(rollout.c.status).where(rollout.c.uid == uid)

    def running(self, uid: str) -> bool:
        """Whether the rollout was not told to stop."""
        with self._registry.transaction() as connection:
            return bool(connection.scalar(self._status_of(uid)) == "running")

    # -- outcomes

    def record(
        self,
        uid: str,
        tenant_uid: str,
        status: str,
        *,
        connection: sa.Connection | None = None,
        **fields: Any,
    ) -> None:
        """Write what became of a tenant; joins the transaction of a ``connection``."""
        outcome = self._tables.rollout_outcome
        if fields.get("error") is not None:
            fields["error"] = scrubbed(fields["error"])
        change = (
            sa.update(outcome)
            .where(outcome.c.rollout_uid == uid, outcome.c.tenant_uid == tenant_uid)
            .values(status=status, finished_at=journal.now(), attempts=outcome.c.attempts + 1, **fields)
        )
        if connection is not None:
            connection.execute(change)
            return
        with self._registry.transaction(writes=True) as own:
            own.execute(change)

    def settle(self, uid: str, tenant: Tenant, revision: str | None, **fields: Any) -> None:
        """Write that a tenant stands at the target already: its ledger, and its outcome unless that is written."""
        outcome = self._tables.rollout_outcome
        pending = (
            sa.update(outcome)
            .where(outcome.c.rollout_uid == uid, outcome.c.tenant_uid == tenant.uid, outcome.c.status != "done")
            .values(status="done", revision=revision, finished_at=journal.now(), **fields)
        )
        with self._registry.transaction(writes=True) as connection:
            self.correct({tenant.uid: revision}, connection=connection)
            connection.execute(pending)

    def done(self, uid: str, results: Sequence[tuple[Tenant, str | None, float, float | None]]) -> None:
        """Write that tenants were brought to a revision, with the seconds each took and waited, and their ledger."""
        outcome, at = self._tables.rollout_outcome, journal.now()
        change = (
            sa.update(outcome)
            .where(outcome.c.rollout_uid == uid, outcome.c.tenant_uid == sa.bindparam("of_uid"))
            .values(
                status="done",
                revision=sa.bindparam("reached"),
                seconds=sa.bindparam("took"),
                lock_wait=sa.bindparam("waited"),
                attempts=outcome.c.attempts + 1,
                finished_at=at,
                error=None,
                sqlstate=None,
                object=None,
            )
        )
        rows = [
            {"of_uid": tenant.uid, "reached": revision, "took": seconds, "waited": waited}
            for tenant, revision, seconds, waited in results
        ]
        with self._registry.transaction(writes=True) as connection:
            connection.execute(change, rows)
            self.correct({tenant.uid: revision for tenant, revision, *_ in results}, connection=connection)

    def correct(self, found: Mapping[str, str | None], *, connection: sa.Connection | None = None) -> None:
        """Write into the ledger where stores were seen to stand, by uid."""
        tenant = self._tables.tenant
        change = (
            sa.update(tenant)
            .where(tenant.c.uid == sa.bindparam("of_uid"), tenant.c.revision.is_distinct_from(sa.bindparam("seen")))
            .values(revision=sa.bindparam("seen"), updated_at=journal.now())
        )
        rows = [{"of_uid": uid, "seen": revision} for uid, revision in found.items()]
        if connection is not None:
            connection.execute(change, rows)
            return
        with self._registry.transaction(writes=True) as own:
            own.execute(change, rows)

    def pending(self, uid: str) -> list[tuple[Tenant | None, str, int]]:
        """The members of a rollout that are not done, in their order: the tenant (None: removed), its uid, its wave."""
        tenant, outcome = self._tables.tenant, self._tables.rollout_outcome
        query = (
            sa.select(outcome.c.tenant_uid.label("member"), outcome.c.wave, *self._columns)
            .select_from(outcome.join(tenant, tenant.c.uid == outcome.c.tenant_uid, isouter=True))
            .where(outcome.c.rollout_uid == uid, outcome.c.status == "pending")
            .order_by(outcome.c.position)
        )
        with self._registry.transaction() as connection:
            rows = connection.execute(query).all()
        return [(_tenant(row[2:]) if row.uid is not None else None, row.member, row.wave) for row in rows]

    # -- reading

    def find(self, uid: str | None) -> Mapping[str, Any] | None:
        """The rollout whose uid begins with this, or the latest; None when there is none, or more than one."""
        rollout = self._tables.rollout
        query = sa.select(rollout).order_by(rollout.c.uid.desc())
        if uid is not None:
            query = query.where(rollout.c.uid.startswith(uid, autoescape=True))
        with self._registry.transaction() as connection:
            rows = connection.execute(query.limit(2)).mappings().all()
        if not rows or (uid is not None and len(rows) > 1):
            return None
        return dict(rows[0])

    def latest(self, limit: int) -> list[Mapping[str, Any]]:
        """The latest rollouts, newest first."""
        rollout = self._tables.rollout
        with self._registry.transaction() as connection:
            query = sa.select(rollout).order_by(rollout.c.uid.desc()).limit(limit)
            return [dict(row) for row in connection.execute(query).mappings()]

    def counts(self, uids: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many tenants of each rollout have which outcome."""
        outcome = self._tables.rollout_outcome
        query = (
            sa.select(outcome.c.rollout_uid, outcome.c.status, sa.func.count())
            .where(outcome.c.rollout_uid.in_(uids))
            .group_by(outcome.c.rollout_uid, outcome.c.status)
        )
        found: dict[str, dict[str, int]] = {}
        with self._registry.transaction() as connection:
            for uid, status, count in connection.execute(query):
                found.setdefault(uid, {})[status] = count
        return found

    def outcomes(self, uid: str, statuses: Sequence[str] | None = None) -> list[Mapping[str, Any]]:
        """The outcomes of a rollout in its order, all or those of some statuses."""
        outcome = self._tables.rollout_outcome
        columns = [column for column in outcome.c if column.name != "rollout_uid"]
        query = sa.select(*columns).where(outcome.c.rollout_uid == uid).order_by(outcome.c.position)
        if statuses is not None:
            query = query.where(outcome.c.status.in_(statuses))
        with self._registry.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _tenant(row: Sequence[Any]) -> Tenant:
    fields = dict(zip(Tenant.__dataclass_fields__, row, strict=True))
    return Tenant(**{**fields, "status": TenantStatus(fields["status"])})
