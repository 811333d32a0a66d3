"""Which tenants there are and whether they are served, answered from memory.

Requests and sessions ask here. While changes are heard (``watch``), an answer is kept until its tenant's record
changes, whichever process changes it, and a slug that nobody registered is refused without asking the database. While
they are not, an active tenant's record is trusted for ``remembered`` seconds. Memory is bounded whatever is asked for.
"""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from tenantry.errors import StoreUnavailable, TenantNotActive, TenantNotFound, TenantOutOfWindow
from tenantry.migrations.window import Window
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from tenantry.registry.changes import Changes

MAX_KNOWN = 10_000  # tenants whose record is kept; one is about 1 kB
CROWDED = MAX_KNOWN // 2  # from there on it matters which were asked for last
MAX_ABSENT = 10_000  # slugs of no tenant that are kept, where there are too many tenants for the roll
MAX_ROLL = 200_000  # slugs of tenants; one is about 100 bytes
ROLL_PAUSE = 1.0  # seconds between two readings of the roll
AT_ONCE = 1.0  # seconds

# What every SlugRule allows and the registry can hold. Not the application's own rule: it may have been narrower when
# a tenant was made than it is now, or wider.
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


Read = TypeVar("Read")


class Directory:
    """The tenants of one store as this process knows them. Safe to share between threads."""

    def __init__(self, store: Store, registry: Registry, *, remembered: float, window: Window | None = None) -> None:
        self._store = store
        self._window = window
        self._registry = registry
        self._remembered = remembered
        self._changes: Changes | None = None
        self._start()
        _directories.add(self)

    def _start(self) -> None:
        self._guard = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Tenant]] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._roll: set[str] | None = None  # the slugs of all tenants
        self._next_roll = 0.0
        self._changed = 0  # how often anything did; what was read before the latest time may be stale

    # -- asking

    def tenant(self, slug: str) -> Tenant:
        """The tenant of that slug; the registry is asked when memory does not know.

        :raises TenantNotFound: it is not registered. :raises TenantNotActive: it is not served.
        :raises TenantOutOfWindow: it stands at a revision that the running code does not serve.
        """
        found = self.at_hand(slug)
        if found is not None:
            return found
        if self._heard() and not self._on_roll(slug):
            raise TenantNotFound(slug)
        changed = self._changed
        try:
            tenant = _read(lambda: self._registry.get(slug))
        except TenantNotFound:
            self._keep_absent(slug, changed)
            raise
        self._keep(tenant, changed)
        return self._served(tenant)

    async def async_tenant(self, slug: str) -> Tenant:
        """The same for asyncio: the registry is asked in a thread, so the event loop never waits for it."""
        found = self.at_hand(slug)
        if found is None:
            import asyncio

            found = await asyncio.to_thread(self.tenant, slug)
        return found

    def at_hand(self, slug: str) -> Tenant | None:
        """The tenant of that slug, or None when the registry must be asked; never waits for a database.

        :raises TenantNotFound: it is known not to be registered.
        :raises TenantNotActive, TenantOutOfWindow: it is known not to be served.
        """
        heard = self._heard()
        if heard:
            # Without the lock: what is looked up while it changes was asked for before it changed.
            known = self._known.get(slug)
            if known is not None and len(self._known) < CROWDED:
                return self._served(known[1])
        with self._guard:
            known = self._known.get(slug)
            if known is not None:
                read_at, tenant = known
                if not heard and read_at + self._remembered < time.monotonic():
                    return None
                if not heard and self._window is not None and not self._window.holds(tenant.revision):
                    return None  # it may have been migrated since
                self._known.move_to_end(slug)
            elif _SLUG.fullmatch(slug) is None or self._is_absent(slug, heard=heard):
                raise TenantNotFound(slug)
            else:
                return None
        return self._served(tenant)

    def _served(self, tenant: Tenant) -> Tenant:
        if tenant.status is not TenantStatus.ACTIVE:
            raise TenantNotActive(tenant.slug, tenant.status.value)
        if self._window is not None and not self._window.holds(tenant.revision):
            raise TenantOutOfWindow(tenant.slug, tenant.revision, str(self._window))
        return tenant

    def _is_absent(self, slug: str, *, heard: bool) -> bool:
        if heard and self._roll is not None and slug not in self._roll:
            return True
        read_at = self._absent.get(slug)
        return read_at is not None and (heard or read_at + self._remembered >= time.monotonic())

    # -- keeping

    def _keep(self, tenant: Tenant, changed: int) -> None:
        if tenant.status is not TenantStatus.ACTIVE and self._changes is None:
            return  # nobody would tell that it was activated
        with self._guard:
            if changed == self._changed:
                self._known[tenant.slug] = (time.monotonic(), tenant)
                self._known.move_to_end(tenant.slug)
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)

    def _keep_absent(self, slug: str, changed: int) -> None:
        if self._changes is None:
            return
        with self._guard:
            if changed == self._changed:
                self._absent[slug] = time.monotonic()
                if len(self._absent) > MAX_ABSENT:
                    self._absent.popitem(last=False)

    def _on_roll(self, slug: str) -> bool:
        """Whether it may be a tenant's. Reads the roll when it is missing, and not too often."""
        with self._guard:
            roll, changed = self._roll, self._changed
            if roll is not None:
                return slug in roll
            if time.monotonic() < self._next_roll:
                return True
            self._next_roll = time.monotonic() + ROLL_PAUSE
        slugs = _read(self._slugs)
        with self._guard:
            if changed == self._changed and len(slugs) <= MAX_ROLL:
                self._roll = slugs
        return slug in slugs or len(slugs) > MAX_ROLL

    def _slugs(self) -> set[str]:
        query = sa.select(tables(self._store.control_schema).tenant.c.slug).limit(MAX_ROLL + 1)
        with faults(self._store.describe()), self._store.control_engine().connect() as connection:
            return set(connection.execute(query).scalars())

    # -- hearing of changes

    def watch(self) -> None:
        """Hear of changes from now on, made by any process. Costs a connection on PostgreSQL, which a server is worth
        and a command is not. Safe to call again, also in a process that was forked off.
        """
        if self._changes is None:
            from tenantry.registry.changes import changes_of

            me = weakref.ref(self)
            engine, schema = self._store.control_engine(), self._store.control_schema
            with self._guard:
                if self._changes is None:
                    self._changes = changes_of(engine, schema, me)

    @property
    def watching(self) -> bool:
        """Whether this process was told to hear of changes."""
        return self._changes is not None

    @property
    def heard(self) -> bool:
        """Whether changes are heard at this moment."""
        return self._heard()

    def _heard(self) -> bool:
        changes = self._changes
        return changes is not None and changes.heard()

    def changed(self, slug: str) -> None:
        """Ask the registry again when this tenant is wanted next."""
        with self._guard:
            self._changed += 1
            self._known.pop(slug, None)
            self._absent.pop(slug, None)
            if self._roll is not None:
                self._roll.add(slug)
                if len(self._roll) > MAX_ROLL:
                    self._roll = None

    def renewed(self) -> None:
        """Ask the registry again whichever tenant is wanted."""
        with self._guard:
            self._changed += 1
            self._known.clear()
            self._absent.clear()
            self._roll = None

    def close(self) -> None:
        """Hear no more, and forget everything."""
        with self._guard:
            changes, self._changes = self._changes, None
        if changes is not None:
            changes.close()
        self.renewed()

    def _forked(self) -> None:
        """In a process that was forked off: begin anew, for a lock may be held by a thread that is not here."""
        if self._changes is not None:
            self._changes.abandon()
            self._changes = None
        self._start()


def _read(read: Callable[[], Read]) -> Read:
    """Read once more where the first connection was dead: one that died in the pool fails at once, and takes all of its
    age with it, so the server was restarted and nothing is wrong. A server that cannot be reached takes its time.
    """
    started = time.monotonic()
    try:
        return read()
    except StoreUnavailable:
        if time.monotonic() - started > AT_ONCE:
            raise
    return read()


_directories: weakref.WeakSet[Directory] = weakref.WeakSet()


def _after_fork() -> None:
    for directory in list(_directories):
        directory._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
