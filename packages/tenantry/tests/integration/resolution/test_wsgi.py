"""Requests of a WSGI application, led to their tenants: Flask, and a plain callable where the protocol matters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House
from werkzeug.test import Client

from tenantry import TenantStatus, scope
from tenantry.http.resolution import HeaderResolver, PathResolver, SubdomainResolver, TokenResolver
from tenantry.http.wsgi import TenantWsgiMiddleware


def verify(token: str) -> Mapping[str, Any]:
    if token == "bad":
        raise ValueError("bad")
    if token == "broken":
        raise OSError("the key server is away")
    return {"tenant_slug": token}


def application(house: House, **options: Any) -> flask.Flask:
    tenancy = house.tenancy
    app = flask.Flask(__name__)
    options.setdefault("resolvers", [HeaderResolver(), TokenResolver(verify), SubdomainResolver()])
    app.wsgi_app = TenantWsgiMiddleware(app.wsgi_app, tenancy, public=["/health"], **options)  # type: ignore[method-assign]

    @app.get("/owner")
    def read() -> Any:
        with tenancy.session() as session:
            return {"owner": session.scalar(owner), "tenant": flask.request.environ["tenantry.tenant"].slug}

    @app.post("/items")
    def add() -> Any:
        with tenancy.session() as session:
            session.execute(sa.insert(item).values(body="one"))
        return {}

    @app.get("/stream")
    def stream() -> Any:
        def parts() -> Iterator[str]:
            for _ in range(3):
                yield scope.current_tenant()

        return flask.Response(flask.stream_with_context(parts()))

    @app.get("/broken")
    def broken() -> Any:
        raise ZeroDivisionError

    @app.route("/<path:path>", methods=["GET", "OPTIONS"])
    def anything(path: str) -> Any:
        return {"open": scope.open_tenant(), "root": flask.request.script_root}

    return app


@pytest.fixture
def client(street: House) -> Any:
    return application(street).test_client()


@pytest.fixture
def caller(row: House) -> Any:
    return application(row).test_client()


def bearer(slug: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {slug}"}


def assert_refused(answer: Any, status: int, detail: str) -> None:
    assert (answer.status_code, answer.json["detail"]) == (status, detail)
    assert answer.content_type == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_request_sees_the_tenant_that_it_names(client: Any) -> None:
    for headers in ({"X-Org-Slug": "acme"}, bearer("acme"), {"Host": "acme.lims.example:8000"}):
        assert client.get("/owner", headers=headers).json == {"owner": "acme", "tenant": "acme"}
        assert scope.open_tenant() is None
    answer = client.get("/owner", headers={"X-Org-Slug": "beta"})
    assert answer.json["owner"] == "beta"
    assert answer.headers["Vary"] == "X-Org-Slug"


def test_request_that_cannot_be_led_is_refused(caller: Any) -> None:
    none = "Tenant context is required. Provide tenant_slug in JWT or 'X-Org-Slug' header."
    assert_refused(caller.get("/owner"), 403, none)
    assert_refused(caller.get("/owner", headers={"X-Forwarded-Host": "acme.lims.example"}), 403, none)
    for slug in ("gone", "nobody"):
        assert_refused(caller.get("/owner", headers={"X-Org-Slug": slug}), 403, f"Tenant '{slug}' not active")
    assert_refused(caller.get("/owner", headers=bearer("bad")), 401, "Invalid authentication token")
    assert_refused(caller.get("/owner", headers=bearer("broken")), 500, "Tenant context resolution failed")
    odd = caller.get("/owner", headers={"X-Org-Slug": "acme", **bearer("beta")})
    assert (odd.status_code, odd.json["type"]) == (403, "urn:tenantry:problem:tenant-ambiguous")
    assert caller.head("/owner").data == b""
    twice = caller.get("/owner", headers=[("X-Org-Slug", "acme"), ("X-Org-Slug", "acme")])
    assert_refused(twice, 403, "Tenant 'acme, acme' not active")


def test_public_paths_and_options_have_no_tenant(caller: Any) -> None:
    assert caller.get("/health/live", headers={"X-Org-Slug": "acme"}).json["open"] is None
    assert caller.options("/patients", headers={"X-Org-Slug": "acme"}).status_code == 200


def test_answer_that_is_made_while_it_is_read_belongs_to_the_request(caller: Any) -> None:
    with caller.get("/stream", headers={"X-Org-Slug": "acme"}, buffered=False) as answer:
        parts = answer.iter_encoded()
        assert next(parts) == b"acme"
        assert scope.open_tenant() is None  # the thread is free for others in between
        assert list(parts) == [b"acme", b"acme"]


def test_error_of_the_application_leaves_no_tenant_behind(row: House) -> None:
    app = application(row)
    app.testing = True
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/broken", headers={"X-Org-Slug": "acme"})
    assert scope.open_tenant() is None


def test_request_context_can_be_looked_at_after_the_request(row: House) -> None:
    with application(row).test_client() as client:
        client.get("/owner", headers={"X-Org-Slug": "acme"})
        assert flask.request.environ["tenantry.tenant"].slug == "acme"


def test_tenant_in_the_path_becomes_part_of_the_root(row: House) -> None:
    client = application(row, resolvers=[PathResolver("/t")]).test_client()
    assert client.get("/t/acme/owner").json["owner"] == "acme"
    assert client.get("/t/acme/where").json == {"open": "acme", "root": "/t/acme"}
    assert client.get("/owner").status_code == 403


def test_session_writes_to_the_tenant_alone(own: House) -> None:
    application(own).test_client().post("/items", headers={"X-Org-Slug": "acme"})
    assert (own.bodies("acme"), own.bodies("beta")) == (["one"], [])


def test_tenant_suspended_while_the_request_comes_in_is_refused(own: House) -> None:
    def suspending(environ: Any, start_response: Any) -> Any:
        other = own.open()
        other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)
        own.tenancy.directory.changed("acme")
        with own.tenancy.session():
            pytest.fail("entered")

    answer = Client(TenantWsgiMiddleware(suspending, own.tenancy)).get("/", headers={"X-Org-Slug": "acme"})
    assert answer.status_code == 403
    assert json.loads(answer.data)["detail"] == "Tenant 'acme' not active"


def test_thousand_requests_in_threads_see_their_own_tenant_only(street: House) -> None:
    app = application(street)

    def one(number: int) -> None:
        slug = f"t{number * 7 % 10}"
        headers = ({"X-Org-Slug": slug}, bearer(slug), {"Host": f"{slug}.lims.example"})[number % 3]
        assert app.test_client().get("/owner", headers=headers).json == {"owner": slug, "tenant": slug}
        assert scope.open_tenant() is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(1_000)))


def test_thread_that_serves_begins_with_no_tenant(caller: Any) -> None:
    def work() -> None:
        begun = scope.begin("beta")  # what code before left there
        answers.append(caller.get("/health").json["open"])
        answers.append(caller.get("/owner", headers={"X-Org-Slug": "acme"}).json["owner"])
        answers.append(scope.open_tenant())
        scope.end(begun)

    answers: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [None, "acme", "beta"]
