"""Platform users over HTTP: made, given roles, disabled and let in again, and what their tokens are worth then."""

from __future__ import annotations

from uuid import uuid4

import pytest

from .conftest import PASSWORD, Client, World, at
from .test_http_tenants import problem


@pytest.fixture
def name() -> str:
    return f"u{uuid4().hex[:8]}"


async def logged_in(world: World, name: str, password: str) -> tuple[Client, dict[str, str]]:
    async with at(world, None) as stranger:
        granted = await stranger.post("/auth/login", json={"identifier": name, "password": password})
    assert granted.status_code == 200, granted.text
    client = at(world, None)
    client.headers["Authorization"] = f"Bearer {granted.json()['access_token']}"
    return client, granted.json()


async def test_a_user_is_made_with_a_password_told_once(api: Client, world: World, name: str) -> None:
    body = {"email": f"{name}@example.org", "username": name, "roles": ["support"], "first_name": "Ada"}
    added = (await api.post("/users", json=body)).json()
    assert (added["roles"], added["is_active"], added["first_name"]) == (["support"], True, "Ada")
    client, granted = await logged_in(world, name, added["password_generated"])
    async with client:
        assert (await client.get("/auth/me")).json() == granted["user"]
        problem(await client.get("/users"), 403)
    shown = await api.get(f"/users/{added['uid']}")
    assert "password" not in shown.text
    problem(await api.post("/users", json=body), 409, "user-exists")


async def test_a_change_of_roles_counts_at_the_next_request(api: Client, world: World, name: str) -> None:
    user = (await api.post("/users", json={"email": f"{name}@example.org", "username": name, "roles": []})).json()
    client, _ = await logged_in(world, name, user["password_generated"])
    async with client:
        problem(await client.get("/tenants"), 403)
        changed = await api.put(f"/users/{user['uid']}/roles", json={"roles": ["billing"]})
        assert changed.json()["roles"] == ["billing"]
        assert (await client.get("/tenants")).status_code == 200
        problem(await api.put(f"/users/{user['uid']}/roles", json={"roles": ["emperor"]}), 422)


async def test_a_disabled_users_token_dies_at_once(api: Client, world: World, name: str) -> None:
    body = {"email": f"{name}@example.org", "username": name, "roles": ["billing"], "password": PASSWORD}
    user = (await api.post("/users", json=body)).json()
    assert user["password_generated"] is None
    client, _ = await logged_in(world, name, PASSWORD)
    async with client:
        assert (await api.post(f"/users/{user['uid']}/disable")).json()["is_active"] is False
        problem(await client.get("/auth/me"), 401)
        refused = await client.post("/auth/login", json={"identifier": name, "password": PASSWORD})
        assert problem(refused, 401) == "Invalid platform credentials"
        assert (await api.post(f"/users/{user['uid']}/enable")).json()["is_active"] is True
        problem(await client.get("/auth/me"), 401)  # the session stays over
    fresh, _ = await logged_in(world, name, PASSWORD)
    await fresh.aclose()


async def test_sessions_are_listed_refreshed_and_ended(api: Client, world: World, name: str) -> None:
    user = (await api.post("/users", json={"email": f"{name}@example.org", "username": name, "roles": []})).json()
    client, granted = await logged_in(world, name, user["password_generated"])
    async with client:
        again = await client.post("/auth/refresh", json={"refresh_token": granted["refresh_token"]})
        assert again.status_code == 200
        listed = (await api.get(f"/users/{user['uid']}/sessions")).json()
        assert [session["address"] for session in listed] == ["10.1.2.3"]
        # The first token again: somebody has copied it.
        problem(await client.post("/auth/refresh", json={"refresh_token": granted["refresh_token"]}), 401)
        problem(await client.post("/auth/refresh", json={"refresh_token": again.json()["refresh_token"]}), 401)
        problem(await client.get("/auth/me"), 401)
    client, _ = await logged_in(world, name, user["password_generated"])
    async with client:
        session = (await api.get(f"/users/{user['uid']}/sessions")).json()[0]["uid"]
        assert (await api.delete(f"/sessions/{session}")).status_code == 204
        problem(await client.get("/auth/me"), 401)
    problem(await api.delete(f"/sessions/{'0' * 32}"), 404)
    client, _ = await logged_in(world, name, user["password_generated"])
    async with client:
        assert (await api.delete(f"/users/{user['uid']}/sessions")).json() == {"ended": 1}
        problem(await client.get("/auth/me"), 401)
    client, _ = await logged_in(world, name, user["password_generated"])
    async with client:
        assert (await client.post("/auth/logout")).status_code == 204
        problem(await client.get("/auth/me"), 401)


async def test_a_password_is_reset_and_the_old_one_is_worth_nothing(api: Client, world: World, name: str) -> None:
    user = (await api.post("/users", json={"email": f"{name}@example.org", "username": name, "roles": []})).json()
    key = {"Idempotency-Key": str(uuid4())}
    made = await api.post(f"/users/{user['uid']}/reset-password", headers=key)
    assert (await api.post(f"/users/{user['uid']}/reset-password", headers=key)).json() == made.json()
    client, _ = await logged_in(world, name, made.json()["password"])
    async with client:
        wrong = {"identifier": name, "password": user["password_generated"]}
        problem(await client.post("/auth/login", json=wrong), 401)


async def test_the_last_administrator_stays(api: Client, world: World) -> None:
    me = (await api.get("/auth/me")).json()
    problem(await api.post(f"/users/{me['uid']}/disable"), 409, "last-administrator")
    assert (await api.get("/auth/me")).json()["is_active"] is True
    problem(await api.get(f"/users/{'0' * 32}"), 404, "user-not-found")


async def test_pages_of_users_hold_each_once(api: Client) -> None:
    seen: list[str] = []
    url: str | None = "/api/v1/platform/users?limit=2"
    while url is not None:
        page = await api.get(f"http://testserver{url}")
        seen += [user["username"] for user in page.json()]
        url = page.headers["link"][1:].split(">")[0] if "link" in page.headers else None
    assert len(seen) == len(set(seen)) >= 4
    assert seen == sorted(seen)
