"""Every request of a WSGI application inside its tenant: Flask, Django, or a plain callable.

The same rules and answers as for ASGI (``http.middleware``). The tenant is current while the application is called and
while its answer is read, and at no other time in that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tenantry import scope as scopes
from tenantry.errors import TenantError, TenantNotActive, TenantNotFound, TenantOutOfWindow
from tenantry.http.resolution import Call, RequestRefused, Resolution, Resolver, failed, not_served

if TYPE_CHECKING:
    from tenantry.tenancy import Tenancy
    from tenantry.tenant import Tenant

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

TENANT = "tenantry.tenant"  # the Tenant, in the request's environ
CLAIMS = "tenantry.claims"  # of the verified token, or None


class WsgiCall(Call):
    """A request as WSGI hands it over."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    @property
    def path(self) -> str:
        """As the base's."""
        return str(self._environ.get("PATH_INFO") or "/").encode("latin-1").decode("utf-8", "replace")

    @property
    def query(self) -> str:
        """As the base's."""
        return str(self._environ.get("QUERY_STRING") or "")

    @property
    def peer(self) -> str | None:
        """As the base's."""
        return self._environ.get("REMOTE_ADDR")

    def values(self, name: str) -> list[str]:
        """As the base's; a header that was sent twice is one value here, and no slug."""
        value = self._environ.get("HTTP_" + name.upper().replace("-", "_"))
        return [] if value is None else [value]


class TenantWsgiMiddleware:
    """Leads every request to its tenant: see :class:`tenantry.http.middleware.TenantMiddleware`.

    The tenant is in the request's environ under ``tenantry.tenant``, the token's claims under ``tenantry.claims``.
    """

    def __init__(
        self,
        app: WsgiApp,
        tenancy: Tenancy,
        *,
        resolvers: Sequence[Resolver] | None = None,
        required: Sequence[str] = ("/",),
        public: Sequence[str] = (),
    ) -> None:
        self.app = app
        self.tenancy = tenancy
        self._resolution = Resolution(resolvers, required, public)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        call = WsgiCall(environ)
        if environ.get("REQUEST_METHOD") == "OPTIONS" or not self._resolution.concerns(call.path):
            return _Inside(None, self.app, environ, start_response)
        try:
            tenant = self._tenant(call)
        except RequestRefused as refused:
            return _refuse(refused, call, environ, start_response)
        environ[TENANT], environ[CLAIMS] = tenant, call.claims
        mounted = self._resolution.mounted(call)
        if mounted is not None:
            taken = mounted.encode().decode("latin-1")
            environ["SCRIPT_NAME"] = str(environ.get("SCRIPT_NAME") or "") + taken
            environ["PATH_INFO"] = str(environ["PATH_INFO"])[len(taken) :]
        try:
            return _Inside(tenant.slug, self.app, environ, self._varying(start_response))
        except (TenantNotActive, TenantNotFound, TenantOutOfWindow) as error:
            # It was suspended, or migrated, while the request was on its way in.
            if error.slug != tenant.slug:
                raise
            return _refuse(not_served(tenant.slug, error, call.claims), call, environ, start_response)

    def _tenant(self, call: WsgiCall) -> Tenant:
        self.tenancy.watch()
        try:
            slug = self._resolution.slug(call)
            try:
                return self.tenancy.directory.tenant(slug)
            except TenantError as error:
                raise not_served(slug, error, call.claims) from error
        except RequestRefused:
            raise
        except Exception as error:  # whatever it is, the request must not go on without its tenant
            raise failed(error) from error

    def _varying(self, start_response: StartResponse) -> StartResponse:
        vary = self._resolution.vary
        if not vary:
            return start_response

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, ("Vary", vary)], *error)

        return start


class _Inside:
    """An answer that is made and read with this tenant as the current one, or none: an application may begin its work
    only when the answer is read.
    """

    def __init__(self, slug: str | None, app: WsgiApp, environ: Environ, start_response: StartResponse) -> None:
        self._slug = slug
        begun = scopes.begin(slug)
        try:
            self._answer = app(environ, start_response)
        finally:
            scopes.end(begun)

    def __iter__(self) -> Iterator[bytes]:
        begun = scopes.begin(self._slug)
        try:
            parts = iter(self._answer)
        finally:
            scopes.end(begun)
        while True:
            begun = scopes.begin(self._slug)
            try:
                part = next(parts)
            except StopIteration:
                return
            finally:
                scopes.end(begun)  # not held across the yield: the thread may serve others in between
            yield part

    def close(self) -> None:
        """As WSGI asks for."""
        close = getattr(self._answer, "close", None)
        if close is not None:
            begun = scopes.begin(self._slug)
            try:
                close()
            finally:
                scopes.end(begun)


def _refuse(
    refused: RequestRefused, call: WsgiCall, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    given = call.values("x-request-id")
    body, headers = refused.answer(given[0] if given else None)
    start_response(f"{refused.status} {HTTPStatus(refused.status).phrase}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
