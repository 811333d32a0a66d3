"""A server that is down, a wrong password, a damaged file: one line on stderr, exit 1, no secret in it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tenantry.embedded import EmbeddedPostgres

from .conftest import ROLES, Query, Shell
from .test_guide import fail_a_tenant

COMMANDS = [
    "db upgrade",
    "seed platform-superuser --password hidden-Pass-1",
    "tenant list",
    "tenant provision --name X --slug one --admin-email a@b.example",
    "tenant add-lab --slug one --name Lab",
]


def test_server_that_is_down_is_one_line_without_the_password(bare_shell: Shell) -> None:
    url = "postgresql://beak:hidden-Pass-1@127.0.0.1:1/lims"
    for command in COMMANDS:
        said = bare_shell.refused(f"beak-lims {command}", BEAK_DATABASE_URL=url)
        assert "hidden" not in said
        assert "127.0.0.1" in said


@pytest.fixture
def guarded_url(tmp_path: Path) -> Iterator[str]:
    """A server that asks for passwords, with the user `beak` on it."""
    server = EmbeddedPostgres(tmp_path / "guarded", settings={"fsync": "off"})
    plain = server.start().replace("postgresql+psycopg://", "postgresql://")
    try:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE ROLE beak LOGIN PASSWORD 'the-right-one'")
            rules = Path(str(connection.execute("SHOW hba_file").fetchone()[0]))  # type: ignore[index]
            rules.write_text("local all beak scram-sha-256\n" + rules.read_text())
            connection.execute("SELECT pg_reload_conf()")
        yield plain.replace("postgres@", "beak:hidden-Pass-1@")
    finally:
        server.stop()


def test_wrong_password_is_one_line_that_does_not_show_it(bare_shell: Shell, guarded_url: str) -> None:
    said = bare_shell.refused("beak-lims tenant list", BEAK_DATABASE_URL=guarded_url)
    assert "password authentication failed" in said
    assert "hidden" not in said


def test_database_that_does_not_exist_is_one_line(bare_shell: Shell, postgres_url: str) -> None:
    url = postgres_url.replace("/test_", "/missing_")
    assert "does not exist" in bare_shell.refused("beak-lims tenant list", BEAK_DATABASE_URL=url)


def test_registry_that_is_not_there_yet_names_the_command_that_makes_it(shell: Shell, query: Query) -> None:
    for command in COMMANDS[1:]:
        said = shell.refused(f"beak-lims {command}")
        assert said.startswith("Platform tenant registry is not initialized")
        assert "db upgrade" in said
    assert query("SELECT nspname FROM pg_namespace WHERE nspname IN ('platform', 'org_one')") == []


@pytest.mark.parametrize("content", [b"BEAK_DATABASE_URL='postgresql://u:hidden@h/d\n", b"\xff\xfeB\x00"])
def test_damaged_env_file_stops_every_command(bare_shell: Shell, content: bytes) -> None:
    (bare_shell.directory / ".env").write_bytes(content)
    said = bare_shell.refused("beak-lims tenant list")
    assert str(bare_shell.directory / ".env") in said
    assert "hidden" not in said


def test_env_file_of_the_working_directory_is_read(bare_shell: Shell, postgres_url: str) -> None:
    (bare_shell.directory / ".env").write_text(f"BEAK_DATABASE_URL='{postgres_url}'\nTENANT_SCHEMA_PREFIX=lab_\n")
    bare_shell.ok("beak-lims db upgrade")
    assert "one -> lab_one" in bare_shell.ok("beak-lims tenant provision --name One --slug one")


def test_home_that_cannot_be_made_is_one_line(bare_shell: Shell) -> None:
    said = bare_shell.refused("beak-lims db upgrade", BEAK_HOME="/proc/beak")
    assert "/proc/beak" in said


def test_embedded_server_is_left_alone_when_another_is_set(shell: Shell) -> None:
    assert "BEAK_DATABASE_URL" in shell.refused("beak-lims db stop")


def test_failed_provisioning_keeps_its_reason_and_leaves_nothing_else(platform: Shell, query: Query) -> None:
    fail_a_tenant(platform, "one")
    line = platform.ok("beak-lims tenant list --status failed").rstrip("\n").split("\t")
    assert line[:3] == ["one", "org_one", "failed"]
    assert "migrate" in line
    assert "out of order" in line[-1]
    assert query("SELECT nspname FROM pg_namespace WHERE nspname = 'org_one'") == []
    assert query(ROLES, "org_one%") == []
    assert platform.ok("beak-lims tenant list") == ""


def test_failed_tenant_is_cleaned_up_and_its_slug_free_again(platform: Shell, query: Query) -> None:
    fail_a_tenant(platform, "one")
    assert "one" in platform.ok("beak-lims tenant cleanup --drop-schema")
    assert query("SELECT count(*) FROM platform.tenant") == [(0,)]
    platform.ok("beak-lims tenant provision --name One --slug one")
    assert query("SELECT status FROM platform.tenant") == [("active",)]


def test_revision_that_this_build_does_not_know_is_refused(one: Shell, query: Query) -> None:
    query("UPDATE org_one.alembic_version SET version_num = 'ffffffffffff'")
    said = one.refused("beak-lims tenant migrate --slug one")
    assert "ffffffffffff" in said
    assert query("SELECT version_num FROM org_one.alembic_version") == [("ffffffffffff",)]
    assert query("SELECT status FROM platform.tenant") == [("active",)]


def test_lost_schema_is_said_and_made_again_by_migrate(platform: Shell, query: Query) -> None:
    platform.ok("beak-lims tenant provision --name One --slug one --initial-lab-name First")
    query("DROP SCHEMA org_one CASCADE")
    assert platform.refused("beak-lims db current --tenant-slug one")
    platform.ok("beak-lims tenant migrate --slug one")
    assert query("SELECT name FROM org_one.laboratory") == [("First",)]


def test_four_who_provision_one_slug_at_once_make_one_tenant(platform: Shell, query: Query) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(
            threads.map(
                lambda n: platform(f"beak-lims tenant provision --name N{n} --slug one --admin-email a{n}@one.example"),
                range(4),
            )
        )
    assert sorted(each.returncode for each in done) == [0, 1, 1, 1]
    for each in done:
        if each.returncode:
            assert each.stderr.startswith("error: Tenant")
            assert each.stderr.count("\n") == 1
    (winner,) = (n for n, each in enumerate(done) if each.returncode == 0)
    assert query("SELECT name, status FROM platform.tenant") == [(f"N{winner}", "active")]
    assert query('SELECT email FROM org_one."user"') == [(f"a{winner}@one.example",)]
