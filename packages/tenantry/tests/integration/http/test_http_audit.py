"""Every call that changes something is in the audit trail: who, from where, what, and how it ended."""

from __future__ import annotations

import json
from uuid import uuid4

import httpx
import pytest

from tenantry.http.platform import STRANGERS_NOTED

from .conftest import PASSWORD, PREFIX, Client, World, at, hurried
from .test_http_tenants import problem

Line = tuple[str, str, str, str | None, str]


def lines(world: World, after: int) -> list[Line]:
    """Who, from where, what, on which tenant, and how it ended."""
    return world.rows(
        "SELECT actor, origin, action, slug, outcome FROM platform.audit WHERE sequence > %s ORDER BY sequence", after
    )


def last(world: World) -> int:
    return int(world.rows("SELECT coalesce(max(sequence), 0) FROM platform.audit")[0][0])


async def test_what_is_done_is_written_down_once(api: Client, world: World, slug: str) -> None:
    before = last(world)
    await api.post("/tenants", json={"name": "Acme", "slug": slug})
    await api.post(f"/tenants/{slug}/migrate")
    await api.post(f"/tenants/{slug}/activate")
    administrator = "administrator@example.org"
    assert lines(world, before) == [
        (administrator, "10.1.2.3", f"tenant.{what}", slug, "done") for what in ("provision", "migrate", "activate")
    ]


async def test_what_is_refused_is_written_down_once(world: World, slug: str) -> None:
    before = last(world)
    async with at(world, "administrator") as api, at(world, "billing") as billing:
        await api.post(f"/tenants/{slug}/migrate")
        await api.post("/tenants", json={"name": "A", "slug": "Not Allowed"})
        await api.delete("/tenants/failed", params={"slug": slug})
        await billing.post(f"/tenants/{slug}/activate")
        await billing.post("/users", json={"email": "x@example.org", "username": "x", "roles": []})
        await api.post("/users", json={"email": "billing@example.org", "username": "other", "roles": []})
        await api.post("/users", json={"email": "nonsense", "username": "other", "roles": []})
        await api.post(f"/users/{uuid4().hex}/disable")
    found = lines(world, before)
    assert [(who, what, which, ended) for who, _, what, which, ended in found] == [
        ("administrator@example.org", "tenant.migrate", slug, "refused"),
        ("administrator@example.org", "tenant.provision", "Not Allowed", "refused"),
        ("administrator@example.org", "tenant.cleanup", slug, "refused"),
        ("billing@example.org", "tenant.activate", slug, "refused"),
        ("billing@example.org", "user.add", None, "refused"),
        ("administrator@example.org", "user.add", None, "refused"),
        ("administrator@example.org", "user.add", None, "refused"),
        ("administrator@example.org", "user.disable", None, "refused"),
    ]
    assert world.tenancy.registry.verify_audit() == []


async def test_a_refusal_is_found_by_the_identifier_of_its_request(api: Client, world: World, slug: str) -> None:
    answer = await api.post(f"/tenants/{slug}/migrate", headers={"X-Request-ID": f"mine-{slug}"})
    assert answer.headers["x-request-id"] == f"mine-{slug}"
    found = (await api.get("/audit", params={"slug": slug})).json()
    assert [line["details"]["request"] for line in found] == [f"mine-{slug}"]
    assert found[0]["details"]["error"] == "TenantNotFound"


@pytest.mark.parametrize("forged", ["a b", "x" * 65, "ä", "<script>", "a\tb"])
async def test_an_identifier_that_could_harm_a_log_is_replaced(api: Client, forged: str) -> None:
    answer = await api.get("/health/live", headers=httpx.Headers([(b"X-Request-ID", forged.encode())]))
    assert answer.headers["x-request-id"] != forged
    assert len(answer.headers["x-request-id"]) == 32


async def test_a_client_behind_a_trusted_proxy_is_named_and_one_behind_another_is_not(world: World, slug: str) -> None:
    trusting, doubting = world.app(hurried(trusted_proxies=("10.0.0.0/8",))), world.app()
    for app, origin in ((trusting, "203.0.113.9"), (doubting, "10.1.2.3")):
        before = last(world)
        async with at(world, "administrator", app) as api:
            # The client itself wrote the first; the proxy added the second.
            await api.post(f"/tenants/{slug}/migrate", headers={"X-Forwarded-For": "127.0.0.1, 203.0.113.9"})
        assert [line[1] for line in lines(world, before)] == [origin]


async def test_strangers_are_written_down_without_filling_the_trail(world: World, slug: str) -> None:
    before = last(world)
    app = world.app()
    async with at(world, None, app) as stranger:
        for _ in range(STRANGERS_NOTED + 20):
            assert (await stranger.post(f"/tenants/{slug}/migrate")).status_code == 401
    found = lines(world, before)
    assert len(found) == STRANGERS_NOTED
    assert set(found) == {("anonymous", "10.1.2.3", "tenant.migrate", slug, "refused")}


async def test_logins_are_written_down_wrong_ones_too(world: World) -> None:
    before = last(world)
    async with at(world, None) as stranger:
        wrong = await stranger.post("/auth/login", json={"identifier": "support", "password": "wrong"})
        assert problem(wrong, 401) == "Invalid platform credentials"
        right = await stranger.post("/auth/login", json={"identifier": "support", "password": PASSWORD})
    body = right.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert set(body["user"]) == {"uid", "email", "username", "first_name", "last_name", "is_active", "roles"}
    found = lines(world, before)
    assert [(origin, what, ended) for _, origin, what, _, ended in found] == [
        ("10.1.2.3", "auth.login", "refused"),
        ("10.1.2.3", "auth.login", "done"),
    ]


async def test_pages_of_the_trail_hold_every_line_once(api: Client, world: World, slug: str) -> None:
    for _ in range(7):
        await api.post(f"/tenants/{slug}/migrate")
    seen: list[int] = []
    url: str | None = f"{PREFIX}/audit?slug={slug}&limit=3&outcome=refused"
    while url is not None:
        page = await api.get(f"http://testserver{url}")
        seen += [line["sequence"] for line in page.json()]
        url = page.headers["link"][1:].split(">")[0] if "link" in page.headers else None
    wanted = world.rows("SELECT sequence FROM platform.audit WHERE slug = %s ORDER BY sequence DESC", slug)
    assert seen == [row[0] for row in wanted]
    assert len(seen) == 7


async def test_the_export_streams_the_trail_as_json_lines(api: Client, world: World, slug: str) -> None:
    for _ in range(3):
        await api.post(f"/tenants/{slug}/migrate")
    async with api.stream("GET", "/audit/export") as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        told = [json.loads(line) async for line in answer.aiter_lines()]
    assert [line["sequence"] for line in told] == list(range(1, len(told) + 1))
    assert told[-1]["slug"] == slug
    assert told[-1]["previous"] == told[-2]["hash"]
    after = told[-2]["sequence"]
    assert len((await api.get("/audit/export", params={"after": after, "slug": slug})).text.splitlines()) == 1


async def test_only_an_administrator_reads_the_trail(world: World) -> None:
    for role in ("billing", "support", "provisioner"):
        async with at(world, role) as api:
            problem(await api.get("/audit"), 403)
            problem(await api.get("/audit/export"), 403)
