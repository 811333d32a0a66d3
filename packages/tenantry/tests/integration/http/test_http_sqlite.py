"""The same doors on files: a control plane in SQLite, with one writer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tenantry import Migrations, SqliteFiles, Tenancy
from tenantry.http.app import mount_platform, platform_app

from .conftest import NOTES, PASSWORD, PREFIX, SETTINGS
from .test_http_tenants import problem


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    store = SqliteFiles(tmp_path / "storage", "{slug}/notes.db")
    tenancy = Tenancy(store, Migrations(NOTES), readiness=["note"], home=tmp_path / "home")
    tenancy.initialize()
    tenancy.iam.add_user("a@example.org", "administrator", ["administrator"], password=PASSWORD)
    yield tenancy
    tenancy.close()


async def test_tenants_in_files_are_served_alike(tenancy: Tenancy) -> None:
    token = tenancy.iam.login("administrator", PASSWORD, address="::1").access_token
    transport = httpx.ASGITransport(platform_app(tenancy, settings=SETTINGS))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://testserver{PREFIX}", headers=headers, timeout=60
    ) as api:
        keys = [str(uuid4()) for _ in range(8)]
        made = await asyncio.gather(
            *(
                api.post("/tenants", json={"name": "Acme", "slug": f"t{n}"}, headers={"Idempotency-Key": key})
                for n, key in enumerate(keys)
            )
        )
        assert {answer.status_code for answer in made} == {201}
        assert made[3].json()["schema_name"] == "t3/notes.db"
        again = await api.post("/tenants", json={"name": "Acme", "slug": "t3"}, headers={"Idempotency-Key": keys[3]})
        assert again.content == made[3].content
        page = await api.get("/tenants", params={"limit": 5, "search": "ACME"})
        rest = await api.get(f"http://testserver{page.headers['link'][1:].split('>')[0]}")
        assert [row["slug"] for row in page.json() + rest.json()] == [f"t{n}" for n in range(8)]
        assert (await api.post("/tenants/t1/migrate")).json()["status"] == "active"
        problem(await api.post("/tenants/t9/migrate"), 404)
        assert len((await api.get("/audit", params={"action": "tenant.provision"})).json()) == 8
        assert (await api.get("/health/ready")).status_code == 200
        assert 'tenantry_tenants{status="active"} 8.0' in (await api.get("/metrics")).text
    assert tenancy.registry.verify_audit() == []


async def test_the_platform_hangs_below_another_application(tenancy: Tenancy) -> None:
    from fastapi import FastAPI

    whole = FastAPI()

    @whole.post("/upload")
    async def upload() -> str:
        return "the application's own"

    mount_platform(whole, tenancy, prefix="/control", settings=SETTINGS)
    token = tenancy.iam.login("administrator", PASSWORD, address="::1").access_token
    async with (
        whole.router.lifespan_context(whole),
        httpx.AsyncClient(transport=httpx.ASGITransport(whole), base_url="http://testserver", timeout=60) as api,
    ):
        # The platform's limits are its own.
        assert (await api.post("/upload", content=b"x" * 2 * 1024 * 1024)).status_code == 200
        problem(await api.post("/control/auth/login", content=b"x" * 2 * 1024 * 1024), 413)
        headers = {"Authorization": f"Bearer {token}"}
        made = await api.post("/control/tenants", json={"name": "Acme", "slug": "acme"}, headers=headers)
        assert made.headers["location"] == "/control/tenants/acme"
        assert (await api.get(made.headers["location"], headers=headers)).json()["slug"] == "acme"
        assert "/tenants" in (await api.get("/control/openapi.json")).json()["paths"]
