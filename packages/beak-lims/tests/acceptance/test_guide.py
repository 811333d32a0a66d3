"""The guide that users hold, pasted command by command into a shell, does what it says on both kinds of server."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from .conftest import Shell

GUIDE = Path(__file__).with_name("data") / "guide.md"
BREAK = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'out of order'; END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION refuse();
"""
REPAIR = "DROP EVENT TRIGGER refuse; DROP FUNCTION refuse();"


def commands() -> list[str]:
    """Every command of the guide in its order, a continued line as one."""
    text = GUIDE.read_text()
    bootstrap = re.findall(r"^  - `(beak-lims [^`]+)`$", text, re.MULTILINE)
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return bootstrap + [line for line in blocks.splitlines() if line.strip() and not line.startswith("#")]


def test_the_guide_is_read_whole() -> None:
    assert len(commands()) == 22
    assert commands()[:2] == ["beak-lims db upgrade", "beak-lims seed platform-superuser"]


@pytest.mark.parametrize("shell_of", [pytest.param("shell", marks=pytest.mark.slow), "embedded_shell"])
def test_the_guide_pasted_command_by_command_does_what_it_says(shell_of: str, request: pytest.FixtureRequest) -> None:
    shell: Shell = request.getfixturevalue(shell_of)
    said: dict[str, str] = {}  # on stdout
    told: dict[str, str] = {}  # on stderr
    for command in commands():
        if "ultral11" in command:
            fail_a_tenant(shell, "ultral11")
        done = shell(command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        said[command], told[command] = done.stdout, done.stderr

    provision = next(command for command in said if "tenant provision" in command)
    assert "Provisioned tenant: ultral12 -> org_ultral12" in said[provision]
    assert "ultralytics@gmail.com" in said[provision]
    assert said["beak-lims tenant list"] == said["beak-lims tenant list --status active"]
    assert said["beak-lims tenant list"].startswith("ultral12\torg_ultral12\tactive")
    assert said["beak-lims tenant list --status provisioning"] == ""
    assert said["beak-lims tenant list --status failed"] == ""
    assert "organization" in told["beak-lims tenant activate --slug ultral12 --force"]
    assert "ultral11" in said["beak-lims tenant cleanup --slug ultral11 --drop-schema"]
    assert "No failed tenants found." in said["beak-lims tenant cleanup --drop-schema"]
    assert "created" in said['beak-lims tenant add-lab --slug ultral12 --name "Dato Laboratory 2"']
    again = said['beak-lims tenant add-lab --slug ultral12 --name "Dato Laboratory 2" --setup-name beak']
    assert "already exist" in again

    seeded = said["beak-lims seed all --tenant-slug ultral12"]
    assert seeded.startswith("ultral12\tseeded\t")
    assert "ultral12\torganism\tadded 62" in seeded
    again = said["beak-lims seed microbiology --tenant-slug ultral12"]
    assert again.startswith("ultral12\tseeded\tnothing to do\n")

    with connect(shell) as connection:
        assert connection.execute("SELECT count(*) FROM org_ultral12.analysis").fetchone() == (47,)
        schemas = {row[0] for row in connection.execute("SELECT nspname FROM pg_namespace")}
        assert "org_ultral12" in schemas
        assert "org_ultral11" not in schemas
        rows = connection.execute("SELECT name, slug, location, status FROM platform.tenant").fetchall()
        assert rows == [("Ultralytics Damegio", "ultral12", "org_ultral12", "active")]
        assert connection.execute("SELECT setup_name, name FROM org_ultral12.organization").fetchall() == [
            ("beak", "Ultralytics Damegio")
        ]
        laboratories = connection.execute("SELECT name FROM org_ultral12.laboratory ORDER BY name").fetchall()
        assert laboratories == [("Dato Laboratory 1",), ("Dato Laboratory 2",)]
        assert connection.execute("SELECT count(*) FROM org_ultral12.laboratory_setting").fetchone() == (2,)
        administrators = connection.execute('SELECT email, must_change_password FROM org_ultral12."user"').fetchall()
        assert administrators == [("ultralytics@gmail.com", True)]
        head = connection.execute("SELECT version_num FROM org_ultral12.alembic_version").fetchone()
        assert head is not None
        assert connection.execute("SELECT revision FROM platform.tenant").fetchone() == head


def fail_a_tenant(shell: Shell, slug: str) -> None:
    """Provision a tenant in a database that refuses tables for a while, so that it fails half-way."""
    with connect(shell) as connection:
        connection.execute(BREAK)
        try:
            shell.refused(f'beak-lims tenant provision --name "{slug}" --slug {slug}')
        finally:
            connection.execute(REPAIR)
    assert shell.ok("beak-lims tenant list --status failed").startswith(f"{slug}\torg_{slug}\tfailed")


def connect(shell: Shell) -> psycopg.Connection:
    url = shell.environment.get("BEAK_DATABASE_URL") or embedded_url(shell)
    return psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)


def embedded_url(shell: Shell) -> str:
    from tenantry.embedded import EmbeddedPostgres

    return EmbeddedPostgres(Path(shell.environment["BEAK_HOME"]) / "postgres").url("beak_lims")


def test_the_guides_troubleshooting_messages_appear_word_for_word(one: Shell) -> None:
    missing = "Tenant slug 'nobody' not found"
    for command in ("seed all", "seed microbiology", "snapshot refresh-all"):
        assert one.refused(f"beak-lims {command} --tenant-slug nobody").startswith(missing)
    fail_a_tenant(one, "broken")
    for command in ("seed all", "seed microbiology", "snapshot refresh-all"):
        said = one.refused(f"beak-lims {command} --tenant-slug broken")
        assert said.startswith("Tenant 'broken' is not active")
