"""The database is restarted under load: no request hangs over its time, and everything is well again by itself."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tenantry.embedded import EmbeddedPostgres

from .conftest import PASSWORD, World, hurried, serving

TIME = 15.0  # seconds that a request may take at most, whatever happens to the database
RECOVERY = 10.0  # seconds after which a database that is back must have been noticed
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "60"}


@pytest.fixture
def home() -> Iterator[Path]:
    """Not pytest's temporary directory: that is closed to the user a server runs as when the tests run as root."""
    made = Path(tempfile.mkdtemp(prefix="restarted-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(300)
async def test_a_database_restarted_under_load_is_found_again(home: Path) -> None:
    server = EmbeddedPostgres(home / "postgres", settings=QUICK)
    try:
        world = declared(server.start(), home)
        try:
            with serving(world.app(hurried(read_timeout=TIME, work_timeout=TIME))) as served:
                async with served.client(world) as api:
                    await load(api, server)
            assert world.tenancy.registry.verify_audit() == []
            # One waiter each at most is left in the pool, and none of what was lost.
            assert {tenant.status.value for tenant in world.tenancy.list()} == {"active"}
            left = {tenant.location for tenant in world.tenancy.list()}
            schemas = world.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org%%' AND %s", True)
            assert {row[0] for row in schemas} == left
        finally:
            world.tenancy.close()
    finally:
        server.stop()


def declared(url: str, home: Path) -> World:
    world = World(url, home, None, {})  # type: ignore[arg-type]
    world.tenancy = world.declare()
    world.tenancy.initialize()
    world.tenancy.iam.add_user("a@example.org", "administrator", ["administrator"], password=PASSWORD)
    world.tokens["administrator"] = world.tenancy.iam.login("administrator", PASSWORD, address="::1").access_token
    return world


async def load(api: httpx.AsyncClient, server: EmbeddedPostgres) -> None:
    """Readers and writers for as long as the server is stopped and started; every one of them comes to its end."""
    stopping = asyncio.Event()
    seen: Counter[int] = Counter()
    longest = [0.0]

    async def ask(method: str, path: str, **given: object) -> httpx.Response:
        began = time.monotonic()
        answer = await api.request(method, path, **given)  # type: ignore[arg-type]
        longest[0] = max(longest[0], time.monotonic() - began)
        seen[answer.status_code] += 1
        return answer

    async def read() -> None:
        while not stopping.is_set():
            await ask("GET", "/tenants")

    async def write(number: int) -> None:
        count = 0
        while not stopping.is_set():
            slug = f"w{number}x{count}"
            if await finished(ask, slug):
                count += 1

    workers = [asyncio.create_task(read()) for _ in range(6)] + [asyncio.create_task(write(n)) for n in range(2)]
    await asyncio.sleep(1.5)
    assert set(seen) <= {200, 201}
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(1.0)
    assert (await api.get("/health/live")).status_code == 200
    assert (await api.get("/health/ready")).status_code == 503
    await asyncio.to_thread(server.start)
    back = time.monotonic() + RECOVERY
    while (await api.get("/tenants")).status_code != 200:
        assert time.monotonic() < back, "it did not recover by itself"
    recovered = await asyncio.gather(*(api.get("/tenants") for _ in range(20)))
    assert Counter(answer.status_code for answer in recovered) == {200: 20}, [answer.text for answer in recovered]
    assert (await api.get("/health/ready")).status_code == 200
    stopping.set()
    await asyncio.gather(*workers)
    assert set(seen) <= {200, 201, 409, 503}, seen
    assert seen[503] > 0
    assert longest[0] < TIME + 2, seen


async def finished(ask: object, slug: str) -> bool:
    """Have a tenant made, however often it takes: the same key is sent until there is an answer."""
    key = {"Idempotency-Key": str(uuid4())}
    for _ in range(200):
        answer = await ask("POST", "/tenants", json={"name": "Acme", "slug": slug}, headers=key)  # type: ignore[operator]
        if answer.status_code == 201:
            return True
        if answer.status_code == 409 and "tenant-exists" in answer.text:
            # Its record was written before the database went: what was begun is finished.
            answer = await ask("POST", f"/tenants/{slug}/migrate")  # type: ignore[operator]
            if answer.status_code == 200:
                return True
        await asyncio.sleep(0.1)
    return False
