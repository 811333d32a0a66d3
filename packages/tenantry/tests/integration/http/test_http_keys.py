"""A request under an Idempotency-Key is done once and answered alike, however often and from wherever it comes."""

from __future__ import annotations

import asyncio
import threading
from uuid import uuid4

import httpx
import pytest

from tenantry.http.settings import HttpSettings
from tenantry.registry import requests
from tenantry.registry.requests import Requests, Taken, Ticket

from .conftest import SETTINGS, Client, World, at, hurried, until
from .test_http_tenants import problem


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


async def test_the_same_request_is_done_once_and_answered_alike_its_secret_too(
    api: Client, world: World, slug: str, key: dict[str, str]
) -> None:
    body = {"name": "Acme", "slug": slug, "admin_email": "a@example.org"}
    first = await api.post("/tenants", json=body, headers=key)
    again = await api.post("/tenants", json=body, headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert world.rows("SELECT count(*) FROM platform.operation WHERE slug = %s", slug) == [(1,)]


async def test_what_is_kept_of_an_answer_cannot_be_read_from_the_database(
    api: Client, world: World, slug: str, key: dict[str, str]
) -> None:
    body = {"name": "Acme", "slug": slug, "admin_email": "a@example.org"}
    assert "secret-" in (await api.post("/tenants", json=body, headers=key)).text
    kept = b"".join(bytes(row[0]) for row in world.rows("SELECT answer FROM platform.idempotency WHERE answer NOTNULL"))
    assert kept
    assert b"secret" not in kept
    assert slug.encode() not in kept
    stored = world.rows("SELECT string_agg(i::text, '') FROM platform.idempotency i")[0][0]
    assert key["Idempotency-Key"] not in stored


async def test_another_request_under_the_key_is_refused_and_not_done(
    api: Client, world: World, slug: str, key: dict[str, str]
) -> None:
    await api.post("/tenants", json={"name": "Acme", "slug": slug}, headers=key)
    for path, body in (("/tenants", {"name": "Acme", "slug": f"{slug}x"}), (f"/tenants/{slug}/migrate", None)):
        problem(await api.post(path, json=body, headers=key), 422, "key-reused")
    assert world.rows("SELECT slug FROM platform.tenant WHERE slug LIKE %s", f"{slug}%") == [(slug,)]


async def test_a_key_is_one_users_own(world: World, slug: str, key: dict[str, str]) -> None:
    async with at(world, "administrator") as one, at(world, "provisioner") as other:
        assert (await one.post("/tenants", json={"name": "A", "slug": slug}, headers=key)).status_code == 201
        problem(await other.post("/tenants", json={"name": "A", "slug": slug}, headers=key), 409, "tenant-exists")


async def test_of_ten_at_once_one_is_done_and_the_others_wait_or_are_told_to(
    api: Client, world: World, slug: str, key: dict[str, str]
) -> None:
    body = {"name": "Acme", "slug": slug}
    answers = await asyncio.gather(*(api.post("/tenants", json=body, headers=key) for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 for answer in answers) >= 1
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "key-in-use")
            assert answer.headers["retry-after"] == "1"
    again = await api.post("/tenants", json=body, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert world.rows("SELECT count(*) FROM platform.operation WHERE slug = %s", slug) == [(1,)]


async def test_a_refusal_gives_the_key_back(api: Client, world: World, slug: str, key: dict[str, str]) -> None:
    problem(await api.post(f"/tenants/{slug}/migrate", headers=key), 404)
    await api.post("/tenants", json={"name": "Acme", "slug": slug})
    assert (await api.post(f"/tenants/{slug}/migrate", headers=key)).status_code == 200


@pytest.mark.parametrize("bad", ["short", "x" * 256, "", "ä" * 20])
async def test_a_key_that_is_too_easy_is_a_bad_request(api: Client, slug: str, bad: str) -> None:
    header = httpx.Headers([(b"Idempotency-Key", bad.encode("utf-8"))])
    problem(await api.post("/tenants", json={"name": "Acme", "slug": slug}, headers=header), 400, "value-rejected")
    problem(await api.get(f"/tenants/{slug}"), 404)


def keys_of(world: World, settings: HttpSettings = SETTINGS) -> Requests:
    store = world.tenancy.store
    return Requests(store.control_engine, store.control_schema, "there", kept=settings.idempotency_kept)


def test_a_key_whose_process_died_is_taken_over_and_the_dead_one_answers_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, name = keys_of(world), str(uuid4())
    dead, living = Ticket.of("user", name, b"POST", b"/x"), Ticket.of("user", name, b"POST", b"/x")
    monkeypatch.setattr(requests, "LEASE", 0.0)
    assert keys.take(dead) is None
    assert keys.take(living) is None
    assert not keys.renew(dead)
    keys.answer(dead, b"late")
    keys.answer(living, b"right")
    assert keys.take(Ticket.of("user", name, b"POST", b"/x")) == b"right"


def test_a_lease_that_is_renewed_is_not_taken_over(world: World) -> None:
    keys, name = keys_of(world), str(uuid4())
    first = Ticket.of("user", name, b"a")
    assert keys.take(first) is None
    assert keys.take(first) is None  # the same once more: it was unknown whether the first time worked
    assert keys.renew(first)
    with pytest.raises(Taken):
        keys.take(Ticket.of("user", name, b"a"))


def test_an_answer_is_forgotten_after_its_time(world: World) -> None:
    name = str(uuid4())
    first = Ticket.of("user", name, b"a")
    gone = keys_of(world, hurried(idempotency_kept=-1.0))
    assert gone.take(first) is None
    gone.answer(first, b"old")
    assert keys_of(world).take(Ticket.of("user", name, b"other")) is None
    assert world.rows("SELECT count(*) FROM platform.idempotency WHERE expires_at < now()") == [(0,)]


async def test_the_key_of_work_that_takes_longer_than_its_lease_is_kept(
    world: World, slug: str, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LEASE", 0.6)
    monkeypatch.setattr("tenantry.http.calls.LEASE", 0.6)
    blocked, begun = threading.Event(), threading.Event()

    def wait(_: str, step: str) -> None:
        if step == "seed":
            begun.set()
            blocked.wait(30)

    observed = world.tenancy
    observed.observe(wait)
    try:
        async with at(world, "administrator") as api:
            body = {"name": "Acme", "slug": slug}
            first = asyncio.create_task(api.post("/tenants", json=body, headers=key))
            await until(begun.is_set, 30)
            for _ in range(4):
                await asyncio.sleep(0.5)
                problem(await api.post("/tenants", json=body, headers=key), 409, "key-in-use")
            blocked.set()
            assert (await first).status_code == 201
    finally:
        blocked.set()
        observed._provisioner.observers.clear()
