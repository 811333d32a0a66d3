"""The control plane on both databases, on the engines that the stores really give it, and races of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry.names import SlugRule
from tenantry.registry.registry import Registry, Reservation
from tenantry.registry.tables import RegistryTables, tables
from tenantry.stores.base import Store
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

PROCESSES = 20

# Runs as a process of its own, with no threads, so that it may fork. All children begin at once, when the pipe closes.
RUNNER = """
import json, os, sys
from tenantry.errors import *
from tenantry.names import SlugRule
from tenantry.registry.registry import Registry
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

kind, where, processes, body = json.loads(sys.argv[1])
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
    os.read(go_read, 1)
    store = SqliteFiles(where, "{slug}.db") if kind == "file" else PostgresSchemas(where, "org_{slug}")
    registry = Registry(store.control_engine, store.control_schema, store.describe())
    try:
        outcome = scope["work"](registry, store, number)
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


@dataclass(frozen=True)
class Plane:
    """A control plane, and what a test needs to look behind it."""

    store: Store
    registry: Registry
    where: str  # the URL or the root
    root: Path

    @property
    def tables(self) -> RegistryTables:
        return tables(self.store.control_schema)

    def rows(self, table: str) -> list[dict[str, object]]:
        """All rows of a table as they are, in the order of its key."""
        found = getattr(self.tables, table)
        with self.store.control_engine().connect() as connection:
            query = sa.select(found).order_by(*found.primary_key.columns)
            return [dict(row) for row in connection.execute(query).mappings()]

    def reserve(self, slug: str = "acme", **details: object) -> Reservation:
        given = {"name": slug.title(), "location": f"org_{slug}", **details}
        return self.registry.reserve(SlugRule(pattern="[A-Za-z0-9_-]+").parse(slug), **given)  # type: ignore[arg-type]


@pytest.fixture(params=["schema", "file"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plane]:
    """A control plane that nobody has initialized."""
    root = tmp_path / "storage"
    if request.param == "schema":
        where = request.getfixturevalue("postgres_url")
        store: Store = PostgresSchemas(where, name="org_{slug}")
    else:
        where = str(root)
        store = SqliteFiles(root, name="{slug}.db")
    yield Plane(store, Registry(store.control_engine, store.control_schema, store.describe()), where, root)
    store.close()


@pytest.fixture
def plane(bare: Plane) -> Plane:
    """A control plane with its tables."""
    bare.registry.upgrade()
    return bare


@pytest.fixture
def race(bare: Plane) -> Callable[..., list[object]]:
    """Run ``def work(registry, store, number)`` in twenty processes at once, and return what each did, or its error."""

    def run(body: str, processes: int = PROCESSES) -> list[object]:
        given = json.dumps([bare.store.kind, bare.where, processes, body])
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, given], capture_output=True, text=True, check=True, timeout=120
        )
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == processes, done.stderr
        return outcomes

    return run
