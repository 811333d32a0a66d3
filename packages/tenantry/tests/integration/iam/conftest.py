"""A platform with people on both databases, a clock that a test moves, cheap hashes that are counted, and races."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import pytest
import sqlalchemy as sa

from tenantry.iam import passwords
from tenantry.iam.attempts import LoginLimits
from tenantry.iam.iam import Grant, Iam
from tenantry.iam.secret import PlatformSecret
from tenantry.iam.tables import tables
from tenantry.iam.users import PlatformUser
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables as registry_tables
from tenantry.stores.base import Store
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

PASSWORD = "Tall-Giraffe-42"
OFFICE = "10.0.0.7"
PROCESSES = 20

# Runs as a process of its own, with no threads, so that it may fork. All children begin at once, when the pipe closes.
RUNNER = """
import json, os, sys
import argon2
from tenantry.errors import *
from tenantry.iam import passwords
from tenantry.iam.iam import Iam
from tenantry.iam.secret import PlatformSecret
from tenantry.registry.registry import Registry
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

kind, where, home, processes, body = json.loads(sys.argv[1])
passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
scope = dict(globals())
exec(body, scope)
results_read, results_write = os.pipe()
go_read, go_write = os.pipe()
children = []
for number in range(processes):
    child = os.fork()
    if child:
        children.append(child)
        continue
    os.close(go_write)
    store = SqliteFiles(where, "{slug}.db") if kind == "file" else PostgresSchemas(where, "org_{slug}")
    registry = Registry(store.control_engine, store.control_schema, store.describe())
    iam = Iam(registry, store.control_schema, PlatformSecret(None, home))
    os.read(go_read, 1)
    try:
        outcome = scope["work"](iam, number)
    except BaseException as error:
        outcome = type(error).__name__ if isinstance(error, TenancyError) else f"{type(error).__name__}: {error}"
    os.write(results_write, (json.dumps(outcome) + "\\n").encode())
    os._exit(0)
os.close(go_write)
os.close(results_write)
with os.fdopen(results_read) as results:
    sys.stdout.write(results.read())
for child in children:
    os.waitpid(child, 0)
"""


class Clock:
    """A clock that stands still until a test moves it. It begins now: other processes have the real one."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Counted:
    """How many hashes were verified, whoever asked."""

    verified: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def since(self, before: int) -> int:
        return self.verified - before


@dataclass
class Platform:
    """One platform, and what a test needs to look behind it."""

    store: Store
    registry: Registry
    iam: Iam
    clock: Clock
    where: str
    home: Path

    def worker(self, *, secret: str | None = None, limits: LoginLimits | None = None) -> Iam:
        """The same platform as another worker has it."""
        registry = Registry(self.store.control_engine, self.store.control_schema, self.store.describe())
        given = PlatformSecret(secret, self.home)
        return Iam(registry, self.store.control_schema, given, limits=limits, clock=self.clock)

    def add(self, name: str, *roles: str) -> PlatformUser:
        return self.iam.add_user(f"{name}@example.org", name, roles, password=PASSWORD).user

    def login(self, name: str = "ann", address: str = OFFICE) -> Grant:
        return self.iam.login(name, PASSWORD, address=address)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a table, as they are."""
        schema = self.store.control_schema
        found = {**tables(schema).metadata.tables, **registry_tables(schema).metadata.tables}
        table = found[f"{schema}.{name}" if schema else name]
        with self.store.control_engine().connect() as connection:
            query = sa.select(table).order_by(*table.primary_key.columns)
            return [dict(row) for row in connection.execute(query).mappings()]

    def everything(self) -> str:
        """All that the control plane holds, as text."""
        schema = self.store.control_schema
        names = [*tables(schema).metadata.tables.values(), *registry_tables(schema).metadata.tables.values()]
        return repr([self.rows(table.name) for table in names])

    def actions(self) -> list[tuple[str, str]]:
        """What the audit trail says, oldest first."""
        return [(entry.action, entry.outcome) for entry in reversed(self.registry.audit_entries(limit=1000))]

    def queries(self) -> Queries:
        return Queries(self.store.control_engine())


class Queries:
    """Counts the statements that are sent inside the block."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.sent: list[str] = []

    def __enter__(self) -> list[str]:
        sa.event.listen(self.engine, "before_cursor_execute", self._note)
        return self.sent

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self.engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):  # SQLite's; PostgreSQL's goes past here
            self.sent.append(statement)


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hashes with the least parameters that argon2 takes: what is tested here is not how slow they are."""
    monkeypatch.setattr(passwords, "_hasher", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords.decoy.cache_clear()
    yield
    passwords.decoy.cache_clear()


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()

    class Counting(argon2.PasswordHasher):
        def verify(self, *given: Any) -> bool:
            with counted.guard:
                counted.verified += 1
            return bool(super().verify(*given))

    monkeypatch.setattr(passwords, "_hasher", Counting(time_cost=1, memory_cost=8, parallelism=1))
    return counted


def _store(kind: str, where: str) -> Store:
    return PostgresSchemas(where, name="org_{slug}") if kind == "schema" else SqliteFiles(where, name="{slug}.db")


def _upgraded(kind: str, where: str) -> None:
    store = _store(kind, where)
    Registry(store.control_engine, store.control_schema, store.describe()).upgrade()
    store.close()


def _with_registry(url: str) -> None:
    _upgraded("schema", url)


@pytest.fixture(scope="session")
def root_with_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original") / "storage"
    _upgraded("file", str(root))
    return root


@pytest.fixture(params=["schema", "file"])
def platform(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform with its tables and nobody in it."""
    monkeypatch.delenv("SECRET_KEY", raising=False)
    if request.param == "schema":
        where = request.getfixturevalue("postgres_copy")(_with_registry)
    else:
        where = str(tmp_path / "storage")
        shutil.copytree(request.getfixturevalue("root_with_registry"), where)
    store = _store(request.param, where)
    registry = Registry(store.control_engine, store.control_schema, store.describe())
    clock, home = Clock(), tmp_path / "home"
    iam = Iam(registry, store.control_schema, PlatformSecret(None, home), clock=clock)
    yield Platform(store, registry, iam, clock, where, home)
    store.close()


@pytest.fixture
def race(platform: Platform) -> Callable[..., list[Any]]:
    """Run ``def work(iam, number)`` in twenty processes at once, and return what each did, or its error."""

    def run(body: str, processes: int = PROCESSES) -> list[Any]:
        given = json.dumps([platform.store.kind, platform.where, str(platform.home), processes, body])
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, given], capture_output=True, text=True, check=True, timeout=150
        )
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == processes, done.stderr
        return outcomes

    return run
