"""The doors to tenants do what the commands do, answer with the registry's row, and refuse with a problem document."""

from __future__ import annotations

import httpx
import pytest

from .conftest import Client, World, at

ROW = {"uid", "name", "slug", "schema_name", "status", "revision", "failed_step", "error", "created_at", "updated_at"}
FULL = ROW | {"admin_email", "provisioned_at", "attributes"}


def problem(answer: httpx.Response, status: int, kind: str | None = None) -> str:
    """The detail of the problem document that the answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    if kind is not None:
        assert body["type"] == f"urn:tenantry:problem:{kind}"
    return str(body["detail"])


async def test_a_tenant_is_provisioned_and_its_secret_told_once(api: Client, world: World, slug: str) -> None:
    made = await api.post("/tenants", json={"name": "Acme", "slug": slug, "admin_email": "a@example.org"})

    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/platform/tenants/{slug}"
    body = made.json()
    assert set(body) == FULL | {"receipts"}
    assert (body["schema_name"], body["status"]) == (f"org_{slug}", "active")
    assert body["receipts"] == {"One-time password": f"secret-{slug}"}
    shown = await api.get(f"/tenants/{slug}")
    assert set(shown.json()) == FULL | {"operations"}
    assert f"secret-{slug}" not in shown.text
    assert [step["name"] for step in shown.json()["operations"][0]["steps"]][:2] == ["reserve", "create"]
    assert shown.json()["operations"][0]["actor"] == "administrator@example.org"
    assert shown.json()["operations"][0]["origin"] == "10.1.2.3"
    assert world.rows("SELECT count(*) FROM pg_namespace WHERE nspname = %s", f"org_{slug}") == [(1,)]


async def test_a_taken_slug_is_a_conflict_and_changes_nothing(api: Client, world: World, slug: str) -> None:
    await api.post("/tenants", json={"name": "Acme", "slug": slug})
    before = world.rows("SELECT * FROM platform.tenant WHERE slug = %s", slug)

    refused = await api.post("/tenants", json={"name": "Other", "slug": slug})

    assert "already exists" in problem(refused, 409, "tenant-exists")
    assert world.rows("SELECT * FROM platform.tenant WHERE slug = %s", slug) == before


@pytest.mark.parametrize("bad", ["Acme Corp", "pg_x", "../x", "platform", "a" * 64, "x;drop", "ä"])
async def test_a_slug_that_is_not_allowed_is_a_bad_request(api: Client, world: World, bad: str) -> None:
    problem(await api.post("/tenants", json={"name": "Acme", "slug": bad}), 400, "name-rejected")
    assert world.rows("SELECT count(*) FROM platform.tenant WHERE slug = %s", bad) == [(0,)]


async def test_a_name_with_a_nul_is_a_bad_request(api: Client, slug: str) -> None:
    problem(await api.post("/tenants", json={"name": "a\0b", "slug": slug}), 400)
    problem(await api.get(f"/tenants/{slug}"), 404)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "body.name"),
        ({"name": "Acme"}, "body.slug"),
        ({"name": 1, "slug": "x"}, "body.name"),
        ({"name": "A", "slug": "x", "enabled": []}, "body.enabled"),
        ([], "body"),
    ],
)
async def test_a_body_of_another_form_is_told_where_it_is_wrong(api: Client, body: object, told: str) -> None:
    assert told in problem(await api.post("/tenants", json=body), 422, "request-invalid")


async def test_a_body_that_is_no_json_is_told_so(api: Client) -> None:
    for content in (b"{", b"\xff", b"[" * 100_000):
        answer = await api.post("/tenants", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        problem(answer, answer.status_code)


async def test_a_secret_that_was_sent_is_never_repeated(api: Client) -> None:
    answer = await api.post("/auth/login", json={"identifier": "x", "password": "hunter2-hunter2" * 100})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


async def test_a_failure_hides_its_reason_and_keeps_it_on_the_record(api: Client, world: World, slug: str) -> None:
    failed = await api.post("/tenants", json={"name": "Acme!", "slug": slug})

    assert "sour" not in problem(failed, 500, "step-failed")
    shown = (await api.get(f"/tenants/{slug}")).json()
    assert (shown["status"], shown["failed_step"]) == ("failed", "seed")
    assert "sour" in shown["error"]
    assert world.rows("SELECT count(*) FROM pg_namespace WHERE nspname = %s", f"org_{slug}") == [(0,)]
    recorded = world.rows("SELECT action, outcome FROM platform.audit WHERE slug = %s", slug)
    assert recorded == [("tenant.provision", "failed")]


async def test_a_failed_tenant_is_resumed_or_cleaned_up(api: Client, world: World, slug: str) -> None:
    await api.post("/tenants", json={"name": "Acme!", "slug": slug})
    world.rows("UPDATE platform.tenant SET name = 'Acme' WHERE slug = %s", slug)
    migrated = await api.post(f"/tenants/{slug}/migrate")
    assert (migrated.status_code, migrated.json()["status"]) == (200, "active")

    other = f"{slug}x"
    await api.post("/tenants", json={"name": "Other!", "slug": other})
    problem(await api.delete("/tenants/failed", params={"slug": slug}), 409, "tenant-not-failed")
    removed = await api.delete("/tenants/failed", params={"slug": other, "drop_schema": True})
    assert [row["slug"] for row in removed.json()] == [other]
    problem(await api.get(f"/tenants/{other}"), 404)
    assert (await api.get(f"/tenants/{slug}")).json()["status"] == "active"


async def test_activation_checks_unless_forced_and_says_what_it_skipped(api: Client, world: World, slug: str) -> None:
    await api.post("/tenants", json={"name": "Acme", "slug": slug})
    world.rows(f'DROP TABLE "org_{slug}".note')

    refused = await api.post(f"/tenants/{slug}/activate")
    assert f"Tenant migration completed but org_{slug}.note was not created" in problem(refused, 409, "not-ready")

    forced = await api.post(f"/tenants/{slug}/activate", params={"force": True})
    assert forced.status_code == 200
    assert f"table org_{slug}.note exists" in forced.json()["skipped"]
    assert (await api.post(f"/tenants/{slug}/activate", params={"force": False})).status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tenants/{}"),
        ("POST", "/tenants/{}/migrate"),
        ("POST", "/tenants/{}/activate"),
        ("DELETE", "/tenants/failed?slug={}"),
    ],
)
@pytest.mark.parametrize("name", ["none", "no%00ne", "%C3%A4", "x" * 900, "..%2f..%2fetc"])
async def test_an_unknown_tenant_is_not_found(api: Client, method: str, path: str, name: str) -> None:
    answer = await api.request(method, path.format(name))
    assert answer.status_code in (404, 405)
    problem(answer, answer.status_code)


async def test_pages_follow_each_other_without_a_gap_while_tenants_come_and_go(api: Client, world: World) -> None:
    world.rows(
        "INSERT INTO platform.tenant (uid, slug, slug_key, name, location, status, attributes, created_at, updated_at)"
        " SELECT md5(i::text), s, s, 'Paged ' || i, 'paged_' || i, 'suspended', '{}', now(), now()"
        " FROM (SELECT i, 'paged' || lpad(i::text, 3, '0') AS s FROM generate_series(1, 25) i) AS made"
    )
    for order, wanted in (("slug", [f"paged{n:03}" for n in range(1, 26)]), ("-slug", None), ("created", None)):
        seen: list[str] = []
        url: str | None = f"/api/v1/platform/tenants?status=suspended&limit=10&order={order}"
        while url is not None:
            page = await api.get(f"http://testserver{url}")
            assert page.status_code == 200, page.text
            assert all(set(row) == ROW for row in page.json())
            seen += [row["slug"] for row in page.json()]
            url = page.headers["link"][1:].split(">")[0] if "link" in page.headers else None
            world.rows(
                "DELETE FROM platform.tenant WHERE slug = 'paged010' AND %s", order == "slug" and len(seen) == 10
            )
        assert len(seen) == len(set(seen))
        if wanted:
            assert seen == wanted
        assert len(seen) >= 24
    assert (await api.get("/tenants", params={"status": "suspended", "search": "PAGED00"})).json()[0][
        "slug"
    ] == "paged001"
    assert (await api.get("/tenants", params={"status": "suspended", "search": "paged%"})).json() == []
    assert len((await api.get("/tenants", params={"status": "all", "limit": 1000})).json()) >= 24
    assert (await api.get("/tenants", params={"status": "archived"})).json() == []


@pytest.mark.parametrize("cursor", ["x", "!!", "e30", "WzEsMl0", "W10", "bnVsbA", "A" * 1000, "WyJhIiwiYlx1MDAwMCJd"])
async def test_a_forged_cursor_is_a_bad_request(api: Client, cursor: str) -> None:
    problem(await api.get("/tenants", params={"cursor": cursor}), 400, "cursor-rejected")
    problem(await api.get("/audit", params={"cursor": cursor}), 400, "cursor-rejected")


async def test_the_cursor_of_another_list_is_a_bad_request(api: Client, slug: str) -> None:
    for n in range(2):
        await api.post("/tenants", json={"name": "Acme", "slug": f"{slug}{n}"})
    cursor = (await api.get("/tenants", params={"limit": 1, "order": "slug"})).headers["x-next-cursor"]
    assert (await api.get("/tenants", params={"limit": 5, "order": "slug", "cursor": cursor})).status_code == 200
    for other in ({"order": "-slug"}, {"order": "slug", "status": "active"}, {"search": "a"}):
        problem(await api.get("/tenants", params={**other, "cursor": cursor}), 400, "cursor-rejected")
    problem(await api.get("/audit", params={"cursor": cursor}), 400, "cursor-rejected")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "status=gone", "order=name", "search=" + "x" * 101]
)
async def test_a_query_outside_its_bounds_is_refused(api: Client, query: str) -> None:
    problem(await api.get(f"/tenants?{query}"), 422)


async def test_what_is_not_there_and_what_is_not_allowed_are_problems_too(world: World) -> None:
    async with at(world, None) as stranger:
        problem(await stranger.get("/nothing"), 404)
        problem(await stranger.put("/tenants"), 405)
        problem(await stranger.get("/tenants/"), 404)  # no redirect, which would repeat the Host
        assert (await stranger.get("/docs")).status_code == 404
        answer = await stranger.get("/tenants")
        assert problem(answer, 401) == "Invalid platform authentication token"
        assert answer.headers["www-authenticate"] == "Bearer"
    async with at(world, "billing") as billing:
        assert problem(await billing.post("/tenants", json={"name": "A", "slug": "nope"}), 403) == (
            "Insufficient platform role"
        )
    assert world.rows("SELECT count(*) FROM platform.tenant WHERE slug = 'nope'") == [(0,)]


async def test_a_bug_is_a_problem_without_its_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("inside /etc/secret")

    monkeypatch.setattr(world.tenancy.registry, "get", broken)
    async with at(world, "administrator") as api:
        told = await api.get("/tenants/acme")
    assert "secret" not in problem(told, 500, "internal-error")
