"""Beak LIMS on a database of the module's own, with a user of every role, behind a real server in this process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import argon2
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI

from beak_lims.http import app
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy
from tenantry.http.serving import GuardedProtocol
from tenantry.http.settings import HttpSettings
from tenantry.iam import passwords
from tenantry.iam.roles import PlatformRole

PASSWORD = "Correct-Horse-7"
PREFIX = "/api/v1/platform"
SECRET = "the-secret-key-of-this-installation-0123456789"


@dataclass
class Doors:
    """A served installation."""

    tenancy: Tenancy
    app: FastAPI
    url: str
    origin: str

    @property
    def base(self) -> str:
        return f"{self.origin}{PREFIX}"

    def token(self, identifier: str) -> str:
        return self.tenancy.iam.login(identifier, PASSWORD, address="192.0.2.1").access_token

    def bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def doors(
    databases: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doors]:
    home: Path = tmp_path_factory.mktemp("beak")
    # Thousands of logins are tried; what a hash costs is tested elsewhere.
    kept, passwords._hasher = passwords._hasher, argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with databases() as url:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url, BEAK_HOME=home, SECRET_KEY=SECRET))
        try:
            for role in PlatformRole:
                tenancy.iam.add_user(f"{role}@example.org", role.value, [role], password=PASSWORD)
            application = app(tenancy, HttpSettings())
            with serving(application) as origin:
                yield Doors(tenancy, application, url, origin)
        finally:
            tenancy.close()
            passwords._hasher = kept


@contextlib.contextmanager
def serving(application: FastAPI) -> Iterator[str]:
    """The application behind uvicorn; its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
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
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()
