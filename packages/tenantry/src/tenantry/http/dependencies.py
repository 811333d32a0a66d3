"""Sessions for FastAPI's routes: ``Depends(tenant_session)`` and ``Depends(async_tenant_session)``.

The session is bound to the request's tenant, which :class:`tenantry.http.middleware.TenantMiddleware` found. It commits
before the answer begins, so a commit that fails is not answered as a success, and rolls back when an exception leaves
the route. Where the middleware looked for no tenant there is none, and no session.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from tenantry.errors import NoTenant
from tenantry.http.middleware import SETTLING, TENANCY, TENANT
from tenantry.tenancy import Tenancy
from tenantry.tenant import Tenant


def current_tenant(connection: HTTPConnection) -> Tenant:
    """The request's tenant. :raises NoTenant: it has none."""
    tenant = connection.scope.get(TENANT)
    if not isinstance(tenant, Tenant):
        raise NoTenant()
    return tenant


def tenant_session(connection: HTTPConnection) -> Iterator[Session]:
    """A session on the request's tenant. :raises NoTenant: it has none."""
    tenant = current_tenant(connection)
    with _tenancy(connection).session(tenant.slug) as session:

        async def settle() -> None:
            await run_in_threadpool(session.commit)

        with _settled(connection, settle):
            yield session


async def async_tenant_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """The same for asyncio."""
    tenant = current_tenant(connection)
    async with _tenancy(connection).async_session(tenant.slug) as session:
        with _settled(connection, session.commit):
            yield session


def _tenancy(connection: HTTPConnection) -> Tenancy:
    tenancy = connection.scope[TENANCY]
    assert isinstance(tenancy, Tenancy)  # noqa: S101 - the middleware put it there together with the tenant
    return tenancy


@contextmanager
def _settled(connection: HTTPConnection, settle: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Inside, the answer does not begin before this was done."""
    settling: list[Callable[[], Awaitable[None]]] = connection.scope[SETTLING]
    settling.append(settle)
    try:
        yield
    finally:
        settling.remove(settle)
