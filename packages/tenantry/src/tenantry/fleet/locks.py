"""What a plan locks, and how many tenants at once the server has room for.

PostgreSQL keeps the locks of all sessions in one table of fixed size; a transaction that does not fit fails, and with
it innocent neighbours. So the plan is tried and undone first, its locks are counted, and the number of tenants at once
is held within a share of that table. It is tried on the first tenant that is to go, unless one of its statements takes
more than a quarter of a second there, else in an empty place. Tables of another shape that a tenant may have are not
foreseen.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from tenantry.errors import RolloutRefused, TenancyError
from tenantry.migrations import apply, online
from tenantry.migrations.compiler import SCRATCH
from tenantry.migrations.plan import Plan
from tenantry.migrations.planner import Planner
from tenantry.registry.journal import now
from tenantry.registry.registry import Registry
from tenantry.stores.base import Site, Store
from tenantry.stores.postgres import PostgresSchemas, execute
from tenantry.tenant import Tenant, TenantStatus

FORMAT = 1
PROFILE = "locks"  # the kind under which a profile is kept beside the plans
GLIMPSE = 250  # milliseconds that one statement of a tenant's trial may take; making an empty place takes as long
SHARE = 0.5  # of the lock table and of the free connections, so that the application keeps the rest
OWN_LOCKS = 12  # that every transaction of a rollout takes besides: the registry's tables and their indexes
# From the weakest that makes sessions wait for each other to the strongest.
MODES = ("ShareUpdateExclusive", "Share", "ShareRowExclusive", "Exclusive", "AccessExclusive")
_WORDS = {
    "ShareUpdateExclusive": "SHARE UPDATE EXCLUSIVE",
    "Share": "SHARE",
    "ShareRowExclusive": "SHARE ROW EXCLUSIVE",
    "Exclusive": "EXCLUSIVE",
    "AccessExclusive": "ACCESS EXCLUSIVE",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockProfile:
    """What one tenant's transaction locks."""

    total: int
    tables: tuple[tuple[str, str], ...]  # those that were there before, with the mode in SQL's words, by name


@dataclass(frozen=True)
class Room:
    """What the server has."""

    locks: int  # max_locks_per_transaction x (max_connections + max_prepared_transactions)
    locks_per_transaction: int
    connections: int  # that nobody uses now and this user may have


class LockProfiles:
    """The lock profiles of an application's plans, each found once and kept with the plans."""

    def __init__(self, store: Store, registry: Registry, planner: Planner) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner
        self._known: dict[str, LockProfile] = {}

    def of(self, plan: Plan, tenant: Tenant | None = None) -> LockProfile:
        """What this replayable plan locks. When no one has found it yet, it is tried and undone: on this ``tenant``,
        which stands where the plan begins, else in an empty place, which is removed again.
        """
        found = self._known.get(plan.digest)
        if found is None:
            found = self._known[plan.digest] = self._load(plan, tenant)
        return found

    def _load(self, plan: Plan, tenant: Tenant | None) -> LockProfile:
        digest = profile_digest(plan.digest)
        saved = self._registry.load_plan(digest)
        if saved is None:
            profile = (self._glimpse(plan, tenant) if tenant is not None else None) or self._find(plan)
            body = {"total": profile.total, "tables": [list(pair) for pair in profile.tables]}
            self._registry.save_plan(digest, kind=PROFILE, base=plan.base, target=plan.target or "base", body=body)
            return profile
        return LockProfile(saved["total"], tuple((table, mode) for table, mode in saved["tables"]))

    def _glimpse(self, plan: Plan, tenant: Tenant) -> LockProfile | None:
        """The profile as one tenant shows it; None when it is busy, stands elsewhere, or takes long."""
        try:
            with self._store.change(tenant) as site:
                connection = site.connection
                limits = "SET LOCAL lock_timeout = {0}; SET LOCAL statement_timeout = {0}"
                execute(connection, sql.SQL(limits).format(sql.Literal(GLIMPSE)))
                self._registry.lock_row(tenant, wait=False, connection=connection)
                if online.revision_of(connection, self._planner.migrations.version_table) != plan.base:
                    return None
                raise _Undone(_measured(site, tenant.location, plan))
        except _Undone as undone:
            return undone.profile
        except TenancyError as error:
            logger.debug("locks are looked for in an empty place", extra={"tenant": tenant.slug, "error": str(error)})
            return None

    def _find(self, plan: Plan) -> LockProfile:
        migrations, store = self._planner.migrations, self._store
        schema = f"{SCRATCH}{secrets.token_hex(8)}"
        place = Tenant(schema, schema, schema, schema, TenantStatus.PROVISIONING, now(), now())
        start = self._planner.plan(None, plan.base)
        try:
            with store.construct(place) as site:
                site.create()
                apply.build(site, start, migrations, schema)
            with store.change(place) as site:
                return _measured(site, schema, plan)
        finally:
            store.remove(place)


