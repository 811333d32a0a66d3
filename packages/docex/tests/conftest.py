"""An installation of DocEX for each test: its own directory, configuration and database, on SQLite and on
PostgreSQL.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa

from docex import DocEX, UserContext
from docex.cli import main
from docex.config.docex_config import DocEXConfig
from docex.config.settings import Settings
from docex.tenancy import tenancy_for

SCRIPTS = Path(sys.executable).parent
MULTI = {"multi_tenancy_model": "database_level", "tenant_database_routing": True}


@dataclass
class Installation:
    """One directory in which DocEX works, and the database it is configured for."""

    directory: Path
    url: sa.URL | None = None  # of PostgreSQL; None on SQLite
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "sqlite" if self.url is None else "postgres"

    @property
    def config_file(self) -> Path:
        return self.directory / "home" / "config.yaml"

    def database(self) -> dict[str, Any]:
        """The section ``database`` of the configuration."""
        if self.url is None:
            return {"type": "sqlite"}
        return {
            "type": "postgres",
            "postgres": {
                "host": self.url.query.get("host") or self.url.host,
                "port": int(self.url.query.get("port") or self.url.port or 5432),
                "database": self.url.database,
                "user": self.url.username,
                "password": self.url.password or "",
            },
        }

    def setup(self, **sections: Any) -> Installation:
        """Write the configuration: with tenants unless told otherwise."""
        DocEX.setup(**{"database": self.database(), "security": MULTI, **sections})
        return self

    def docex(self, tenant_id: str | None = "acme-corp", user_id: str = "alice", **options: Any) -> DocEX:
        return DocEX(UserContext(user_id=user_id, tenant_id=tenant_id), **options)

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run ``docex`` as a user would."""
        return self.command(["docex", *arguments], timeout=timeout)

    def here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process: a process for each command would take most of the time."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()  # contents are written to stdout as bytes
        with (
            mock.patch.dict(os.environ, self.environment),
            mock.patch("sys.stdin", io.StringIO()),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main(arguments)
        out.flush()
        said = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), said, err.getvalue())

    def command(self, command: list[str], *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run any program in the installation's directory."""
        path = os.pathsep.join((os.environ.get("COMMANDS", str(SCRIPTS)), str(SCRIPTS), os.environ["PATH"]))
        environment = {**os.environ, **self.environment, "PATH": path}
        program = shutil.which(command[0], path=path) or command[0]
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def file(self, name: str, content: bytes) -> str:
        """Make a file to add; returns the path as a user would write it."""
        (self.directory / name).write_bytes(content)
        return name

    def engine(self, tenant_id: str = "acme-corp") -> sa.Engine:
        """A connection past DocEX, as the owner of the database."""
        if self.url is None:
            file = self.directory / "storage" / f"tenant_{tenant_id}" / "docex.db"
            return sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
        return sa.create_engine(
            self.url.set(drivername="postgresql+psycopg"),
            poolclass=sa.NullPool,
            connect_args={"options": f"-c search_path=tenant_{tenant_id}"},
        )

    def query(self, sql: str, tenant_id: str = "acme-corp", **parameters: Any) -> list[tuple[Any, ...]]:
        """Ask one tenant's database past DocEX."""
        with self.engine(tenant_id).begin() as connection:
            result = connection.execute(sa.text(sql), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    def forget_store(self, tenant_id: str = "acme-corp") -> None:
        """Remove a tenant's schema or file as the guide does."""
        if self.url is None:
            directory = self.directory / "storage" / f"tenant_{tenant_id}"
            for file in directory.iterdir():
                file.unlink()
        else:
            self.query(f'DROP SCHEMA IF EXISTS "tenant_{tenant_id}" CASCADE')

    def stores(self) -> list[str]:
        """The ids of the tenants whose schema or file is there."""
        if self.url is None:
            return sorted(
                p.parent.name.removeprefix("tenant_") for p in self.directory.glob("storage/tenant_*/docex.db")
            )
        rows = self.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'")
        return sorted(name.removeprefix("tenant_") for (name,) in rows)

    def files(self) -> dict[str, str]:
        """Every file below the directory with a checksum, SQLite's own side files left out."""
        return {
            str(path.relative_to(self.directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation on SQLite, nothing configured yet."""
    yield from _installed(tmp_path, monkeypatch, None)


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation on each database, nothing configured yet."""
    url = None if request.param == "sqlite" else sa.make_url(request.getfixturevalue("postgres_url"))
    yield from _installed(tmp_path, monkeypatch, url)


@pytest.fixture(params=["sqlite", "postgres"])
def prepared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The same, for tests that are not about the first access: the registry is there, and the plan of a new tenant."""
    url = None if request.param == "sqlite" else sa.make_url(request.getfixturevalue("postgres_copy")(_with_registry))
    yield from _installed(tmp_path, monkeypatch, url)


def _with_registry(url: str) -> None:
    database = Installation(Path.cwd(), sa.make_url(url)).database()
    tenancy = tenancy_for(Settings.model_validate({"database": database, "security": MULTI}))
    tenancy.initialize()
    tenancy.planner.plan(None, tenancy.head())
    tenancy.close()


@pytest.fixture
def on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Iterator[Installation]:
    """An installation on PostgreSQL, nothing configured yet."""
    yield from _installed(tmp_path, monkeypatch, sa.make_url(postgres_url))


def _installed(directory: Path, monkeypatch: pytest.MonkeyPatch, url: sa.URL | None) -> Iterator[Installation]:
    directory = directory / "place"
    directory.mkdir()
    environment = {"DOCEX_HOME": str(directory / "home"), "HOME": str(directory / "user")}
    monkeypatch.delenv("DOCEX_CONFIG_FILE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(directory)
    yield Installation(directory, url, environment)
    DocEX.reset()


@pytest.fixture
def config(installation: Installation) -> DocEXConfig:
    """The configuration of a fresh installation."""
    return DocEXConfig()
