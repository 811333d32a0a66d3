"""pytest fixtures for code that needs a real PostgreSQL: a server per run, a database per test, empty or a copy.

``TENANTRY_TEST_POSTGRES_URL`` names a server to use; otherwise one embedded server is started for the whole run, shared
by all xdist workers, and thrown away at its end. It does not sync to disk: what it holds is lost if the machine stops.
A run that is killed leaves its server behind; the next run removes it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

Prepare = Callable[[str], object]  # given the URL of an empty database
Copies = Callable[[Prepare], AbstractContextManager[str]]

SERVER_VARIABLE = "TENANTRY_TEST_POSTGRES_URL"
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "300",
    "file_copy_method": "clone",  # a database per test: the kernel copies its files, some ten times quicker
}

_PREFIX = "tenantry-test-"  # then the run's process id, so that a later run can tell whether it still lives
_directory_key = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def postgres_server_url(request: pytest.FixtureRequest) -> str:
    """The URL of a server on which the tests may create databases and roles."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        return given
    from tenantry.embedded import EmbeddedPostgres  # not where every pytest run of a project would load it

    return EmbeddedPostgres(_directory(request.config), settings=SETTINGS).start()


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of an empty database, dropped after the test with the roles that were made for it."""
    with _database(postgres_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_copies(postgres_server_url: str) -> Iterator[Copies]:
    """Called with a function, a copy of the database that the function prepares: a context manager that gives its URL
    and drops it at the end.

    The function is called once a run (once a worker, with xdist) with the URL of an empty database, and must leave no
    connection to it open. A copy takes as long as an empty database, so a control plane and compiled plans are best
    made once. Not tenants: their roles belong to the database in which they were made.
    """
    originals: dict[Prepare, str] = {}
    with ExitStack() as stack:

        def copy(prepare: Prepare) -> AbstractContextManager[str]:
            if prepare not in originals:
                url = stack.enter_context(_database(postgres_server_url))
                prepare(url)
                originals[prepare] = url
            return _database(postgres_server_url, originals[prepare])

        yield copy


@pytest.fixture
def postgres_copy(postgres_copies: Copies) -> Iterator[Callable[[Prepare], str]]:
    """The same for one test: the URL, whose database is dropped after the test."""
    with ExitStack() as stack:
        yield lambda prepare: stack.enter_context(postgres_copies(prepare))


@contextmanager
def _database(server_url: str, original: str | None = None) -> Iterator[str]:
    from sqlalchemy import make_url

    server = make_url(server_url)
    name = f"test_{uuid4().hex[:16]}"
    with _connection(server) as connection:
        before = _roles_of(connection, name)
        template = "" if original is None else f'TEMPLATE "{make_url(original).database}"'
        strategy = "" if os.environ.get(SERVER_VARIABLE) else "STRATEGY FILE_COPY"
        connection.execute(f'CREATE DATABASE "{name}" {template} {strategy}')
    try:
        yield _rendered(server.set(database=name))
    finally:
        with _connection(server) as connection:
            made = _roles_of(connection, name) - before
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            _drop_roles(connection, made)


@pytest.fixture
def non_superuser_url(postgres_url: str) -> str:
    """The URL of ``postgres_url``'s database for a user who may create schemas and roles, and is no superuser.

    The user goes with the database: until then it owns what the test made.
    """
    from sqlalchemy import make_url

    url = make_url(postgres_url)
    name, password = f"plain_{uuid4().hex[:16]}", uuid4().hex
    with _connection(url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'")
        connection.execute(f'GRANT CREATE, CONNECT, TEMPORARY ON DATABASE "{url.database}" TO {name}')
    return _rendered(url.set(username=name, password=password))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the run's one server lies."""
    if not os.environ.get(SERVER_VARIABLE):
        node.workerinput["tenantry_directory"] = str(_directory(node.config))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the run's server and remove it. A worker leaves that to the process that started it."""
    directory = config.stash.get(_directory_key, None)
    if directory is not None and not hasattr(config, "workerinput"):
        _remove(directory)


def _directory(config: pytest.Config) -> Path:
    directory = config.stash.get(_directory_key, None)
    if directory is None:
        worker = getattr(config, "workerinput", None)
        if worker is None:
            _remove_abandoned()
            directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        else:
            directory = Path(worker["tenantry_directory"])
        config.stash[_directory_key] = directory
    return directory


def _remove_abandoned() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        run = re.fullmatch(rf"{_PREFIX}(\d+)-.*", directory.name)
        if run is None or directory.stat().st_uid != os.geteuid():
            continue
        try:
            os.kill(int(run[1]), 0)
        except ProcessLookupError:
            _remove(directory)
        except PermissionError:
            continue


def _remove(directory: Path) -> None:
    from tenantry.embedded import EmbeddedPostgres

    EmbeddedPostgres(directory).stop()
    shutil.rmtree(directory, ignore_errors=True)  # two runs may remove one abandoned server


@contextmanager
def _connection(url: URL) -> Iterator[psycopg.Connection]:
    import psycopg

    with psycopg.connect(_rendered(url.set(drivername="postgresql")), autocommit=True) as connection:
        yield connection


def _rendered(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _roles_of(connection: psycopg.Connection, database: str) -> set[str]:
    """The roles that own something in a database, or were granted something in it or on it."""
    rows = connection.execute(
        """
        SELECT DISTINCT r.rolname FROM pg_shdepend d
        JOIN pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
        JOIN pg_database b ON b.oid = d.dbid OR (d.classid = 'pg_database'::regclass AND b.oid = d.objid)
        WHERE b.datname = %s AND r.rolname <> current_user AND r.oid >= 16384
        """,
        [database],
    )
    return {row[0] for row in rows}


def _drop_roles(connection: psycopg.Connection, roles: set[str]) -> None:
    import psycopg
    from psycopg import sql

    # A role that another role granted memberships by goes after that one, so try until nothing more can go.
    left = set(roles)
    while left:
        dropped = set()
        for role in left:
            try:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
                dropped.add(role)
            except psycopg.errors.DependentObjectsStillExist:
                continue  # it also has something in another database, or granted what another role still has
        left -= dropped
        if not dropped:
            break
