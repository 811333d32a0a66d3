"""The installed command in a shell: a directory and an environment of its own, and a real database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy

BIN = Path(sys.executable).parent
TIMEOUT = 120  # seconds; a command that waits for an answer must not wait for ever


@dataclass
class Shell:
    """Runs command lines as a person would paste them; nobody is there to answer questions."""

    directory: Path
    environment: dict[str, str]
    ran: list[str] = field(default_factory=list)
    freshly: bool = False  # in a Python of the command's own, from its start

    def __call__(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.ran.append(command)
        known = {**self.environment, **environment}
        # Python reads its variables when it starts, so a process that is there already would pass them over.
        if self.freshly or any(name.startswith("PYTHON") for name in known):
            known["PATH"] = f"{BIN}:{known['PATH']}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=known,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def ok(self, command: str, **environment: str) -> str:
        """What the command wrote to stdout; it must succeed."""
        done = self(command, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def refused(self, command: str, **environment: str) -> str:
        """What the command said; it must fail with exit 1 and one line on stderr, nothing on stdout."""
        done = self(command, **environment)
        assert done.returncode == 1, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stdout == ""
        return done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def bare_shell(tmp_path: Path) -> Shell:
    """A shell that knows no database."""
    directory = tmp_path / "work"
    directory.mkdir()
    commands = os.environ.get("COMMANDS", BIN)
    environment = {
        "PATH": f"{commands}:{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
    }
    return Shell(directory, environment)


@pytest.fixture
def shell(bare_shell: Shell, postgres_url: str) -> Shell:
    """A shell whose BEAK_DATABASE_URL is a fresh database."""
    bare_shell.environment["BEAK_DATABASE_URL"] = postgres_url
    return bare_shell


@pytest.fixture
def embedded_shell(bare_shell: Shell, tmp_path: Path) -> Iterator[Shell]:
    """A shell with a BEAK_HOME of its own; its embedded server is stopped and removed afterwards."""
    home = tmp_path / "home"
    bare_shell.environment["BEAK_HOME"] = str(home)
    yield bare_shell
    bare_shell.ok("beak-lims db stop")
    shutil.rmtree(home)


@pytest.fixture
def platform(bare_shell: Shell, database: str) -> Shell:
    """A shell whose database has the control plane."""
    bare_shell.environment["BEAK_DATABASE_URL"] = database
    return bare_shell


@pytest.fixture
def one(platform: Shell) -> Shell:
    """A shell whose database has the tenant `one`, called Lab One."""
    with tenancy_of(platform) as tenancy:
        tenancy.provision("one", name="Lab One")
    return platform


@contextmanager
def tenancy_of(shell: Shell) -> Iterator[Tenancy]:
    """What the commands of the shell work on, without their start-up time."""
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=shell.environment["BEAK_DATABASE_URL"]))
    try:
        yield tenancy
    finally:
        tenancy.close()


Query = Callable[..., list[tuple[object, ...]]]
# The roles of one tenant; other databases of the server may have tenants of the same slug.
ROLES = """
SELECT rolname FROM pg_roles WHERE rolname LIKE %s
AND rolname LIKE '%%' || (SELECT oid::text FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def query(bare_shell: Shell) -> Query:
    """Asks the database itself, beside the application."""
    return lambda statement, *values: ask(bare_shell.environment["BEAK_DATABASE_URL"], statement, *values)


def ask(url: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    """The rows that a statement gives, sent past the application."""
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []
