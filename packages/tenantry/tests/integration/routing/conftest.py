"""A small application on either store, what its server sees of it, and processes that race for it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenantry.pytest_plugin import Prepare

APPLICATION = Path(__file__).parent / "application"
sys.path.insert(0, str(APPLICATION))  # for the tests; the processes they start are told by PYTHONPATH

from canaries import open_tenancy  # noqa: E402
from house import House  # noqa: E402

PROCESSES = 20

# Runs as a process of its own, with no threads, so that it may fork. All children begin at once, when the pipe closes.
RUNNER = """
import json, os, sys, time
import alembic.command, psycopg, sqlalchemy as sa
from tenantry.errors import *
from tenantry.tenant import TenantStatus
from canaries import *

kind, where, processes, body, settings = json.loads(sys.argv[1])
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
    tenancy = open_tenancy(kind, where, **settings)
    os.read(go_read, 1)
    try:
        outcome = scope["work"](tenancy, number)
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


def _prepared(kind: str, where: str) -> None:
    """The control plane, and the plan of a new tenant."""
    tenancy = open_tenancy(kind, where)
    tenancy.initialize()
    tenancy.planner.plan(None, tenancy.head())
    tenancy.close()


def _prepared_database(url: str) -> None:
    _prepared("schema", url)


@pytest.fixture(scope="session")
def prepared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original") / "storage"
    _prepared("file", str(root))
    return root


@pytest.fixture
def schemas(postgres_copy: Callable[[Prepare], str]) -> Iterator[House]:
    """The application on PostgreSQL, its control plane ready."""
    house = House("schema", postgres_copy(_prepared_database))
    house.open()
    yield house
    house.close()


@pytest.fixture
def files(tmp_path: Path, prepared_root: Path) -> Iterator[House]:
    """The application on SQLite, its control plane ready."""
    shutil.copytree(prepared_root, tmp_path / "storage")
    house = House("file", str(tmp_path / "storage"))
    house.open()
    yield house
    house.close()


@pytest.fixture(params=["schemas", "files"])
def house(request: pytest.FixtureRequest) -> House:
    """The application on either store."""
    found: House = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def async_house(house: House) -> AsyncIterator[House]:
    """The same, its asyncio connections closed in the test's own event loop."""
    yield house
    await house.aclose()


@pytest.fixture
async def async_schemas(schemas: House) -> AsyncIterator[House]:
    """PostgreSQL alone."""
    yield schemas
    await schemas.aclose()


Race = Callable[..., list[Any]]


@pytest.fixture
def race() -> Race:
    """Run ``def work(tenancy, number)`` in twenty processes at once, and return what each did, or its error."""

    def run(house: House, body: str, processes: int = PROCESSES, **settings: Any) -> list[Any]:
        given = json.dumps([house.kind, house.where, processes, body, settings])
        environment = {**os.environ, "PYTHONPATH": str(APPLICATION)}
        with subprocess.Popen(
            [sys.executable, "-c", RUNNER, given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        ) as running:
            try:
                printed, said = running.communicate(timeout=120)
            except BaseException:
                os.killpg(running.pid, signal.SIGKILL)  # its children too: they would hold the pipes
                raise
        outcomes = [json.loads(line) for line in printed.splitlines()]
        assert len(outcomes) == processes, said
        return outcomes

    return run
