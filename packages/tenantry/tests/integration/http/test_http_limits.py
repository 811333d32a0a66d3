"""Bad days at the door of a real server: bodies without end, clients without haste, hosts that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tenantry.http import serving as serving_module

from .conftest import Served, World, hurried, serving, until
from .test_http_tenants import problem

MIB = 1024 * 1024
LIVE = "GET /api/v1/platform/health/live HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    with serving(world.app(hurried(body_timeout=1.0, max_body=MIB))) as served:
        yield served


def exchange(connection: socket.socket, *parts: bytes) -> bytes:
    """Everything the server answers until it closes the connection."""
    with contextlib.suppress(OSError):
        for part in parts:
            connection.sendall(part)
    answer = b""
    with contextlib.suppress(OSError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def head(length: str, extra: str = "") -> bytes:
    return (
        f"POST /api/v1/platform/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"{length}\r\n{extra}\r\n"
    ).encode()


def test_a_body_of_100_mb_is_refused_before_it_is_sent(served: Served) -> None:
    with served.connect() as connection:
        began = time.monotonic()
        answer = exchange(connection, head(f"Content-Length: {100 * MIB}", "Expect: 100-continue\r\n"))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer
    assert b"application/problem+json" in answer
    assert time.monotonic() - began < 5


def test_a_body_of_100_mb_that_is_sent_all_the_same_costs_no_memory(served: Served) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served.connect() as connection:
        answer = exchange(connection, head(f"Content-Length: {100 * MIB}"), *[b"x" * MIB] * 100)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")  # the connection may be reset while we write
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


def test_a_body_without_end_is_cut_off_at_the_limit(served: Served) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    with served.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head("Transfer-Encoding: chunked"))
            for _ in range(100_000):
                connection.sendall(chunk)
                sent += len(chunk)
        with contextlib.suppress(OSError):
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert sent < 64 * MIB


def test_a_length_that_is_none_is_refused(served: Served) -> None:
    for length in (
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length: 1\r\nContent-Length: 2",
    ):
        with served.connect() as connection:
            assert exchange(connection, head(length), b"{}")[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413")


async def test_a_slow_body_is_given_up_and_others_are_served_meanwhile(world: World, served: Served) -> None:
    slow = [served.connect() for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(head("Content-Length: 500") + b'{"identifier": "')
        async with served.client(world) as api:
            began = time.monotonic()
            assert (await api.get("/auth/me")).status_code == 200
            assert time.monotonic() - began < 3
        answers = [await asyncio.to_thread(exchange, connection) for connection in slow]
    finally:
        for connection in slow:
            connection.close()
    assert all(answer.startswith(b"HTTP/1.1 408") and b"within 1 s" in answer for answer in answers)


def test_headers_that_never_end_are_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "HEAD_TIMEOUT", 0.5)
    with serving(world.app()) as hasty:
        for beginning in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b"):
            with hasty.connect() as connection:
                began = time.monotonic()
                assert exchange(connection, beginning) == b""
                assert 0.3 < time.monotonic() - began < 5
        with hasty.connect() as connection:  # a second request on a connection that served one
            whole = b"GET /api/v1/platform/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
            answer = exchange(connection, whole + b"GET /api/v1/platform/health/live HTTP/1.1\r\n")
            assert answer.count(b"HTTP/1.1 200") == 1


def test_headers_without_measure_are_refused(served: Served) -> None:
    for header in (b"X-Long: " + b"a" * 64 * 1024, b"\r\n".join(b"X-%d: %s" % (n, b"b" * 100) for n in range(1000))):
        with served.connect() as connection:
            answer = exchange(
                connection, b"GET /api/v1/platform/health/live HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n"
            )
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
            assert b'"status":"ok"' not in answer


def test_what_is_no_http_gets_a_problem_document(served: Served) -> None:
    with served.connect() as connection:
        answer = exchange(connection, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "host", ["evil.example.org", "localhost.evil.org", "localhost, evil.org", "localhost@evil.org", ""]
)
def test_a_host_that_is_not_ours_is_not_served(served: Served, host: str) -> None:
    with served.connect() as connection:
        request = f"{LIVE}Host: {host}\r\nX-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n"
        answer = exchange(connection, request.encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"evil" not in answer


def test_two_hosts_are_not_served(served: Served) -> None:
    with served.connect() as connection:
        answer = exchange(connection, f"{LIVE}Host: localhost\r\nHost: evil.org\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400")


async def test_an_answer_names_no_server_and_is_not_to_be_kept(world: World, served: Served) -> None:
    async with served.client(world) as api:
        for path in ("/health/live", "/tenants", "/nothing", "/openapi.json"):
            headers = (await api.get(path)).headers
            assert "server" not in headers
            assert "x-powered-by" not in headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"


@contextlib.asynccontextmanager
async def held_up(world: World) -> AsyncIterator[threading.Event]:
    """Provisionings that stop before their seeds until the event is set."""
    gate = threading.Event()

    def wait(_: str, step: str) -> None:
        if step == "seed":
            gate.wait(60)

    world.tenancy.observe(wait)
    try:
        yield gate
    finally:
        gate.set()
        world.tenancy._provisioner.observers.clear()


async def test_provisioning_blocks_no_other_request_and_past_the_bound_is_told_to_come_back(
    world: World, slug: str
) -> None:
    app = world.app(hurried(workers=2, waiting=2))
    with serving(app) as served:
        async with held_up(world) as gate, served.client(world) as api:
            asked = [
                asyncio.create_task(api.post("/tenants", json={"name": "Acme", "slug": f"{slug}{n}"})) for n in range(4)
            ]
            await until(lambda: app.state.platform.workers.taken == 4)
            refused = await api.post("/tenants", json={"name": "Acme", "slug": f"{slug}9"})
            assert "Nothing was done" in problem(refused, 503, "too-busy")
            assert refused.headers["retry-after"] == "10"
            waits = []
            for _ in range(20):
                began = time.perf_counter()
                assert (await api.get("/tenants", params={"limit": 10})).status_code == 200
                waits.append(time.perf_counter() - began)
            assert sorted(waits)[10] < 1
            problem(await api.post(f"/tenants/{slug}0/migrate"), 503)
            gate.set()
            answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [201] * 4
    assert world.rows("SELECT count(*) FROM platform.tenant WHERE slug = %s", f"{slug}9") == [(0,)]
    refusals = world.rows("SELECT outcome, details->>'error' FROM platform.audit WHERE slug = %s", f"{slug}9")
    assert refusals == [("failed", "TooBusy")]


@pytest.mark.timeout(300)
async def test_fifty_provisionings_asked_at_once_all_end_active(world: World, slug: str) -> None:
    with serving(world.app()) as served:
        async with served.client(world) as api:
            api.timeout = httpx.Timeout(250)
            answers = await asyncio.gather(
                *(api.post("/tenants", json={"name": "Acme", "slug": f"{slug}n{n}"}) for n in range(50))
            )
    assert {answer.status_code for answer in answers} == {201}
    stands = world.rows("SELECT status, count(*) FROM platform.tenant WHERE slug LIKE %s GROUP BY 1", f"{slug}n%")
    assert stands == [("active", 50)]
    assert world.rows("SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s", f"org_{slug}n%") == [(50,)]


async def test_work_that_takes_too_long_is_told_so_and_ends_all_the_same(world: World, slug: str) -> None:
    with serving(world.app(hurried(work_timeout=1.0))) as served:
        async with held_up(world) as gate, served.client(world) as api:
            late = await api.post("/tenants", json={"name": "Acme", "slug": slug})
            assert "goes on" in problem(late, 504, "took-too-long")
            gate.set()
            for _ in range(300):
                if (await api.get(f"/tenants/{slug}")).json()["status"] == "active":
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("it did not end")


async def test_two_administrators_on_one_tenant_at_once_leave_it_whole(world: World, slug: str) -> None:
    with serving(world.app()) as served:
        async with served.client(world) as one, served.client(world, "provisioner") as other:
            made = await asyncio.gather(
                *(api.post("/tenants", json={"name": "Acme", "slug": slug}) for api in (one, other) * 3)
            )
            assert sorted(answer.status_code for answer in made) == [201] + [409] * 5
            done = await asyncio.gather(
                *(api.post(f"/tenants/{slug}/{what}") for api in (one, other) * 4 for what in ("migrate", "activate"))
            )
            assert {answer.status_code for answer in done} <= {200, 409}
            assert any(answer.status_code == 200 for answer in done)
            shown = (await one.get(f"/tenants/{slug}")).json()
    assert (shown["status"], shown["error"]) == ("active", None)
    assert {operation["status"] for operation in shown["operations"]} <= {"done", "failed"}
    assert world.rows("SELECT count(*) FROM pg_namespace WHERE nspname = %s", f"org_{slug}") == [(1,)]
    assert world.tenancy.registry.verify_audit() == []


async def test_a_reader_who_does_not_read_is_let_go(world: World) -> None:
    with serving(world.app(hurried(send_timeout=1.0))) as served, served.connect() as lazy:
        world.rows(
            "INSERT INTO platform.tenant"
            " (uid, slug, slug_key, name, location, status, attributes, created_at, updated_at)"
            " SELECT 'lazy' || i, 'lazy' || i, 'lazy' || i, repeat('n', 900), 'lazy_' || i, 'archived', '{}',"
            " now(), now()"
            " FROM generate_series(1, 1000) i ON CONFLICT DO NOTHING"
        )
        request = (
            "GET /api/v1/platform/tenants?limit=1000&status=archived HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {world.tokens['administrator']}\r\n\r\n"
        ).encode()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(request * 30)
        async with served.client(world) as api, asyncio.timeout(30):
            assert (await api.get("/auth/me")).status_code == 200
            await asyncio.sleep(2.5)
            assert (await api.get("/auth/me")).status_code == 200
    world.rows("DELETE FROM platform.tenant WHERE slug LIKE 'lazy%%' AND %s", True)


async def test_metrics_are_for_those_with_the_token_or_a_role(world: World) -> None:
    app = world.app(hurried(metrics_token="scrape-me-if-you-can"))
    with serving(app) as served:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}/api/v1/platform") as anyone:
            problem(await anyone.get("/metrics"), 401)
            problem(await anyone.get("/metrics", headers={"Authorization": "Bearer scrape-me"}), 401)
            scraped = await anyone.get("/metrics", headers={"Authorization": "Bearer scrape-me-if-you-can"})
            problem(await anyone.get("/tenants", headers={"Authorization": "Bearer scrape-me-if-you-can"}), 401)
    assert scraped.status_code == 200
    assert 'tenantry_http_requests_total{method="GET",route="/metrics",status="401"} 2.0' in scraped.text
    assert "tenantry_tenants{" in scraped.text
