"""Tenants inside the window of revisions are served while a rollout runs; outside it they are refused for a while."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from tenantry.errors import DeclarationError, TenantOutOfWindow
from tenantry.http.middleware import TenantMiddleware
from tenantry.http.problems import status_of
from tenantry.migrations.window import Window


def test_tenant_is_served_only_inside_the_window(place, simple) -> None:
    old = place.tenancy(simple)
    old.provision("acme")
    simple.add("r4", 'op.add_column("note", sa.Column("extra", sa.Integer()))', "pass")
    waiting = place.tenancy(simple, supported="r4")
    both = place.tenancy(simple, supported="r3")
    former = place.tenancy(simple, supported=["r3"], remembered=0)
    with pytest.raises(TenantOutOfWindow) as raised, waiting.session("acme"):
        pass
    assert raised.value.args == ("acme", "r3", "r4 to head")
    assert status_of(raised.value) == 503
    with both.session("acme") as session, former.session("acme"):
        session.execute(sa.text("SELECT count(*) FROM note"))
    old.close()
    assert waiting.fleet.rollout().complete
    with waiting.session("acme") as session, both.session("acme"):
        session.execute(sa.text("SELECT extra FROM note"))
    with pytest.raises(TenantOutOfWindow), former.session("acme"):
        pass


async def test_middleware_answers_503_and_says_when_to_try_again(place, simple) -> None:
    tenancy = place.tenancy(simple, supported=["r4"])
    tenancy.provision("acme")
    reached: list[object] = []

    async def app(scope, receive, send) -> None:
        reached.append(scope)

    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    middleware = TenantMiddleware(app, tenancy=tenancy)
    headers = [(b"host", b"localhost"), (b"x-org-slug", b"acme")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""}
    try:
        await middleware(scope, None, send)
    finally:
        await tenancy.aclose()
    assert reached == []
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"5"
    assert json.loads(sent[1]["body"])["type"] == "urn:tenantry:problem:tenant-out-of-window"


def test_window_is_a_range_or_a_collection(simple) -> None:
    migrations = simple.migrations
    assert [Window(migrations, "r2").holds(each) for each in (None, "r1", "r2", "r3", "r9")] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert [Window(migrations, "r1:r2").holds(each) for each in (None, "r1", "r2", "r3")] == [False, True, True, False]
    assert [Window(migrations, "base:r1").holds(each) for each in (None, "r1", "r2")] == [True, True, False]
    assert [Window(migrations, {"head", "r9"}).holds(each) for each in ("r2", "r3", "r9")] == [False, True, True]
    with pytest.raises(DeclarationError, match="does not follow"):
        Window(migrations, "r3:r1").holds("r1")
