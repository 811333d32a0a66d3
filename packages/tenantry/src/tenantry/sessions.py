"""Sessions bound to one tenant, sync and asyncio.

Every transaction of such a session begins inside the tenant, and an unknown or inactive tenant is refused before
anything is sent. Which tenants there are is the directory's to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from tenantry import scope
from tenantry.directory import Directory
from tenantry.stores.base import Store
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Sessions:
    """Opens sessions on the tenants of one store."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory

    def tenant(self, slug: str | None) -> Tenant:
        """The tenant to work on: the one named, or the open scope's.

        :raises NoTenant: neither is there. :raises WrongTenant: both are, and differ.
        :raises TenantNotFound: it is not registered. :raises TenantNotActive: it is not served.
        """
        return self._directory.tenant(self._wanted(slug))

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
        """The same for asyncio; the event loop never waits for the registry."""
        from sqlalchemy.ext.asyncio import AsyncSession

        tenant = await self._directory.async_tenant(self._wanted(slug))
        async with AsyncSession(await self._store.async_engine(tenant, write=write)) as session:
            yield session
            await session.commit()

    @staticmethod
    def _wanted(slug: str | None) -> str:
        if slug is None:
            return scope.current_tenant()
        scope.check(slug)
        return slug
