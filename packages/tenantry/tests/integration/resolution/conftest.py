"""The application of the routing tests with tenants that stay as they are, and one of a test's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent / "application"))
sys.path.insert(0, str(Path(__file__).parents[1] / "routing" / "application"))

from house import House

from tenantry import TenantStatus

MANY = 10  # tenants t0, t1 ... for crowds of requests


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """An empty database, for longer than one test."""
    name = f"resolution_{uuid4().hex[:12]}"
    url = sa.make_url(server)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as own:
        own.execute(f'CREATE DATABASE "{name}"')
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            own.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def schema_street(postgres_server_url: str) -> Iterator[str]:
    """A database with tenants."""
    with fresh_database(postgres_server_url) as url:
        settle("schema", url)
        yield url


@pytest.fixture(scope="session")
def file_street(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage root with tenants."""
    root = str(tmp_path_factory.mktemp("street"))
    settle("file", root)
    return root


def settle(kind: str, where: str) -> None:
    house = House(kind, where)
    tenancy = house.open(remembered=1.0)
    tenancy.initialize()
    house.provision("acme", "beta", "gone", *(f"t{number}" for number in range(MANY)))
    tenancy.registry.set_status(tenancy.get("gone"), TenantStatus.SUSPENDED)
    house.close()


@pytest.fixture(params=["schema", "file"])
def street(request: pytest.FixtureRequest) -> Iterator[House]:
    """acme, beta and t0 ... t9 are served, gone is suspended. Not to be changed. On either store."""
    house = House(request.param, request.getfixturevalue(f"{request.param}_street"))
    house.open(remembered=1.0)
    yield house
    house.close()


@pytest.fixture
def row(file_street: str) -> Iterator[House]:
    """The same on SQLite alone, for rules that no database has a part in."""
    house = House("file", file_street)
    house.open(remembered=1.0)
    yield house
    house.close()


@pytest.fixture(params=["schema", "file"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """acme and beta, to be changed, on either store."""
    where = request.getfixturevalue("postgres_url") if request.param == "schema" else str(tmp_path / "storage")
    house = House(request.param, where)
    house.open(remembered=1.0).initialize()
    house.provision("acme", "beta")
    yield house
    house.close()


@pytest.fixture
def own_schemas(postgres_url: str) -> Iterator[House]:
    """The same on PostgreSQL alone."""
    house = House("schema", postgres_url)
    house.open(remembered=1.0).initialize()
    house.provision("acme", "beta")
    yield house
    house.close()
