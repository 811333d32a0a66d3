"""The laboratory as a web application, and the platform's doors beside it.

``lims_app`` makes the first, ``whole`` hangs both behind one address. A request of the laboratory passes three walls:
the edge (host, size, identifier), the tenant (token, header and host must agree), the door (session, laboratory,
permission). Nothing connects before the first request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import tenantry
from beak_lims.api.problems import as_problem
from beak_lims.api.routers import ROUTERS, about
from beak_lims.api.served import Served
from beak_lims.identity.tokens import verify
from tenantry.errors import TenancyError, TokenRefused
from tenantry.http.app import PREFIX as PLATFORM
from tenantry.http.edge import Edge, Observe
from tenantry.http.middleware import TenantMiddleware
from tenantry.http.problems import describe
from tenantry.http.resolution import HEADER, HeaderResolver, SubdomainResolver, TokenResolver
from tenantry.http.settings import HttpSettings

if TYPE_CHECKING:
    from tenantry.tenancy import Tenancy

PREFIX = "/api/v1"
OPENAPI = f"{PREFIX}/openapi.json"
PUBLIC = (OPENAPI, f"{PREFIX}/health", f"{PREFIX}/version")  # they need no organisation
ABOUT = """
One organisation's laboratories. The organisation is named by the token, by `X-Org-Slug` or by the host's sub-domain,
and all that are given must agree; the laboratory by `X-Laboratory-ID` or by the token. Log in at `/auth/login` and send
the `access_token` as `Authorization: Bearer ...`. Errors are problem documents (RFC 9457). Lists come in pages: follow
the `Link` header. `x-permissions` of a route names the permissions that it asks for.
"""


def lims_app(
    tenancy: Tenancy,
    settings: HttpSettings | None = None,
    *,
    observe: Observe | None = None,
    header: str = HEADER,
) -> FastAPI:
    """The laboratory's application. ``observe`` is told of every request when its answer is out. ``header``: by which
    a request names its organisation.
    """
    settings = settings or HttpSettings()
    served = Served(tenancy, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            served.close()

    app = FastAPI(
        title="Beak LIMS",
        version=tenantry.__version__,
        description=ABOUT.strip(),
        openapi_url=OPENAPI,
        # The pages that show it load their scripts from elsewhere, and a redirect would repeat the caller's Host.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: f"{route.tags[0]}-{route.name}" if route.tags else route.name,
    )
    app.state.served = served
    for router in (about.router, *ROUTERS):
        app.include_router(router, prefix=PREFIX)
    for kind in (TenancyError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, as_problem)
    resolvers = [HeaderResolver(header), TokenResolver(verify, refused=TokenRefused), SubdomainResolver()]
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolvers=resolvers, required=(PREFIX,), public=PUBLIC)
    app.add_middleware(OneRequest)
    app.add_middleware(Edge, settings=settings, observe=observe or (lambda scope, status, seconds: None))
    describe(app)
    return app


class OneRequest:
    """Has a request one identifier: the edge's, whichever wall answers it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        facts = scope.get("tenantry.request")
        if facts is None:
            await self.app(scope, receive, send)
            return
        own = (b"x-request-id", facts.request_id.encode())
        scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] != own[0]), own]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":  # the edge adds these to every answer
                kept = [pair for pair in message.get("headers", ()) if pair[0] not in (own[0], b"cache-control")]
                message = {**message, "headers": kept}
            await send(message)

        await self.app(scope, receive, answer)


class Whole:
    """Two applications behind one address: what is below the platform's prefix is the platform's."""

    def __init__(self, platform: FastAPI, laboratory: FastAPI) -> None:
        self.platform = platform
        self.laboratory = laboratory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the beginning and end of both."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope.get("path", "")
        platform = path == PLATFORM or path.startswith(PLATFORM + "/")
        await (self.platform if platform else self.laboratory)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            for app in (self.platform, self.laboratory):
                await stack.enter_async_context(app.router.lifespan_context(app))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
