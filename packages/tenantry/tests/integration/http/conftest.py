"""A platform of notes, users of every role, and its doors: in this process, or behind uvicorn. A database a module."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from tenantry import Migrations, PostgresSchemas, Seeding, Tenancy
from tenantry.http.app import platform_app
from tenantry.http.serving import GuardedProtocol
from tenantry.http.settings import HttpSettings
from tenantry.iam.roles import PlatformRole

NOTES = Path(__file__).parents[5] / "examples" / "notes" / "migrations"
PASSWORD = "Correct-Horse-7"
PREFIX = "/api/v1/platform"
SETTINGS = HttpSettings(trusted_hosts=("testserver", "localhost", "127.0.0.1"))


def password_seed(seeding: Seeding) -> None:
    """As applications do: a one-time password for the administrator, told once. `!` in the name fails."""
    if seeding.tenant.name.endswith("!"):
        raise RuntimeError("the seed is sour")
    if seeding.tenant.admin_email is not None:
        seeding.receipts["One-time password"] = f"secret-{seeding.tenant.slug}"


@dataclass
class World:
    """One control plane with its people."""

    url: str
    home: Path
    tenancy: Tenancy
    tokens: dict[str, str]

    def declare(self, **options: Any) -> Tenancy:
        """The same application as another process would build it."""
        store = PostgresSchemas(self.url, "org_{slug}")
        return Tenancy(store, Migrations(NOTES), readiness=["note"], seeds=[password_seed], home=self.home, **options)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database itself says."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def app(self, settings: HttpSettings = SETTINGS) -> FastAPI:
        return platform_app(self.tenancy, settings=settings)


@pytest.fixture(scope="module")
def world(postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database of the module's own."""
    server = sa.make_url(postgres_server_url)
    name = f"http_{uuid4().hex[:12]}"
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = server.set(database=name).render_as_string(hide_password=False)
    made = World(url, tmp_path_factory.mktemp("home"), None, {})  # type: ignore[arg-type]
    made.tenancy = made.declare()
    try:
        made.tenancy.initialize()
        for role in PlatformRole:
            made.tenancy.iam.add_user(f"{role}@example.org", role.value, [role], password=PASSWORD)
            made.tokens[role.value] = made.tenancy.iam.login(role.value, PASSWORD, address="127.0.0.1").access_token
        yield made
    finally:
        made.tenancy.close()
        with psycopg.connect(plain, autocommit=True) as connection:
            oid = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [name]).fetchone()
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%@{oid[0]}"])  # type: ignore[index]
            for (role,) in roles.fetchall():
                connection.execute(f'DROP ROLE "{role}"'.encode())


@pytest.fixture
def slug() -> str:
    """A slug that no other test has."""
    return f"t{uuid4().hex[:10]}"


class Client(httpx.AsyncClient):
    """A caller with one role, or none."""

    def __init__(self, tokens: dict[str, str], role: str | None, **options: Any) -> None:
        headers = {} if role is None else {"Authorization": f"Bearer {tokens[role]}"}
        super().__init__(headers=headers, **options)


@pytest.fixture
async def api(world: World) -> AsyncIterator[Client]:
    """The administrator at the doors of this process."""
    async with at(world, "administrator") as client:
        yield client


def at(world: World, role: str | None, app: FastAPI | None = None) -> Client:
    transport = httpx.ASGITransport(app or world.app(), raise_app_exceptions=False, client=("10.1.2.3", 4711))
    return Client(world.tokens, role, transport=transport, base_url=f"http://testserver{PREFIX}", timeout=60)


@dataclass
class Served:
    """A real server in a thread of this process."""

    port: int

    def client(self, world: World, role: str | None = "administrator") -> Client:
        return Client(world.tokens, role, base_url=f"http://127.0.0.1:{self.port}{PREFIX}", timeout=60)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[Served]:
    """The application behind uvicorn, with the protocol that it is served with."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.01)
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def hurried(**changes: Any) -> HttpSettings:
    """The settings with other limits."""
    return replace(SETTINGS, **changes)


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until it is so."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to that"
        await asyncio.sleep(0.02)
