"""A tenant per module to load tables into, and the published tables where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy

TABLES = "BEAK_WHONET_TABLES"  # names the directory; else it is looked for beside the checkout
BESIDE = Path(__file__).parents[5].parent / "shared" / "data" / "whonet"


@pytest.fixture(scope="session")
def whonet() -> Path:
    """The directory of WHONET's tables, which are no part of the project."""
    directory = Path(os.environ.get(TABLES) or BESIDE)
    if not directory.is_dir():
        pytest.skip(f"WHONET's tables are not at hand: set {TABLES} to their directory")
    return directory


@pytest.fixture(scope="module")
def module_url(postgres_server_url: str) -> Iterator[str]:
    """A database of the module's own."""
    server, name = make_url(postgres_server_url), f"test_{uuid4().hex[:16]}"
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            roles = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE '%%' || "
                "(SELECT oid::text FROM pg_database WHERE datname = %s)",
                [name],
            ).fetchall()
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            for (role,) in roles:
                connection.execute(f'DROP ROLE IF EXISTS "{role}"'.encode())


@pytest.fixture(scope="module")
def tenancy(module_url: str) -> Iterator[Tenancy]:
    """A tenancy with the tenant `one`."""
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=module_url))
    tenancy.initialize()
    tenancy.provision("one", name="One")
    yield tenancy
    tenancy.close()