def profile_digest(plan: str) -> str:
    """What names the profile of the plan of this digest."""
    return hashlib.sha256(f"{PROFILE} {FORMAT} {plan}".encode()).hexdigest()


class _Undone(Exception):
    """Leaves a transaction, so that nothing of it is kept, with what was seen in it."""

    def __init__(self, profile: LockProfile) -> None:
        super().__init__()
        self.profile = profile


def _measured(site: Site, schema: str, plan: Plan) -> LockProfile:
    """What the plan locks in this site's transaction, in which nothing else was done."""
    before = set(site.connection.execute(_TABLES, {"schema": schema}).scalars())
    site.send(plan.statements)
    total: int = site.connection.execute(_COUNT).scalar_one()
    held: dict[str, str] = {}
    for table, mode in site.connection.execute(_HELD, {"schema": schema}):
        bare = str(mode).removesuffix("Lock")
        if table in before and bare in MODES and MODES.index(bare) >= MODES.index(held.get(table, MODES[0])):
            held[table] = bare
    # A table that the plan drops has no name any more.
    return LockProfile(total + OWN_LOCKS, tuple((table, _WORDS[held[table]]) for table in sorted(held)))


_TABLES = sa.text(
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = :schema AND c.relkind IN ('r', 'p')"
)
_COUNT = sa.text("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
_HELD = sa.text(
    "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE l.pid = pg_backend_pid() AND n.nspname = :schema AND c.relkind IN ('r', 'p')"
)


def room(store: PostgresSchemas) -> Room:
    """What the server has room for now."""
    query = sa.text(
        "SELECT current_setting('max_locks_per_transaction')::int, current_setting('max_connections')::int,"
        " current_setting('max_prepared_transactions')::int,"
        " current_setting('superuser_reserved_connections')::int,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    with store.control_engine().connect() as connection:
        per_transaction, maximum, prepared, reserved, used = connection.execute(query).one()
    return Room(per_transaction * (maximum + prepared), per_transaction, max(maximum - reserved - used, 0))


def narrowed(jobs: int, profiles: Sequence[LockProfile], has: Room) -> tuple[int, tuple[str, ...]]:
    """How many tenants at once the server has room for, at most ``jobs``, and why it is fewer.

    :raises RolloutRefused: not even one.
    """
    notes: list[str] = []
    needed = max((profile.total for profile in profiles), default=0)
    fitting = int(has.locks * SHARE) // needed if needed else jobs
    if fitting < 1:
        raise RolloutRefused(
            f"one tenant's transaction takes {needed:,} locks, and the server's table of {has.locks:,} is to be filled"
            f" by no more than {SHARE:.0%}. Raise max_locks_per_transaction (now {has.locks_per_transaction}), or make"
            " smaller revisions."
        )
    if fitting < jobs:
        notes.append(
            f"{fitting} tenants at once instead of {jobs}: each takes {needed:,} locks of the server's {has.locks:,}"
            f" (max_locks_per_transaction={has.locks_per_transaction}), of which {SHARE:.0%} may be used."
        )
        jobs = fitting
    free = int(has.connections * SHARE)
    if free < 1:
        raise RolloutRefused(
            f"the server has {has.connections} connections left. Raise max_connections, or close some."
        )
    if free < jobs:
        notes.append(f"{free} tenants at once instead of {jobs}: the server has {has.connections} connections left.")
        jobs = free
    return jobs, tuple(notes)
