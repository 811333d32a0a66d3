"""Sessions bound to one tenant, sync and asyncio.

Every transaction of such a session begins inside the tenant, and an unknown or inactive tenant is refused before
anything is sent. Which tenants there are is the directory's to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from tenantry import scope
from tenantry.directory import Directory
from tenantry.stores.base import Store
from tenantry.tenant import Tenant
from tenantry.tracing import span, traced

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Sessions:
    """Opens sessions on the tenants of one store."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self.store = store
        self._directory = directory

    def tenant(self, slug: str | None) -> Tenant:
        """The tenant to work on: the one named, or the open scope's.

        :raises NoTenant: neither is there. :raises WrongTenant: both are, and differ.
        :raises TenantNotFound: it is not registered. :raises TenantNotActive: it is not served.
        """
        return self._directory.tenant(self._wanted(slug))

    async def async_tenant(self, slug: str | None) -> Tenant:
        """The same for asyncio."""
        return await self._directory.async_tenant(self._wanted(slug))

    def session(self, slug: str | None = None, *, write: bool = False) -> AbstractContextManager[Session]:
        """A session on one tenant; commits at the end of the block, rolls back when an exception leaves it.

        ``write``: on SQLite take the write lock at BEGIN, for work that reads first and writes later.
        """
        return self._traced(slug, write) if traced() else _Block(self, slug, write)

    def async_session(
        self, slug: str | None = None, *, write: bool = False
    ) -> AbstractAsyncContextManager[AsyncSession]:
        """The same for asyncio; the event loop never waits for the registry."""
        return self._async_traced(slug, write) if traced() else _AsyncBlock(self, slug, write)

    @contextmanager
    def _traced(self, slug: str | None, write: bool) -> Iterator[Session]:
        tenant = self.tenant(slug)
        with span("session", tenant.slug), _Block(self, slug, write) as session:
            yield session

    @asynccontextmanager
    async def _async_traced(self, slug: str | None, write: bool) -> AsyncIterator[AsyncSession]:
        tenant = await self.async_tenant(slug)
        with span("session", tenant.slug):
            async with _AsyncBlock(self, slug, write) as session:
                yield session

    @staticmethod
    def _wanted(slug: str | None) -> str:
        if slug is None:
            return scope.current_tenant()
        scope.check(slug)
        return slug


# Classes and not generators: three generators around a transaction that reads one row are 2 % of it.


class _Block:
    """The block of one session."""

    __slots__ = ("_session", "_sessions", "_slug", "_write")

    def __init__(self, sessions: Sessions, slug: str | None, write: bool) -> None:
        self._sessions = sessions
        self._slug = slug
        self._write = write

    def __enter__(self) -> Session:
        tenant = self._sessions.tenant(self._slug)
        self._session = Session(self._sessions.store.engine(tenant, write=self._write))
        return self._session

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._session.commit()  # not session.begin(), which would forbid work after a commit in the middle
        finally:
            self._session.close()


class _AsyncBlock:
    """The same for asyncio."""

    __slots__ = ("_session", "_sessions", "_slug", "_write")

    def __init__(self, sessions: Sessions, slug: str | None, write: bool) -> None:
        self._sessions = sessions
        self._slug = slug
        self._write = write

    async def __aenter__(self) -> AsyncSession:
        from sqlalchemy.ext.asyncio import AsyncSession

        tenant = await self._sessions.async_tenant(self._slug)
        self._session = AsyncSession(await self._sessions.store.async_engine(tenant, write=self._write))
        return self._session

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        # Not in a task of its own, which an event loop that ends might cancel before it began: then nobody gives the
        # connection back. A task that is cancelled here a second time costs its connection, which is closed.
        try:
            if kind is None:
                await self._session.commit()
        finally:
            await self._session.close()
