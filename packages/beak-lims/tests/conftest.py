"""An installation with two organisations of two laboratories each, and users of it, over HTTP and without.

Made once a test module: what a test makes stays for the next one of its module.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import argon2
import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session

from beak_lims.api.app import lims_app
from beak_lims.context import LabContext, bind
from beak_lims.identity import sessions, tokens
from beak_lims.laboratories import add_laboratory
from beak_lims.models import Group, Laboratory, User
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy
from tenantry.http.serving import GuardedProtocol
from tenantry.iam import passwords
from tenantry.pytest_plugin import Copies

PASSWORD = "Correct-Horse-7"
SECRET = "the-secret-key-of-this-installation-0123456789"
API = "/api/v1"
TABLES = "BEAK_WHONET_TABLES"  # names the directory of WHONET's tables; else it is looked for beside the checkout
BESIDE = Path(__file__).parents[3].parent / "shared" / "data" / "whonet"


@dataclass
class Actor:
    """A user of one tenant, with an open session, at work in one laboratory or in none."""

    client: httpx.Client
    tenant: str
    uid: str
    user_name: str
    token: str
    laboratory_uid: str | None

    @property
    def headers(self) -> dict[str, str]:
        told = {"Authorization": f"Bearer {self.token}"}
        return told if self.laboratory_uid is None else {**told, "X-Laboratory-ID": self.laboratory_uid}

    def __call__(self, method: str, path: str, body: Any = None, **given: Any) -> Any:
        """What a request below /api/v1 answers; ``ok`` does the same for one that must succeed."""
        headers = {**self.headers, **given.pop("headers", {})}
        return self.client.request(method, f"{API}{path}", json=body, headers=headers, **given)

    def ok(self, method: str, path: str, body: Any = None, **given: Any) -> Any:
        answer = self(method, path, body, **given)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, **given: Any) -> Any:
        return self.ok("GET", path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> Any:
        return self.ok("POST", path, body, **given)

    def refused(self, status: int, method: str, path: str, body: Any = None, **given: Any) -> str:
        """The detail of a problem document of that status."""
        answer = self(method, path, body, **given)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        return str(told["detail"])


@dataclass
class Installation:
    """Tenants `alpha` and `beta`, each with the laboratories `First` and `Second`; served once somebody asks."""

    tenancy: Tenancy
    url: str
    laboratories: dict[str, dict[str, str]] = field(default_factory=dict)  # uid by tenant and name
    opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    @cached_property
    def app(self) -> FastAPI:
        return lims_app(self.tenancy)

    @cached_property
    def client(self) -> httpx.Client:
        origin = self.opened.enter_context(serving(self.app))
        return self.opened.enter_context(httpx.Client(base_url=origin, timeout=30))

    def context(self, tenant: str, laboratory: str | None = "First", **more: Any) -> LabContext:
        uid = None if laboratory is None else self.laboratories[tenant][laboratory]
        return LabContext(tenant, laboratory_uid=uid, **more)

    def bound(self, session: Session, tenant: str, laboratory: str | None = "First", **more: Any) -> LabContext:
        """Bind the session; the context that it is bound to."""
        context = self.context(tenant, laboratory, **more)
        bind(session, context)
        return context

    def actor(
        self,
        tenant: str = "alpha",
        laboratory: str | None = "First",
        *,
        groups: Sequence[str] = ("ADMINISTRATOR",),
        member_of: Sequence[str] = ("First", "Second"),
        superuser: bool = False,
        must_change_password: bool = False,
    ) -> Actor:
        """A new user in these groups (by keyword), assigned to these laboratories, with an open session."""
        name = f"user-{uuid4().hex[:10]}"
        uids = self.laboratories[tenant]
        record = self.tenancy.get(tenant)
        at = datetime.now(UTC)
        with self.tenancy.session(tenant) as session:
            user = User(
                first_name="Ada",
                last_name=name,
                email=f"{name}@example.org",
                user_name=name,
                hashed_password=passwords.hash_password(PASSWORD),
                is_superuser=superuser,
                must_change_password=must_change_password,
            )
            user.groups = list(session.scalars(sa.select(Group).where(Group.keyword.in_(groups))))
            assigned = [uids[lab] for lab in member_of]
            user.laboratories = list(session.scalars(sa.select(Laboratory).where(Laboratory.uid.in_(assigned))))
            session.add(user)
            session.flush()
            opened, _ = sessions.open_session(session, user.uid, "192.0.2.1", at)
            token = tokens.sign(record, user.uid, opened.uid, None, at)
            return Actor(self.client, tenant, user.uid, name, token, None if laboratory is None else uids[laboratory])


def _prepare(url: str) -> None:
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
    tenancy.initialize()
    tenancy.planner.plan(None, tenancy.head())
    tenancy.close()


def published_tables() -> Path | None:
    """The directory of WHONET's tables, which are no part of the project, where they are at hand."""
    directory = Path(os.environ.get(TABLES) or BESIDE)
    return directory if directory.is_dir() else None


@pytest.fixture(scope="session")
def whonet() -> Path:
    """The same, for a test that is nothing without them."""
    directory = published_tables()
    if directory is None:
        pytest.skip(f"WHONET's tables are not at hand: set {TABLES} to their directory")
    return directory


@pytest.fixture(scope="session")
def databases(postgres_copies: Copies) -> Callable[[], AbstractContextManager[str]]:
    """Databases with the control plane, the plan of a new tenant and no tenant, by their URL."""
    return lambda: postgres_copies(_prepare)


@pytest.fixture
def database(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """One of them for one test."""
    with databases() as url:
        yield url


@pytest.fixture(scope="module")
def installation(
    databases: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    home: Path = tmp_path_factory.mktemp("lims")
    kept, passwords._hasher = passwords._hasher, argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with databases() as url:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url, BEAK_HOME=home, SECRET_KEY=SECRET))
        try:
            made: dict[str, dict[str, str]] = {}
            for slug in ("alpha", "beta"):
                tenancy.provision(slug, name=slug.title(), options={"initial_lab_name": "First"})
                added = [add_laboratory(tenancy, slug, lab) for lab in ("First", "Second")]
                made[slug] = {one.laboratory_name: one.laboratory_uid for one in added}
            found = Installation(tenancy, url, made)
            with found.opened:
                yield found
        finally:
            tenancy.close()
            passwords._hasher = kept


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application behind uvicorn; its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=GuardedProtocol, ws="none", log_config=None, server_header=False, access_log=False, lifespan="on"
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
