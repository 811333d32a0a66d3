"""Requests of an ASGI application, led to their tenants: FastAPI in place, and uvicorn where a real server matters."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import fastapi
import httpx
import jwt
import pytest
import sqlalchemy as sa
import uvicorn
import websockets
from canaries import item, owner
from fastapi.responses import StreamingResponse
from house import House
from neighbours import within
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from tenantry import Tenancy, TenantStatus, scope
from tenantry.errors import NoTenant, StoreUnavailable
from tenantry.http.dependencies import async_tenant_session, current_tenant, tenant_session
from tenantry.http.middleware import TenantMiddleware
from tenantry.http.resolution import HeaderResolver, PathResolver, SubdomainResolver, TokenResolver
from tenantry.tenant import Tenant

KEY = "the application's own key, long enough for HS256"
NONE_FOUND = "Tenant context is required. Provide tenant_slug in JWT or 'X-Org-Slug' header."


def verify(token: str) -> Mapping[str, Any]:
    claims: Mapping[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    return claims


def token(slug: str | None, key: str = KEY, **claims: Any) -> str:
    named = {} if slug is None else {"tenant_slug": slug}
    return jwt.encode({"sub": "7", "exp": 4_000_000_000, **named, **claims}, key, algorithm="HS256")


def bearer(slug: str | None, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(slug, **claims)}"}


def application(tenancy: Tenancy, **options: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    options.setdefault(
        "resolvers",
        [HeaderResolver(), TokenResolver(verify, refused=jwt.InvalidTokenError, query="token"), SubdomainResolver()],
    )
    options.setdefault("required", ["/api/v1"])
    options.setdefault("public", ["/api/v1/platform", "/api/v1/health"])
    app.add_middleware(TenantMiddleware, tenancy=tenancy, **options)

    @app.get("/api/v1/owner")
    def read(session: Annotated[Session, fastapi.Depends(tenant_session)]) -> dict[str, Any]:
        return {"owner": session.scalar(owner), "current": scope.current_tenant()}

    @app.get("/api/v1/async/owner")
    async def read_async(session: Annotated[AsyncSession, fastapi.Depends(async_tenant_session)]) -> dict[str, Any]:
        before = scope.current_tenant()
        await asyncio.sleep(0)
        return {"owner": await session.scalar(owner), "current": before}

    @app.post("/api/v1/items")
    def add(session: Annotated[Session, fastapi.Depends(tenant_session)], body: str, fail: bool = False) -> None:
        session.execute(sa.insert(item).values(body=body))
        if fail:
            raise fastapi.HTTPException(418)

    @app.post("/api/v1/async/items")
    async def add_async(
        session: Annotated[AsyncSession, fastapi.Depends(async_tenant_session)], body: str, fail: bool = False
    ) -> None:
        await session.execute(sa.insert(item).values(body=body))
        if fail:
            raise fastapi.HTTPException(418)

    @app.get("/api/v1/me")
    async def me(request: fastapi.Request, tenant: Annotated[Tenant, fastapi.Depends(current_tenant)]) -> Any:
        return {"tenant": tenant.slug, "claims": request.scope["tenantry.claims"]}

    @app.get("/api/v1/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield scope.current_tenant()
            await asyncio.sleep(0)
            yield scope.current_tenant()

        return StreamingResponse(parts(), background=BackgroundTask(lambda: seen.append(scope.open_tenant())))

    @app.api_route("/{path:path}", methods=["GET", "OPTIONS", "POST"])
    async def anything(path: str) -> dict[str, Any]:
        return {"open": scope.open_tenant()}

    @app.websocket("/api/v1/ws")
    async def talk(
        websocket: fastapi.WebSocket, session: Annotated[AsyncSession, fastapi.Depends(async_tenant_session)]
    ) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_text(f"{await session.scalar(owner)} {scope.current_tenant()}")

    return app


seen: list[str | None] = []


@asynccontextmanager
async def calling(app: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, **options)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def client(street: House) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(application(street.tenancy)) as client:
        yield client
    await street.aclose()


@pytest.fixture
async def caller(row: House) -> AsyncIterator[httpx.AsyncClient]:
    """On SQLite alone, where no database has a part in what is tested."""
    async with calling(application(row.tenancy)) as client:
        yield client
    await row.aclose()


def assert_problem(response: httpx.Response, status: int, detail: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["detail"] == detail
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


# -- led to the tenant


@pytest.mark.parametrize("route", ["/api/v1/owner", "/api/v1/async/owner"])
async def test_request_sees_the_tenant_that_it_names(client: httpx.AsyncClient, route: str) -> None:
    ways: list[dict[str, str]] = [{"X-Org-Slug": "acme"}, bearer("acme"), {"Host": "acme.lims.example"}]
    ways += [{**ways[0], **ways[1]}, {**ways[0], **ways[1], **ways[2]}]
    for headers in ways:
        answer = await client.get(route, headers=headers)
        assert answer.json() == {"owner": "acme", "current": "acme"}, headers
    answer = await client.get(route, headers={"X-Org-Slug": "beta"})
    assert answer.json() == {"owner": "beta", "current": "beta"}
    assert scope.open_tenant() is None


async def test_application_finds_the_tenant_and_the_claims(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/api/v1/me", headers=bearer("acme"))
    assert answer.json()["tenant"] == "acme"
    assert answer.json()["claims"]["sub"] == "7"


async def test_streams_and_background_tasks_belong_to_the_request(caller: httpx.AsyncClient) -> None:
    seen.clear()
    answer = await caller.get("/api/v1/stream", headers={"X-Org-Slug": "acme"})
    assert answer.text == "acmeacme"
    assert seen == ["acme"]


async def test_answer_that_a_header_chose_is_kept_for_nobody_else(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/api/v1/me", headers={"X-Org-Slug": "acme"})
    assert answer.headers["vary"] == "X-Org-Slug"


async def test_tenant_in_the_path_becomes_part_of_the_root(row: House) -> None:
    app = fastapi.FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=row.tenancy, resolvers=[PathResolver("/t"), HeaderResolver()])

    @app.get("/notes")
    async def notes(request: fastapi.Request) -> list[Any]:
        return [scope.current_tenant(), str(request.url.path), request.scope["root_path"]]

    async with calling(app) as client:
        assert (await client.get("/t/acme/notes")).json() == ["acme", "/t/acme/notes", "/t/acme"]
        assert (await client.get("/t/acme/notes", headers={"X-Org-Slug": "beta"})).status_code == 403
        assert (await client.get("/notes", headers={"X-Org-Slug": "beta"})).json()[0] == "beta"
        assert (await client.get("/notes")).status_code == 403
    async with calling(app, root_path="/app") as client:
        assert (await client.get("/app/t/acme/notes")).json() == ["acme", "/app/t/acme/notes", "/app/t/acme"]


# -- where none is needed


@pytest.mark.parametrize("path", ["/api/v1/platform", "/api/v1/platform/tenants", "/api/v1/health/live", "/", "/x"])
async def test_public_path_has_no_tenant_whatever_is_sent(caller: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"X-Org-Slug": "acme"}, {"Authorization": "Bearer nonsense"}, {"Host": "nobody.lims.example"}):
        answer = await caller.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"open": None})


async def test_options_passes_without_a_tenant(caller: httpx.AsyncClient) -> None:
    answer = await caller.options("/api/v1/patients")
    assert (answer.status_code, answer.json()) == (200, {"open": None})


async def test_session_where_none_was_looked_for_is_refused(row: House) -> None:
    async with calling(application(row.tenancy, public=["/api/v1"])) as client:
        client._transport.raise_app_exceptions = True  # type: ignore[attr-defined]
        with pytest.raises(NoTenant):
            await client.get("/api/v1/owner", headers={"X-Org-Slug": "acme"})


# -- refused


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"X-Org-Slug": ""}, {"Host": "localhost:8000"}, {"Host": "10.0.0.7"}, {"Host": "[::1]:8000"},
        {"Host": "lims.example"}, {"Host": "www.lims.example"}, {"X-Forwarded-Host": "acme.lims.example"},
        {"Forwarded": "host=acme.lims.example"}, {"X-Original-Host": "acme.lims.example"},
    ],
)  # fmt: skip
async def test_request_that_names_no_tenant_is_refused(caller: httpx.AsyncClient, headers: dict[str, str]) -> None:
    problem = assert_problem(await caller.get("/api/v1/owner", headers=headers), 403, NONE_FOUND)
    assert problem["type"] == "urn:tenantry:problem:tenant-required"


async def test_unknown_and_inactive_tenants_get_the_same_answer(client: httpx.AsyncClient) -> None:
    told = []
    for slug in ("gone", "nobd"):
        for headers in ({"X-Org-Slug": slug}, {"Host": f"{slug}.lims.example"}):
            answer = await client.get("/api/v1/owner", headers={**headers, "X-Request-ID": "r-1"})
            assert_problem(answer, 403, f"Tenant '{slug}' not active")
            told.append((answer.text.replace(slug, "x"), sorted(answer.headers.items())))
    assert all(answer == told[0] for answer in told)


async def test_token_of_a_suspended_tenant_is_told_that_it_is_suspended(caller: httpx.AsyncClient) -> None:
    problem = assert_problem(await caller.get("/api/v1/owner", headers=bearer("gone")), 403, "Tenant 'gone' not active")
    assert problem["tenant_status"] == "suspended"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Org-Slug": "acme", **bearer("beta")},
        {"X-Org-Slug": "acme", "Host": "beta.lims.example"},
        {"Host": "acme.lims.example", **bearer("beta")},
        {"X-Org-Slug": "acme", "Host": "beta.lims.example", **bearer("acme")},
        {"X-Org-Slug": "beta", "Host": "acme.lims.example", **bearer("acme")},
        {"X-Org-Slug": "nobody", **bearer("acme")},
    ],
)
async def test_sources_that_disagree_are_refused(caller: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await caller.get("/api/v1/owner", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:tenantry:problem:tenant-ambiguous"
    assert "owner" not in answer.text


async def test_header_does_not_choose_for_a_token_that_names_nobody(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/api/v1/owner", headers={"X-Org-Slug": "acme", **bearer(None)})
    assert_problem(answer, 403, "Tenant context is required. Provide tenant_slug in JWT.")


BAD_TOKENS = {
    "another key": token("acme", key="another key, which is as long as the real one is"),
    "alg=none": jwt.encode({"sub": "7", "exp": 4_000_000_000, "tenant_slug": "acme"}, None, algorithm="none"),
    "expired": token("acme", exp=1),
    "from the future": token("acme", nbf=3_900_000_000),
    "for the platform": token("acme", aud="platform"),
    "for another": token("acme", aud="other"),
    "no expiry": jwt.encode({"sub": "7", "tenant_slug": "acme"}, KEY, algorithm="HS256"),
    "cut": token("acme")[:-9],
    "empty": "",
    "nonsense": "a.b.c",
    "1 MB": "a" * 1_000_000,
    "tenant of another kind": token(None, tenant_slug=["acme"]),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
@pytest.mark.parametrize("beside", [{}, {"X-Org-Slug": "acme"}, {"Host": "acme.lims.example"}])
async def test_bad_token_is_refused_whatever_stands_beside_it(
    caller: httpx.AsyncClient, case: str, beside: dict[str, str]
) -> None:
    answer = await caller.get("/api/v1/owner", headers={"Authorization": f"Bearer {BAD_TOKENS[case]}", **beside})
    assert_problem(answer, 401, "Invalid authentication token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value",
    [b"acme\0", b"\0", b"ac\xc3\xa9me", b"\xff\xfe", b"../acme", b"org_acme", b"Acme", b"acme,beta", b"acme beta",
     b"acme'; DROP SCHEMA platform; --", b"%61cme", b"x" * 1_000_000, b"{slug}", b"pg_catalog", b"public"],
)  # fmt: skip
async def test_header_that_is_no_slug_is_an_unknown_tenant(caller: httpx.AsyncClient, value: bytes) -> None:
    status, _, body = await raw(caller, [(b"x-org-slug", value), (b"host", b"localhost")])
    assert status == 403
    assert json.loads(body)["type"] == "urn:tenantry:problem:tenant-not-active"
    assert len(body) < 1000
    assert body.isascii()


async def raw(client: httpx.AsyncClient, headers: list[tuple[bytes, bytes]], **more: Any) -> tuple[int, Any, bytes]:
    """Call the application past httpx, which would refuse to send such headers."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    call = {"type": "http", "method": "GET", "path": "/api/v1/owner", "query_string": b"", "headers": headers, **more}
    await client._transport.app(call, receive, send)  # type: ignore[attr-defined]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], sent[0]["headers"], body


