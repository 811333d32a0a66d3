"""The platform as a web application: built from a tenancy, to run alone or below another application.

``platform_app`` makes it, ``mount_platform`` hangs it into an application that is there. The engine's own doors come
first; an application adds its own through ``extensions``, each called with the :class:`Doors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import tenantry
from tenantry.errors import TenancyError
from tenantry.http.edge import Edge
from tenantry.http.platform import Platform, Provisioning, Summary
from tenantry.http.problems import as_problem, describe
from tenantry.http.routes.audit import audit_routes
from tenantry.http.routes.people import people_routes
from tenantry.http.routes.server import server_routes
from tenantry.http.routes.tenants import plain_provisioning, plain_summary, tenant_routes
from tenantry.http.settings import HttpSettings

if TYPE_CHECKING:
    from tenantry.tenancy import Tenancy

PREFIX = "/api/v1/platform"
ABOUT = """
The control plane: who may look after tenants, and the tenants themselves. Log in at `/auth/login` and send the
`access_token` as `Authorization: Bearer ...`. Errors are problem documents (RFC 9457). Lists come in pages: follow the
`Link` header. `Idempotency-Key` makes a POST safe to send again.
"""


class Doors:
    """What an extension may add to: routes of its own, what ``POST /tenants`` takes and what ``GET /tenants`` tells."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.router = APIRouter()
        self.provisioning: Provisioning = plain_provisioning()
        self.summary: Summary = plain_summary()


Extension = Callable[[Doors], None]


def platform_app(
    tenancy: Tenancy,
    *,
    prefix: str = PREFIX,
    extensions: Sequence[Extension] = (),
    settings: HttpSettings | None = None,
    title: str = "Platform",
) -> FastAPI:
    """The application. It connects to nothing before the first request, and closes the tenancy when it ends."""
    settings = settings or HttpSettings()
    platform = Platform(tenancy, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            platform.close()

    app = FastAPI(
        title=title,
        version=tenantry.__version__,
        description=ABOUT.strip(),
        openapi_url=f"{prefix}/openapi.json",
        # The pages that show it load their scripts from elsewhere, and a redirect would repeat the caller's Host.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.platform = platform
    doors = Doors(platform)
    for extension in extensions:
        extension(doors)
    for router in (
        people_routes(),
        tenant_routes(doors.provisioning, doors.summary),
        doors.router,
        audit_routes(),
        server_routes(),
    ):
        app.include_router(router, prefix=prefix)
    for kind in (TenancyError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, as_problem)
    app.add_middleware(Edge, settings=settings, observe=platform.metrics.observe)
    describe(app)
    return app


def mount_platform(app: FastAPI, tenancy: Tenancy, *, prefix: str = PREFIX, **given: Any) -> FastAPI:
    """Hang the platform into an application, below the prefix; returns the platform's own. See :func:`platform_app`."""
    platform = platform_app(tenancy, prefix="", **given)
    app.mount(prefix, platform)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(whole: FastAPI) -> AsyncIterator[Any]:
        async with outer(whole) as state, platform.router.lifespan_context(platform):
            yield state

    app.router.lifespan_context = lifespan
    return platform
