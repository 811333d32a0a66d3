"""Places made ready before anyone asks for them: provisioning takes one by renaming it.

A place is whole or not there, on PostgreSQL with its record in one transaction. It belongs to no tenant, so nothing
that lists tenants knows of it. Who takes one removes its record in the transaction that makes the tenant: a place is
taken by one, and comes back when that fails. On SQLite, where the registry is a file of its own, a place whose taker
failed or was killed is lost, and the next ``keep`` removes what is left of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.errors import (
    DeclarationError,
    MigrationError,
    StandbyRefused,
    StoreMissing,
    TenancyError,
    TenantBusy,
)
from tenantry.fleet.alone import alone
from tenantry.migrations import apply
from tenantry.migrations.plan import Plan
from tenantry.migrations.planner import Planner
from tenantry.registry import audit, journal
from tenantry.registry.audit import Record
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.registry.uids import new_uid
from tenantry.stores.base import Site, Store
from tenantry.stores.faults import faults
from tenantry.stores.sqlite import COMPANIONS, OWN_DIRECTORY, FileSite, SqliteFiles
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from tenantry.stores.postgres import PostgresSchemas

PREFIX = "tenantry_standby_"  # begins the name of a schema or file on standby
WORK = "standby"  # what is done by one process at a time
PATIENCE = 60.0  # seconds to wait for another process that makes places
TRIED = 20  # places that are looked up at once
REST = 1.0  # seconds in which no place is sought after none was found
LOOK = 0.05  # seconds between two looks whether it is done
MOST = 1_000  # places; each takes as much of the catalog as an empty tenant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standby:
    """One place on standby."""

    uid: str
    location: str
    role: str | None
    status: str  # making, ready
    revision: str | None
    created_at: datetime  # UTC


@dataclass(frozen=True)
class Kept:
    """What was done to have so many places ready."""

    keep: int
    ready: int
    made: int = 0
    migrated: int = 0
    removed: int = 0


class StandbyPool:
    """The places on standby of one store."""

    def __init__(self, store: Store, registry: Registry, planner: Planner) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner
        self._tables = tables(store.control_schema)
        self._refilling: threading.Thread | None = None
        self._guard = threading.Lock()
        self._seen: deque[tuple[str, str]] = deque()
        self._missed = 0.0  # until then nothing is sought: there was none a moment ago
        table = self._tables.standby
        self._candidates = (
            sa.select(table.c.uid, table.c.location)
            .where(table.c.status == "ready", table.c.revision == sa.bindparam("head"))
            .order_by(table.c.uid)
        )
        first = self._candidates.with_only_columns(table.c.uid).limit(1)
        oldest = first.with_for_update(skip_locked=True).scalar_subquery()
        # Of one that is still what it was looked at to be: nobody withdrew it meanwhile.
        self._given = sa.delete(table).where(
            table.c.uid == sa.bindparam("of_uid"), table.c.status == "ready", table.c.revision == sa.bindparam("head")
        )
        # Built once: building it takes as long as sending it.
        self._taken = sa.delete(table).where(table.c.uid == oldest).returning(table.c.location, table.c.role)

    # -- looking

    def places(self) -> list[Standby]:
        """The places, oldest first."""
        table = self._tables.standby
        with self._registry.transaction() as connection:
            return [Standby(**row) for row in connection.execute(sa.select(table).order_by(table.c.uid)).mappings()]

    def wanted(self) -> int:
        """How many are to be kept ready."""
        with self._registry.transaction() as connection:
            return connection.scalar(sa.select(self._tables.standby_pool.c.keep)) or 0

    # -- keeping

    def keep(self, count: int | None = None) -> Kept:
        """Have so many places ready at head, now and after each use; without a number, as many as were asked for last.

        Makes what is missing, migrates what is behind, removes what is too many or was left half made by a killed
        process. Without one, when another process is at it already, it is left to that one.

        :raises StandbyRefused: a place cannot be made ready for a tenant whose name is not known.
        :raises DeclarationError: the number cannot be used. :raises MigrationFailed, PermissionMissing: see there.
        """
        if count is not None:
            self._want(count)
        keep = self.wanted()
        head = self._planner.migrations.head()
        plan = self._planner.plan(None, head)
        if keep and not plan.replayable:
            revisions = ", ".join(step.revision for step in plan.steps if step.kind != "replay")
            raise StandbyRefused(f"revisions that run as Python may write down the name of their place ({revisions})")
        made = migrated = removed = 0
        until = time.monotonic() + (PATIENCE if count is not None else 0)
        while True:
            with faults(self._store.describe()), alone(self._store, WORK) as free:
                if free:
                    self._sweep()
                    for place in self.places():
                        if place.status != "ready":
                            removed += self._remove(place)
                        elif place.revision != head:
                            done = keep > 0 and self._migrate(place, head)
                            migrated += done
                            removed += 0 if done else self._remove(place)
                    # Looked at again each time: others take places and ask for more or fewer meanwhile.
                    while (ready := self._ready()) and len(ready) > self.wanted():
                        removed += self._remove(ready[-1])
                    while len(self._ready()) < self.wanted():
                        self._make(plan)
                        made += 1
                    self._missed = 0.0
            if free or time.monotonic() > until:
                return Kept(self.wanted(), len(self._ready()), made, migrated, removed)
            time.sleep(LOOK)

    def _ready(self) -> list[Standby]:
        return [place for place in self.places() if place.status == "ready"]

    def _want(self, count: int) -> None:
        if not 0 <= count <= MOST:
            raise DeclarationError(f"{count} places", f"expected how many to keep ready, 0 to {MOST:,}.")
        table, at = self._tables.standby_pool, journal.now()
        with self._registry.transaction(writes=True) as connection:
            insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
            upsert = insert.on_conflict_do_update(index_elements=["uid"], set_={"keep": count})
            connection.execute(upsert, {"uid": 1, "keep": count})
            audit.append(connection, self._tables, Record(at, "standby.keep", None, {"keep": count}, None, None))

    # -- taking

    def take(self, site: Site, tenant: Tenant, plan: Plan) -> bool:
        """Make this site a place on standby at the plan's target, in the site's transaction; tells whether there was
        one.
        """
        if isinstance(site, FileSite):
            return self._found(self._take_file(site, tenant, plan))
        if site.joint is None or not plan.replayable:
            return False
        taken = site.joint.execute(self._taken, {"head": plan.target}).first()
        if not self._found(taken is not None) or taken is None or (taken.role is None) != (tenant.role is None):
            return False  # its record goes with it when roles were declared otherwise meanwhile; `keep` removes it
        self._rename(site.joint, taken.location, taken.role, tenant)
        return True

    def promising(self) -> bool:
        """Whether there was one when last looked, a moment ago; asks nobody."""
        return time.monotonic() >= self._missed

    def _found(self, found: bool) -> bool:
        if not found:
            self._missed = time.monotonic() + REST
        return found

    def _rename(self, connection: sa.Connection, location: str, role: str | None, tenant: Tenant) -> None:
        from psycopg import sql  # not where SQLite is all there is

        from tenantry.stores.postgres import execute

        schema = tenant.location
        parts = [sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(location), sql.Identifier(schema))]
        if role is not None and tenant.role is not None:
            rename = sql.SQL("ALTER ROLE {} RENAME TO {}")
            parts.append(rename.format(sql.Identifier(role), sql.Identifier(tenant.role)))
        extensions = cast("PostgresSchemas", self._store).declared()["extensions"]
        path = sql.SQL(", ").join(sql.Identifier(name) for name in (schema, extensions) if name)
        parts.append(sql.SQL("SET LOCAL search_path TO {}").format(path))
        execute(connection, sql.SQL("; ").join(parts))

    def _take_file(self, site: FileSite, tenant: Tenant, plan: Plan) -> bool:
        root = cast("SqliteFiles", self._store).root
        for uid, location in self._seeking(plan):
            # Whoever moves the file has the place, and its record goes with the one that the tenant gets. A tenant that
            # has one already may take long to make: then the place's record goes first, and nobody misses its file.
            if (not tenant.uid or self._given_up(uid, plan)) and site.adopt(root / location, plan.digest):
                if not tenant.uid:
                    site.record(partial(self._hand_over, uid, plan, tenant))
                return True
        return False

    def _seeking(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """Places that were ready when last looked, then those that are now; others may be faster to take them.

        Some are remembered: a look takes as long as the copying of a file that a place saves.
        """
        for looked in (False, True):
            if looked:
                with self._registry.transaction() as connection:
                    rows = connection.execute(self._candidates.limit(TRIED), {"head": plan.target})
                    self._seen.extend((row.uid, row.location) for row in rows)
            with suppress(IndexError):
                while True:
                    yield self._seen.popleft()

    def _given_up(self, uid: str, plan: Plan) -> bool:
        """Remove the record of a ready place; tells whether this did it."""
        with self._registry.transaction(writes=True) as connection:
            return connection.execute(self._given, {"of_uid": uid, "head": plan.target}).rowcount == 1

    def _hand_over(self, uid: str, plan: Plan, tenant: Tenant, connection: sa.Connection) -> None:
        if connection.execute(self._given, {"of_uid": uid, "head": plan.target}).rowcount != 1:
            raise TenantBusy(tenant.slug)  # somebody migrates or removes the place

    def refill(self) -> None:
        """Have what was taken replaced by a thread of its own; does not wait for it."""
        with self._guard:
            if self._refilling is None or not self._refilling.is_alive():
                self._refilling = threading.Thread(target=self._refill, name="tenantry-standby", daemon=True)
                self._refilling.start()

    def _refill(self) -> None:
        try:
            self.keep()
        except TenancyError as error:  # the tenant stands, whatever became of its successor's place
            logger.warning("the standby pool was not refilled", extra={"error": str(error)})

    def settle(self) -> None:
        """Wait until a refill that was begun is done."""
        refilling = self._refilling
        if refilling is not None and refilling is not threading.current_thread():
            refilling.join()

    # -- one place

    def _make(self, plan: Plan) -> None:
        place = self._place()
        row = {
            "uid": place.uid,
            "location": place.location,
            "role": place.role,
            "status": "ready",
            "revision": plan.target,
            "created_at": place.created_at,
        }
        with self._store.construct(place) as site:
            site.create()
            apply.build(site, plan, self._planner.migrations, place.location)
            site.record(lambda connection: self._insert(connection, row))

    def _insert(self, connection: sa.Connection, row: dict[str, Any]) -> None:
        connection.execute(sa.insert(self._tables.standby), row)

    def _place(self) -> Tenant:
        uid, at = new_uid(), journal.now()
        name, role = f"{PREFIX}{uid[-16:]}", None
        if isinstance(self._store, SqliteFiles):
            location = f"{OWN_DIRECTORY}/{name}.db"
        else:
            store, location = cast("PostgresSchemas", self._store), name
            if store.declared()["role_per_tenant"]:
                role = f"{name}@{store.login().database_oid}"
        return Tenant(uid, name, name, location, TenantStatus.PROVISIONING, at, at, role)

    @staticmethod
    def _as_tenant(place: Standby) -> Tenant:
        at = place.created_at
        status = TenantStatus.PROVISIONING
        return Tenant(
            place.uid, place.location, place.location, place.location, status, at, at, place.role, None, place.revision
        )

    def _migrate(self, place: Standby, target: str | None) -> bool:
        """Bring a place to the head; False when there is no way: it is to be made anew."""
        if not self._withdraw(place):
            return True  # taken meanwhile, by a process to which it was not behind
        table = self._tables.standby

        def ledger(connection: sa.Connection, revision: str | None) -> None:
            change = sa.update(table).where(table.c.uid == place.uid)
            status = "ready" if revision == target else "making"
            connection.execute(change.values(revision=revision, status=status))

        try:
            apply.bring(
                self._store, self._planner, self._as_tenant(place), target, claim=lambda connection: None, ledger=ledger
            )
        except (MigrationError, StoreMissing):
            return False
        return True

    def _withdraw(self, place: Standby) -> bool:
        """Have nobody take the place any more; False when somebody has, or is about to."""
        table = self._tables.standby
        held = sa.select(table.c.uid).where(table.c.uid == place.uid).with_for_update(skip_locked=True)
        with self._registry.transaction(writes=True) as connection:
            if connection.scalar(held) is None:
                return False
            connection.execute(sa.update(table).where(table.c.uid == place.uid).values(status="making"))
        return True

    def _remove(self, place: Standby) -> int:
        if not self._withdraw(place):
            return 0
        self._store.remove(self._as_tenant(place))
        table = self._tables.standby
        with self._registry.transaction(writes=True) as connection:
            # Last: a removal that is killed before is done again by it.
            connection.execute(sa.delete(table).where(table.c.uid == place.uid))
        return 1

    def _sweep(self) -> None:
        """Remove what killed processes left of places: files without a record, and records without a file. On a server
        there is neither.
        """
        if not isinstance(self._store, SqliteFiles):
            return
        if lost := self._lost():
            time.sleep(LOOK)  # whoever takes a place moves its file a moment before the record goes
            for place in self._lost() & lost:
                self._remove(place)
        known = {Path(place.location).name for place in self.places()}
        for path in (self._store.root / OWN_DIRECTORY).glob(f"*{PREFIX}*"):
            base = path.name
            for suffix in COMPANIONS:
                base = base.removesuffix(suffix)
            if base not in known:
                path.unlink(missing_ok=True)

    def _lost(self) -> set[Standby]:
        """The places whose file is not there."""
        return {place for place in self._ready() if not self._store.exists(place.location)}
