"""One test body over both stores: a place where tenants can lie, applications made up for one test, child processes.

The PostgreSQL of these fixtures is one database per run, emptied after each test: making one for every test would take
longer than the tests. A test that changes the database itself asks for ``postgres_url``.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.migrations.fingerprint import Fingerprint, fingerprint
from tenantry.registry.tables import tables
from tenantry.stores.base import Store
from tenantry.tenant import Tenant

# A busy machine is no fault of what is tested; tests that search longer say so themselves.
settings.register_profile("tenantry", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tenantry")

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "benchmarks" / "fleet" / "migrations"
NOTES = ROOT / "examples" / "notes" / "migrations"

# What plain Alembic runs here: nothing of the engine, so that the two can be compared.
PLAIN_ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
"""
TEMPLATE = '''"""${message}"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''

# Imports once, then forks for every case: a process of its own with no threads. The parent says how each ended.
RUNNER = """
import json, os, resource, signal, sys, threading
from pathlib import Path
import sqlalchemy as sa
from tenantry import *
from tenantry.errors import *

kind, where, directory, readiness, source, cases = json.loads(sys.argv[1])
names = dict(globals())
exec(source, names)
for case in cases:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        store = SqliteFiles(where, "tenant_{slug}/data.db") if kind == "file" else PostgresSchemas(where, "org_{slug}")
        tenancy = Tenancy(store, Migrations(Path(directory)), readiness=readiness, seeds=names.get("seeds", ()))
        try:
            outcome = names["work"](tenancy, case)
        except TenancyError as error:
            outcome = f"{type(error).__name__}: {error}"
        except BaseException as error:
            outcome = f"unexpected {type(error).__name__}: {error}"
        os.write(write, json.dumps(outcome).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as results:
        told = results.read()
    status = os.waitpid(child, 0)[1]
    print(json.dumps([os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, told and json.loads(told)]))
"""


@dataclass
class Chain:
    """An Alembic script directory that a test writes."""

    directory: Path
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.directory / "versions").mkdir(parents=True)
        (self.directory / "env.py").write_text(PLAIN_ENV)
        (self.directory / "script.py.mako").write_text(TEMPLATE)

    def add(
        self,
        revision: str,
        upgrade: str,
        downgrade: str = "pass",
        *,
        down: str | Sequence[str] | None = "",
        head: str = "",
    ) -> Chain:
        """Write a revision on top of the last one, or of ``down``. ``head``: source in front of its functions."""
        if down == "":
            down = self.written[-1] if self.written else None
        body = "\n".join(
            [
                f'"""{revision}"""',
                "import datetime, decimal, uuid",
                "import sqlalchemy as sa",
                "from alembic import op",
                f"revision, down_revision = {revision!r}, {down!r}",
                textwrap.dedent(head),
                "def upgrade() -> None:",
                textwrap.indent(textwrap.dedent(upgrade).strip(), "    "),
                "def downgrade() -> None:",
                textwrap.indent(textwrap.dedent(downgrade).strip(), "    "),
                "",
            ]
        )
        (self.directory / "versions" / f"{revision}.py").write_text(body)
        if revision not in self.written:
            self.written.append(revision)
        return self

    def remove(self, revision: str) -> None:
        """Take the file of a revision away."""
        (self.directory / "versions" / f"{revision}.py").unlink()
        self.written.remove(revision)

    @property
    def migrations(self) -> Migrations:
        """The directory as it is now."""
        return Migrations(self.directory)


@dataclass
class Place:
    """Where the tenants of one test lie, and what the test needs to look behind the engine."""

    kind: str  # schema, file
    where: str  # URL of the owner, or the storage root
    scratch: Path
    _opened: list[Tenancy] = field(default_factory=list)

    @property
    def on_postgres(self) -> bool:
        return self.kind == "schema"

    def store(self, **options: Any) -> Store:
        if self.on_postgres:
            return PostgresSchemas(self.where, "org_{slug}", **options)
        return SqliteFiles(self.where, "tenant_{slug}/data.db", **options)

    def location(self, slug: str) -> str:
        return f"org_{slug}" if self.on_postgres else f"tenant_{slug}/data.db"

    def tenancy(self, chain: Chain | Path, **declared: Any) -> Tenancy:
        """An application of its own on this place, as a process that starts now would build it."""
        directory = chain.directory if isinstance(chain, Chain) else chain
        tenancy = Tenancy(declared.pop("store", None) or self.store(), Migrations(directory), **declared)
        self._opened.append(tenancy)
        return tenancy

    def close(self) -> None:
        for tenancy in self._opened:
            tenancy.close()

    def children(
        self, chain: Chain | Path, source: str, cases: Sequence[Any], *, readiness: Sequence[str] = ()
    ) -> list[tuple[int, Any]]:
        """Run ``def work(tenancy, case)`` in one child process per case, one after the other.

        Returns for each the signal that ended it and what it returned, or its error in words.
        """
        directory = chain.directory if isinstance(chain, Chain) else chain
        given = json.dumps([self.kind, self.where, str(directory), list(readiness), textwrap.dedent(source), cases])
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, given], capture_output=True, text=True, check=False, timeout=150
        )
        assert done.returncode == 0, done.stderr
        outcomes = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
        assert len(outcomes) == len(cases), done.stderr
        return outcomes

    def killed(self, outcome: tuple[int, Any]) -> bool:
        return outcome[0] == signal.SIGKILL

    # -- behind the engine's back

    @contextmanager
    def raw(self, slug: str) -> Iterator[sa.Connection]:
        """A plain connection of the owner to one tenant's tables; commits at the end."""
        if self.on_postgres:
            engine = sa.create_engine(self.where.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
            with engine.begin() as connection:
                connection.execute(sa.text(f'SET LOCAL search_path TO "{self.location(slug)}"'))
                yield connection
        else:
            path = Path(self.where) / self.location(slug)
            engine = sa.create_engine(f"sqlite:///file:{path}?mode=rw&uri=true", poolclass=sa.NullPool)
            with engine.begin() as connection:
                yield connection
        engine.dispose()

    def shape(self, slug: str) -> Fingerprint:
        with self.raw(slug) as connection:
            return fingerprint(connection)

    def rows(self, slug: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with self.raw(slug) as connection:
            query = f'SELECT {", ".join(columns) or "*"} FROM "{table}" ORDER BY 1'
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def everything(self, slug: str) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table of a tenant."""
        with self.raw(slug) as connection:
            names = sorted(sa.inspect(connection).get_table_names())
        return {name: sorted(self.rows(slug, name), key=repr) for name in names}

    def write(self, slug: str, *statements: str) -> None:
        with self.raw(slug) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def has(self, slug: str) -> bool:
        """Whether the tenant's schema or file is there."""
        return self.location(slug) in self.physical()

    def physical(self) -> set[str]:
        """Every schema and role, or file, that belongs to tenants or was left by work on them."""
        if not self.on_postgres:
            root = Path(self.where)
            kept = {"registry.db", "registry.db-wal", "registry.db-shm"}
            found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
            return {
                name
                for name in found
                if name not in kept and not name.endswith((".lock", "-wal", "-shm")) and not is_template(name)
            }
        with owner(self.where) as connection:
            schemas = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN"
                " ('public', 'platform', 'information_schema')"
            ).fetchall()
            roles = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE '%@' || (SELECT oid FROM pg_database"
                " WHERE datname = current_database())"
            ).fetchall()
            return {row[0] for row in (*schemas, *roles)}

    def belongings(self, tenants: Sequence[Tenant]) -> set[str]:
        """What these tenants should have of that."""
        return {tenant.location for tenant in tenants} | {tenant.role for tenant in tenants if tenant.role}

    def replay(self, directory: Path, slug: str) -> None:
        """Make a tenant's tables as plain Alembic would, revision by revision, with nothing of the engine."""
        from alembic import command
        from alembic.config import Config

        copy = self.scratch / f"plain-{uuid4().hex}"
        shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "env.py").write_text(PLAIN_ENV)
        config = Config()
        config.set_main_option("script_location", str(copy))
        config.set_main_option("path_separator", "os")
        if self.on_postgres:
            with owner(self.where) as connection:
                connection.execute(f'CREATE SCHEMA "{self.location(slug)}"')
            engine = sa.create_engine(
                self.where.replace("postgresql:", "postgresql+psycopg:"),
                poolclass=sa.NullPool,
                connect_args={"options": f"-csearch_path={self.location(slug)}"},
            )
        else:
            path = Path(self.where) / self.location(slug)
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        engine.dispose()


def is_template(name: str) -> bool:
    """Whether a file of the engine's own directory is a finished template."""
    return name.startswith(".tenantry/template-") and name.endswith(".db")


@contextmanager
def owner(url: str) -> Iterator[Any]:
    """A driver's connection of the owner, in autocommit."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A database with an empty registry, for one test after the other."""
    name = f"shared_{uuid4().hex[:16]}"
    with owner(postgres_server_url) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = sa.make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    try:
        tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(NOTES))
        tenancy.initialize()
        tenancy.close()
        yield url
    finally:
        with owner(postgres_server_url) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite registry without a tenant."""
    root = tmp_path_factory.mktemp("registry")
    tenancy = Tenancy(SqliteFiles(root, "{slug}/data.db"), Migrations(NOTES))
    tenancy.initialize()
    tenancy.close()
    return root / "registry.db"


@pytest.fixture(params=["schema", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with an empty registry, on each of the two databases."""
    if request.param == "schema":
        place = Place("schema", request.getfixturevalue("shared_postgres_url"), tmp_path)
    else:
        place = Place("file", str(tmp_path / "storage"), tmp_path)
        (tmp_path / "storage").mkdir()
        shutil.copyfile(request.getfixturevalue("empty_registry"), tmp_path / "storage" / "registry.db")
    try:
        yield place
    finally:
        place.close()
        if place.on_postgres:
            empty(place.where)


def empty(url: str) -> None:
    """Leave nothing of a test in the shared database."""
    with owner(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN"
            " ('public', 'platform', 'information_schema')"
        ).fetchall()
        for (schema,) in schemas:
            connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '%@' || (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        ).fetchall()
        for (role,) in roles:
            connection.execute(f'DROP ROLE "{role}"')
        names = ", ".join(table.fullname for table in tables("platform").metadata.sorted_tables)
        connection.execute(f"TRUNCATE {names}")


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """An empty script directory."""
    return Chain(tmp_path / "migrations")


@pytest.fixture
def chains(tmp_path: Path) -> Callable[[], Chain]:
    """As many of them as a test wants."""
    return lambda: Chain(tmp_path / f"migrations-{uuid4().hex[:6]}")


@pytest.fixture
def simple(chain: Chain) -> Chain:
    """Three revisions: organization, note, and a column of note."""
    chain.add(
        "r1",
        """
        op.create_table(
            "organization", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.String(80))
        )
        """,
        'op.drop_table("organization")',
    )
    chain.add(
        "r2",
        """
        op.create_table(
            "note",
            sa.Column("id", sa.Integer(), primary_key=True),
            sa.Column("organization_id", sa.Integer(), sa.ForeignKey("organization.id", name="fk_note_organization")),
            sa.Column("body", sa.Text()),
        )
        op.create_index("ix_note_organization", "note", ["organization_id"])
        """,
        'op.drop_table("note")',
    )
    chain.add(
        "r3",
        'op.add_column("note", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))',
        'with op.batch_alter_table("note") as table:\n    table.drop_column("pinned")',
    )
    return chain


@pytest.fixture
def fleet() -> Path:
    """The application of 30 tables that benchmarks measure."""
    return FLEET


@pytest.fixture
def notes() -> Path:
    """The example application's revisions."""
    return NOTES
