"""DocEX as a web application: what the Python interface does, for programs in other languages.

``docex serve`` serves it. A token is for one tenant; every answer is of that tenant. Routes and processors are made on
the command line, not here: they name places on the server and its network.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope

import tenantry.http.errors as edge
from docex import __version__
from docex.errors import DocexError
from docex.http.baskets import routes as basket_routes
from docex.http.documents import routes as document_routes
from docex.http.doors import Doors
from docex.http.problems import as_problem
from docex.http.streams import MAX_UPLOAD
from tenantry.errors import TenancyError
from tenantry.http.edge import Edge
from tenantry.http.problems import as_problem as as_engine_problem
from tenantry.http.problems import describe
from tenantry.http.settings import HttpSettings

PREFIX = "/api/v1"
VARIABLE = "DOCEX_HTTP_SETTINGS"  # how a server process is told its settings
ABOUT = """
Documents of one tenant. Make a token with `docex token create` and send it as `Authorization: Bearer ...`. Contents are
sent and received as they are; downloads take `Range`. Errors are problem documents (RFC 9457).
"""


class DocexEdge(Edge):
    """The engine's edge, except that the body of an upload is read while it arrives."""

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        if not _is_upload(scope):
            return await super()._body(scope, receive)
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MAX_UPLOAD:
            raise edge.BodyTooLarge(MAX_UPLOAD)
        return receive


def docex_app(settings: HttpSettings | None = None) -> FastAPI:
    """The application. It connects to nothing before the first request."""
    app = FastAPI(
        title="DocEX",
        version=__version__,
        description=ABOUT.strip(),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.doors = Doors()
    app.include_router(basket_routes(), prefix=PREFIX)
    app.include_router(document_routes(), prefix=PREFIX)

    @app.get("/health", tags=["server"])
    def health() -> dict[str, str]:
        """Whether the server answers. Asks no database."""
        return {"status": "ok"}

    app.add_exception_handler(DocexError, as_problem)
    app.add_exception_handler(ValueError, as_problem)
    for kind in (TenancyError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, as_engine_problem)
    app.add_middleware(DocexEdge, settings=settings or HttpSettings(), observe=lambda scope, status, seconds: None)
    describe(app)
    return app


def from_environment() -> FastAPI:
    """The application of a server process. See ``docex serve``."""
    given = os.environ.get(VARIABLE)
    return docex_app(HttpSettings.loaded(given) if given else None)


def _is_upload(scope: Scope) -> bool:
    """Whether the body is a content."""
    path, method = str(scope["path"]), str(scope["method"])
    return (method == "PUT" and path.endswith("/content")) or (method == "POST" and path.endswith("/documents"))
