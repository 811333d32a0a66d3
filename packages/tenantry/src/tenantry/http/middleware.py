"""Every request of an ASGI application inside its tenant, HTTP and WebSocket.

A request begins with no tenant, whatever the server's task carried over from the one before. One that needs a tenant
and has none that is served does not reach the application. Pure ASGI: no framework is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from tenantry import scope as scopes
from tenantry.errors import TenantError, TenantNotActive, TenantNotFound, TenantOutOfWindow
from tenantry.http.resolution import Call, RequestRefused, Resolution, Resolver, failed, not_served

if TYPE_CHECKING:
    from tenantry.directory import Directory
    from tenantry.tenancy import Tenancy
    from tenantry.tenant import Tenant

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Settle = Callable[[], Awaitable[None]]

# Where the application finds them in a request's scope.
TENANCY = "tenantry.tenancy"
TENANT = "tenantry.tenant"  # the Tenant
CLAIMS = "tenantry.claims"  # of the verified token, or None
SETTLING = "tenantry.settling"  # what is awaited before the answer begins

NOT_SERVED = (TenantNotActive, TenantNotFound, TenantOutOfWindow)
POLICY_VIOLATION = 1008  # the code of a WebSocket that is closed for what it asked


class AsgiCall(Call):
    """A request as ASGI hands it over."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.websocket = scope["type"] == "websocket"

    @property
    def path(self) -> str:
        """As the base's."""
        return _path(self._scope)

    @property
    def query(self) -> str:
        """As the base's."""
        return bytes(self._scope.get("query_string") or b"").decode("latin-1")

    @property
    def peer(self) -> str | None:
        """As the base's."""
        client = self._scope.get("client")
        return client[0] if client else None

    def values(self, name: str) -> list[str]:
        """As the base's."""
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self._scope["headers"] if key == wanted]


class TenantMiddleware:
    """Leads every request to its tenant: the current one for everything that runs inside.

    ``resolvers``: where it may be named, in this order; the ``X-Org-Slug`` header and the host's sub-domain if none are
    given. ``required``: the paths that need a tenant, by prefix. ``public``: those below that need none after all;
    OPTIONS never does. Where none is needed none is looked for, and none is current.

    The tenant is in the request's scope under ``tenantry.tenant``, the token's claims under ``tenantry.claims``.
    """

    def __init__(
        self,
        app: App,
        tenancy: Tenancy,
        *,
        resolvers: Sequence[Resolver] | None = None,
        required: Sequence[str] = ("/",),
        public: Sequence[str] = (),
    ) -> None:
        self.app = app
        self.tenancy = tenancy
        self._resolution = Resolution(resolvers, required, public)
        self._directory: Directory | None = None  # asked for at the first request: building it may start a server
        self._vary = (b"vary", self._resolution.vary.encode()) if self._resolution.vary else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        kind = scope["type"]
        if kind == "http":
            tenant = self._at_hand(scope)
            if tenant is not None:  # most requests: no coroutine more than it takes
                answer = self._enter(tenant, None, scope, send)
                begun = scopes.begin(tenant.slug)
                try:
                    await self.app(scope, receive, answer)
                except NOT_SERVED as error:
                    await answer.refuse(error, tenant, None, scope)
                finally:
                    scopes.end(begun)
                return
        elif kind != "websocket":
            await self.app(scope, receive, send)
            return
        begun = scopes.begin(None)
        try:
            if not self._needed(scope):
                await self.app(scope, receive, send)
                return
            call = AsgiCall(scope)
            try:
                tenant = await self._found(call)
            except RequestRefused as refused:
                await _refuse(refused, scope, send)
                return
            scopes.begin(tenant.slug)
            answer = self._enter(tenant, call.claims, scope, send)
            if self._resolution.by_path:
                mounted = self._resolution.mounted(call)
                if mounted is not None:
                    scope = {**scope, "root_path": str(scope.get("root_path") or "") + mounted}
            try:
                await self.app(scope, receive, answer)
            except NOT_SERVED as error:
                await answer.refuse(error, tenant, call.claims, scope)
        finally:
            scopes.end(begun)

    def _needed(self, scope: Scope) -> bool:
        return self._resolution.concerns(_path(scope)) and scope.get("method") != "OPTIONS"

    def _enter(self, tenant: Tenant, claims: Mapping[str, Any] | None, scope: Scope, send: Send) -> _Answer:
        answer = _Answer(send, self._vary)
        # In place: what stands further out, such as a tracer, reads there what the application's router writes.
        scope[TENANCY], scope[TENANT], scope[CLAIMS] = self.tenancy, tenant, claims
        scope[SETTLING] = answer.settling
        return answer

    def _at_hand(self, scope: Scope) -> Tenant | None:
        """The tenant, when one is needed and memory alone can tell. Whatever is not plain is left to ``_found``."""
        directory = self._directory
        if directory is None or not directory.watching or not self._needed(scope):
            return None
        slug = self._resolution.at_hand(scope["headers"])
        if slug is None:
            return None
        try:
            return directory.at_hand(slug)
        except TenantError:
            return None

    async def _found(self, call: AsgiCall) -> Tenant:
        try:
            directory = self._directory
            if directory is None or not directory.watching:  # the first request, also of a process forked off
                directory = self._directory = await asyncio.to_thread(self._watch)
            slug = self._resolution.slug(call)
            try:
                return await directory.async_tenant(slug)
            except TenantError as error:
                raise not_served(slug, error, call.claims) from error
        except RequestRefused:
            raise
        except Exception as error:  # whatever it is, the request must not go on without its tenant
            raise failed(error) from error

    def _watch(self) -> Directory:
        self.tenancy.watch()
        return self.tenancy.directory


class _Answer:
    """The way out: what is to be settled is settled before the answer begins, so that it tells the truth."""

    __slots__ = ("_send", "_vary", "settling", "started")

    def __init__(self, send: Send, vary: tuple[bytes, bytes] | None) -> None:
        self._send = send
        self._vary = vary
        self.settling: list[Settle] = []
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        if self.started:
            return self._send(message)
        if self.settling and message["type"] == "http.response.start":
            return self._settled(message)
        return self._begun(message)

    async def _settled(self, message: Message) -> None:
        for settle in self.settling:
            await settle()
        await self._begun(message)

    def _begun(self, message: Message) -> Awaitable[None]:
        if self._vary is not None and message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), self._vary]
        self.started = True
        return self._send(message)

    async def refuse(self, error: TenantError, tenant: Tenant, claims: Mapping[str, Any] | None, scope: Scope) -> None:
        """Answer that the tenant was suspended, or migrated, while the request was on its way in. What happened to
        another tenant, or after the answer began, is raised.
        """
        if self.started or error.slug != tenant.slug:
            raise error
        await _refuse(not_served(tenant.slug, error, claims), scope, self._send)


def _path(scope: Scope) -> str:
    """The path below the application's own root."""
    path: str = scope["path"]
    root = scope.get("root_path")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


async def _refuse(refused: RequestRefused, scope: Scope, send: Send) -> None:
    given = AsgiCall(scope).values("x-request-id")
    body, told = refused.answer(given[0] if len(given) == 1 else None)
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            # Closed before it was accepted, which the server answers with 403.
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
            return
        kind = "websocket.http"
    headers = [(name.encode(), value.encode()) for name, value in told]
    await send({"type": f"{kind}.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": b"" if scope.get("method") == "HEAD" else body})