async def test_header_of_one_megabyte_and_many_headers_are_looked_through(caller: httpx.AsyncClient) -> None:
    crowd = [(b"x-noise", b"a" * 1_000_000)] + [(b"x-%d" % number, b"b") for number in range(2_000)]
    status, _, body = await raw(caller, [*crowd, (b"x-org-slug", b"acme")])
    assert (status, json.loads(body)["owner"]) == (200, "acme")


async def test_head_is_refused_without_a_body(caller: httpx.AsyncClient) -> None:
    status, headers, body = await raw(caller, [], method="HEAD")
    assert (status, body) == (403, b"")
    assert int(dict(headers)[b"content-length"]) > 100


async def test_what_goes_wrong_while_resolving_is_closed(row: House, caplog: pytest.LogCaptureFixture) -> None:
    def broken(token: str) -> Mapping[str, Any]:
        raise OSError("the key server at 10.1.2.3 is away")

    app = application(row.tenancy, resolvers=[HeaderResolver(), TokenResolver(broken)])
    async with calling(app) as client:
        answer = await client.get("/api/v1/owner", headers={"X-Org-Slug": "acme", **bearer("acme")})
    assert_problem(answer, 500, "Tenant context resolution failed")
    assert "key server" in caplog.text
    assert scope.open_tenant() is None


