"""The platform over HTTP: a page of 100 out of 10,000 tenants, and 50 provisionings asked at once.

`tenantry serve` with two workers, and a client that speaks HTTP over bare sockets, on the same machine: client, server
and database share its processors. Every answer is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from benchmarks.fleet import MIGRATIONS
from tenantry import Migrations, PostgresSchemas, Tenancy

ROOT = Path(__file__).parents[1]
PREFIX = "/api/v1/platform"
PASSWORD = "Correct-Horse-7"
TENANTS = 10_000
PAGE = 100
CLIENTS = 4  # connections that ask one request after the other
WARMUP = 200
REQUESTS = 3_000
AT_ONCE = 50
DATABASE = "BENCH_DATABASE"
HOME = "BENCH_HOME"
FILL = """
INSERT INTO platform.tenant (uid, slug, slug_key, name, location, status, attributes, created_at, updated_at)
SELECT md5(i::text), slug, slug, 'Tenant ' || i, 'org_' || slug, 'active', '{}', now(), now()
FROM (SELECT i, 't' || lpad(i::text, 6, '0') AS slug FROM generate_series(1, :count) AS i) AS made
"""


def served() -> Tenancy:
    """What the server serves."""
    store = PostgresSchemas(os.environ[DATABASE], "org_{slug}")
    return Tenancy(store, Migrations(MIGRATIONS), readiness=["account"], home=Path(os.environ[HOME]))


@dataclass(frozen=True)
class Load:
    """What a server bore."""

    per_second: float
    median: float  # seconds
    p99: float  # seconds


def measure(url: str, home: Path, *, workers: int = 2) -> tuple[Load, Load, float]:
    """Pages of tenants, the smallest authenticated request beside them, and the seconds of 50 provisionings."""
    os.environ |= {DATABASE: url, HOME: str(home)}
    tenancy = served()
    try:
        tenancy.initialize()
        tenancy.iam.add_user("bench@example.org", "bench", ["administrator"], password=PASSWORD)
        with tenancy.store.control_engine().begin() as connection:
            connection.execute(sa.text(FILL), {"count": TENANTS})
        with serving(workers) as port:
            return asyncio.run(_measure(port))
    finally:
        tenancy.close()


@contextlib.contextmanager
def serving(workers: int) -> Iterator[int]:
    """`tenantry serve` on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [str(Path(sys.executable).with_name("tenantry")), "serve", "--app", "benchmarks.http:served"]
    command += ["--port", str(port), "--workers", str(workers)]
    with Path("http.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(Path("http.log").read_text())
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(60)


async def _measure(port: int) -> tuple[Load, Load, float]:
    granted = await _Client.once(port, "POST", "/auth/login", {}, {"identifier": "bench", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    for _ in range(2):  # once for every worker to warm up
        await _load(port, f"/tenants?limit={PAGE}", headers, WARMUP, PAGE)
    pages = await _load(port, f"/tenants?limit={PAGE}", headers, REQUESTS, PAGE)
    smallest = await _load(port, "/auth/me", headers, REQUESTS, None)
    began = time.perf_counter()
    made = await asyncio.gather(
        *(
            _Client.once(port, "POST", "/tenants", headers, {"name": f"New {n}", "slug": f"new{n}"})
            for n in range(AT_ONCE)
        )
    )
    seconds = time.perf_counter() - began
    if [tenant["status"] for tenant in made] != ["active"] * AT_ONCE:
        raise RuntimeError(f"not all are active: {made}")
    return pages, smallest, seconds


async def _load(port: int, path: str, headers: Mapping[str, str], requests: int, rows: int | None) -> Load:
    times: list[float] = []

    async def client() -> None:
        connection = await _Client.open(port)
        for _ in range(requests // CLIENTS):
            began = time.perf_counter()
            body = await connection.ask("GET", path, headers)
            times.append(time.perf_counter() - began)
            if rows is not None and body.count(b'"uid":') != rows:
                raise RuntimeError(f"{path} answered {body[:200]!r}")
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    seconds = time.perf_counter() - began
    times.sort()
    return Load(len(times) / seconds, times[len(times) // 2], times[int(len(times) * 0.99)])


class _Client:
    """As little of HTTP as the measurement needs: a client library would take more time than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> _Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def once(cls, port: int, method: str, path: str, headers: Mapping[str, str], body: object) -> dict[str, str]:
        client = await cls.open(port)
        try:
            found: dict[str, str] = json.loads(await client.ask(method, path, headers, json.dumps(body).encode()))
            return found
        finally:
            client.close()

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        sent = {"Host": "localhost", **headers}
        if body:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{method} {PREFIX}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
        answer = await self._reader.readexactly(int(length.partition(":")[2]))
        if head.split(" ", 2)[1][0] != "2":
            raise RuntimeError(f"{method} {path}: {head} {answer!r}")
        return answer

    def close(self) -> None:
        self._writer.close()
