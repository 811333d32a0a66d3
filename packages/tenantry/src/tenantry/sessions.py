"""Sessions bound to one tenant, sync and asyncio.

Every transaction of such a session begins inside the tenant, and an unknown or inactive tenant is refused before
anything is sent. Which tenants exist is remembered for a few seconds; a status changed through the same Tenancy is
seen at once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from tenantry import scope
from tenantry.errors import TenantNotActive
from tenantry.registry.registry import Registry
from tenantry.stores.base import Store
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

MAX_REMEMBERED = 10_000  # tenants; one is about 1 kB


class Sessions:
    """Opens sessions on the tenants of one store."""

    def __init__(self, store: Store, registry: Registry, *, remembered: float) -> None:
        self._store = store
        self._registry = registry
        self._remembered = remembered
        self._known: OrderedDict[str, tuple[float, Tenant]] = OrderedDict()
        self._guard = threading.Lock()
        self._forgotten = 0  # how often; a record read before the latest time may be stale

    def tenant(self, slug: str | None) -> Tenant:
        """The tenant to work on: the one named, or the open scope's.

        :raises NoTenant: neither is there. :raises WrongTenant: both are, and differ.
        :raises TenantNotFound: it is not registered. :raises TenantNotActive: it is not served.
        """
        slug = self._wanted(slug)
        known = self._at_hand(slug)
        if known is not None:
            return known
        forgotten = self._forgotten
        tenant = self._registry.get(slug)
        if tenant.status is not TenantStatus.ACTIVE:
            raise TenantNotActive(slug, tenant.status.value)
        with self._guard:
            if forgotten != self._forgotten:
                return tenant
            self._known[slug] = (time.monotonic() + self._remembered, tenant)
            self._known.move_to_end(slug)
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return tenant

    def _at_hand(self, slug: str) -> Tenant | None:
        with self._guard:
            until, tenant = self._known.get(slug, (0.0, None))
        return tenant if until >= time.monotonic() else None

    def forget(self, slug: str) -> None:
        """Ask the registry again at the next session of this tenant."""
        with self._guard:
            self._forgotten += 1
            self._known.pop(slug, None)

    @contextmanager
    def session(self, slug: str | None = None, *, write: bool = False) -> Iterator[Session]:
        """A session on one tenant; commits at the end of the block, rolls back when an exception leaves it.

        ``write``: on SQLite take the write lock at BEGIN, for work that reads first and writes later.
        """
        tenant = self.tenant(slug)
        with Session(self._store.engine(tenant, write=write)) as session:
            yield session
            session.commit()  # not session.begin(), which would forbid work after a commit in the middle

    @asynccontextmanager
    async def async_session(self, slug: str | None = None, *, write: bool = False) -> AsyncIterator[AsyncSession]:
        """The same for asyncio. The registry is asked in a thread when the tenant is not remembered, so the event loop
        never waits for it.
        """
        import asyncio

        from sqlalchemy.ext.asyncio import AsyncSession

        wanted = self._wanted(slug)
        tenant = self._at_hand(wanted)
        if tenant is None:
            tenant = await asyncio.to_thread(self.tenant, wanted)
        async with AsyncSession(await self._store.async_engine(tenant, write=write)) as session:
            yield session
            await session.commit()

    @staticmethod
    def _wanted(slug: str | None) -> str:
        if slug is None:
            return scope.current_tenant()
        scope.check(slug)
        return slug