async def test_database_that_is_away_refuses_and_comes_back(own_schemas: House, monkeypatch: Any) -> None:
    tenancy = own_schemas.tenancy
    read = tenancy.registry.get

    def away(slug: str) -> Tenant:
        raise StoreUnavailable("db", "connection refused")

    async with calling(application(tenancy)) as client:
        monkeypatch.setattr(tenancy.registry, "get", away)
        answer = await client.get("/api/v1/owner", headers={"X-Org-Slug": "acme"})
        assert_problem(answer, 500, "Tenant context resolution failed")
        monkeypatch.setattr(tenancy.registry, "get", read)
        answer = await client.get("/api/v1/owner", headers={"X-Org-Slug": "acme"})
        assert answer.json()["owner"] == "acme"


# -- what the session keeps


@pytest.mark.parametrize("route", ["/api/v1/items", "/api/v1/async/items"])
async def test_session_commits_before_the_answer_begins(own: House, route: str) -> None:
    app = application(own.tenancy)
    kept: list[list[str]] = []

    async def spying(scope: Any, receive: Any, send: Any) -> None:
        async def spy(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept.append(await asyncio.to_thread(own.bodies, "acme"))
            await send(message)

        await app(scope, receive, spy)

    async with calling(spying) as client:
        answer = await client.post(route, params={"body": "one"}, headers={"X-Org-Slug": "acme"})
        assert answer.status_code == 200
        assert kept == [["one"]]
        answer = await client.post(route, params={"body": "two", "fail": True}, headers={"X-Org-Slug": "acme"})
        assert answer.status_code == 418
    assert own.bodies("acme") == ["one"]
    assert own.bodies("beta") == []
    await own.aclose()


@pytest.mark.parametrize("route", ["/api/v1/items", "/api/v1/async/items"])
async def test_commit_that_fails_is_not_answered_as_a_success(own_schemas: House, route: str) -> None:
    with own_schemas.admin() as admin:
        admin.execute("ALTER TABLE org_acme.item ADD CONSTRAINT once UNIQUE (body) DEFERRABLE INITIALLY DEFERRED")
    async with calling(application(own_schemas.tenancy)) as client:
        for status in (200, 500, 500):
            answer = await client.post(route, params={"body": "same"}, headers={"X-Org-Slug": "acme"})
            assert answer.status_code == status
    assert own_schemas.bodies("acme") == ["same"]
    await own_schemas.aclose()


async def test_tenant_suspended_while_the_request_comes_in_is_refused(own: House) -> None:
    tenancy = own.tenancy

    async def suspending(scope: Any, receive: Any, send: Any) -> None:
        other = own.open()
        other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)
        tenancy.directory.changed("acme")
        with tenancy.session():
            pytest.fail("entered")

    async with calling(TenantMiddleware(suspending, tenancy)) as client:
        answer = await client.get("/", headers={"X-Org-Slug": "acme"})
    assert_problem(answer, 403, "Tenant 'acme' not active")


# -- crowds


async def test_thousand_interleaved_requests_see_their_own_tenant_only(client: httpx.AsyncClient) -> None:
    gate = asyncio.Semaphore(40)

    async def one(number: int) -> tuple[str, Any]:
        slug = f"t{number * 7 % 10}"
        headers = ({"X-Org-Slug": slug}, bearer(slug), {"Host": f"{slug}.lims.example"})[number % 3]
        async with gate:
            answer = await client.get(f"/api/v1/{'async/' if number % 2 else ''}owner", headers=headers)
        return slug, answer.json()

    for slug, answer in await asyncio.gather(*(one(number) for number in range(1_000))):
        assert answer == {"owner": slug, "current": slug}


async def test_request_called_from_inside_another_scope_is_its_own(caller: httpx.AsyncClient, row: House) -> None:
    with row.tenancy.scope("beta"):
        answer = await caller.get("/api/v1/owner", headers={"X-Org-Slug": "acme"})
        assert answer.json() == {"owner": "acme", "current": "acme"}
        assert (await caller.get("/x")).json() == {"open": None}
        assert scope.current_tenant() == "beta"


# -- a real server


@contextmanager
def serving(app: Any) -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="websockets-sansio"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            within(20, lambda: server.started)
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def port(street: House) -> Iterator[int]:
    with serving(application(street.tenancy)) as port:
        yield port
    asyncio.run(street.tenancy.store.aclose())


def connect(port: int, query: str = "", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return websockets.connect(f"ws://127.0.0.1:{port}/api/v1/ws{query}", additional_headers=named)


async def test_web_socket_belongs_to_the_tenant_that_it_names(port: int) -> None:
    ways = [connect(port, X_Org_Slug="acme"), connect(port, f"?token={token('acme')}"), connect(port, **bearer("acme"))]
    for way in ways:
        async with way as socket_:
            for _ in range(2):
                await socket_.send("who")
                assert await socket_.recv() == "acme acme"


async def test_web_socket_without_a_tenant_is_refused_with_the_reason(port: int) -> None:
    cases = [
        ({}, "", 403, NONE_FOUND),
        ({"X_Org_Slug": "gone"}, "", 403, "Tenant 'gone' not active"),
        ({"X_Org_Slug": "nobody"}, "", 403, "Tenant 'nobody' not active"),
        ({}, "?token=nonsense", 401, "Invalid authentication token"),
        ({"X_Org_Slug": "beta"}, f"?token={token('acme')}", 403, "Tenant context is ambiguous"),
    ]
    for headers, query, status, detail in cases:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(port, query, **headers)
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["detail"].startswith(detail)


async def test_web_socket_is_refused_by_servers_that_send_no_answer_too(row: House) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        pytest.fail("waited for the client")

    app = application(row.tenancy)
    await app({"type": "websocket", "path": "/api/v1/ws", "query_string": b"", "headers": []}, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


async def test_web_sockets_of_many_tenants_do_not_meet(port: int) -> None:
    async def one(number: int) -> None:
        slug = f"t{number % 10}"
        async with connect(port, X_Org_Slug=slug) as socket_:
            for _ in range(5):
                await socket_.send("who")
                assert await socket_.recv() == f"{slug} {slug}"

    await asyncio.gather(*(one(number) for number in range(15)))


def test_pipelined_request_begins_without_the_tenant_of_the_one_before(port: int) -> None:
    """uvicorn makes the task of a pipelined request inside that of the request before it, context and all."""
    requests = b"".join(
        b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (path, header)
        for path, header in [
            (b"/api/v1/owner", b"X-Org-Slug: acme\r\n"),
            (b"/x", b""),
            (b"/api/v1/async/owner", b"X-Org-Slug: beta\r\n"),
            (b"/api/v1/owner", b"Connection: close\r\n"),
        ]
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(requests)
        received = b""
        while chunk := plain.recv(65536):
            received += chunk
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]]
    told = [json.loads(body) for body in bodies]
    assert told[:3] == [{"owner": "acme", "current": "acme"}, {"open": None}, {"owner": "beta", "current": "beta"}]
    assert told[3]["detail"] == NONE_FOUND
