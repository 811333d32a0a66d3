"""The installed `tenantry` command, as a person types it, on SQLite and on PostgreSQL, with the notes example."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenantry.embedded import EmbeddedPostgres

NOTES = Path(__file__).parents[4] / "examples" / "notes"
COMMAND = str(Path(sys.executable).with_name("tenantry"))
BROKEN = '''
"""broken"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0004", "0003"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
    raise ValueError("the\\nprinter is on fire")
def downgrade():
    op.drop_table("half")
'''


class Application:
    """A copy of the notes example whose commands can be run."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        given = {k: v for k, v in os.environ.items() if not k.startswith(("NOTES_", "TENANTRY_"))} | self.environment
        return subprocess.run(
            [Path(os.environ.get("COMMANDS", Path(COMMAND).parent), "tenantry"), *arguments],
            cwd=self.directory,
            env=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def out(self, *arguments: str) -> str:
        """What the command prints; it must succeed."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def error(self, *arguments: str) -> str:
        """The one line that the command says on stderr; it must fail as a refusal and print no data."""
        ended = self.run(*arguments)
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert ended.stdout == ""
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        return ended.stderr

    def location(self, slug: str) -> str:
        return f"notes_{slug}" if "NOTES_DATABASE_URL" in self.environment else f"{slug}/notes.db"

    def break_head(self) -> None:
        (self.directory / "migrations" / "versions" / "0004_broken.py").write_text(BROKEN)

    def repair_head(self) -> None:
        (self.directory / "migrations" / "versions" / "0004_broken.py").unlink()


@pytest.fixture(params=["sqlite", "postgres"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Application:
    environment = {}
    if request.param == "postgres":
        environment["NOTES_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    directory = tmp_path / "notes"
    shutil.copytree(NOTES, directory, ignore=shutil.ignore_patterns("__pycache__", "data"))
    return Application(directory, environment)


@pytest.fixture
def ready(application: Application) -> Application:
    application.out("db", "upgrade")
    return application


@pytest.fixture
def failed(ready: Application) -> Iterator[Application]:
    """An application with one active tenant and one that failed on a broken revision."""
    ready.out("tenant", "provision", "--slug", "good")
    ready.break_head()
    ready.error("tenant", "provision", "--slug", "bad")
    return ready


def test_a_tenant_is_provisioned_listed_and_shown(ready: Application) -> None:
    told = ready.out("tenant", "provision", "--slug", "acme", "--name", "Acme Ltd", "--admin-email", "a@acme.example")
    place = ready.location("acme")

    assert told == f"Provisioned tenant: acme -> {place}\n"
    assert ready.out("tenant", "list") == f"acme\t{place}\tactive\t0003\n"
    shown = ready.out("tenant", "show", "--slug", "acme")
    assert "name: Acme Ltd\n" in shown
    assert "admin_email: a@acme.example\n" in shown
    steps = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert steps[:5] == ["reserve", "create", "migrate", "seed", "verify"]


def test_json_is_what_machines_read(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme", "--name", "Ács & Söhne")

    [tenant] = json.loads(ready.out("tenant", "list", "--json"))
    shown = json.loads(ready.out("tenant", "show", "--slug", "acme", "--json"))

    assert tenant["slug"] == "acme"
    assert tenant["name"] == "Ács & Söhne"
    assert tenant["location"] == ready.location("acme")
    assert (tenant["status"], tenant["revision"]) == ("active", "0003")
    assert {key: shown[key] for key in tenant} == tenant
    [operation] = shown["operations"]
    assert (operation["kind"], operation["status"]) == ("provision", "done")
    assert json.loads(ready.out("tenant", "list", "--status", "failed", "--json")) == []


def test_list_tells_what_stopped_a_failed_tenant(failed: Application) -> None:
    assert failed.out("tenant", "list") == f"good\t{failed.location('good')}\tactive\t0003\n"

    [line] = failed.out("tenant", "list", "--status", "failed").splitlines()
    slug, location, status, _, step, error = line.split("\t")
    assert (slug, location, status, step) == ("bad", failed.location("bad"), "failed", "migrate")
    assert "the printer is on fire" in error
    assert len(failed.out("tenant", "list", "--status", "all").splitlines()) == 2


def test_an_empty_list_prints_no_data(ready: Application) -> None:
    ended = ready.run("tenant", "list")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "No active tenants found.\n")


def test_migrate_finishes_a_failed_tenant(failed: Application) -> None:
    failed.repair_head()

    told = failed.out("tenant", "migrate", "--slug", "bad")

    assert told == f"Migrated tenant: bad -> {failed.location('bad')} at 0003 (active)\n"
    assert len(failed.out("tenant", "list").splitlines()) == 2


def test_migrate_that_fails_leaves_the_tenant_as_it_was(failed: Application) -> None:
    assert "the printer is on fire" in failed.error("tenant", "migrate", "--slug", "good")

    assert failed.out("tenant", "list") == f"good\t{failed.location('good')}\tactive\t0003\n"
    assert failed.out("db", "current", "--tenant-slug", "good") == "0003\n"


def test_cleanup_removes_what_failed_and_nothing_else(failed: Application) -> None:
    assert failed.error("tenant", "cleanup", "--slug", "good") == "error: Tenant 'good' is not failed (status=active)\n"
    assert "not found" in failed.error("tenant", "cleanup", "--slug", "nobody")

    told = failed.out("tenant", "cleanup", "--drop-schema")

    assert told == f"Removed failed tenant: bad -> {failed.location('bad')} (dropped)\n"
    assert failed.out("tenant", "list", "--status", "all").split("\t")[0] == "good"
    assert failed.out("tenant", "cleanup") == "No failed tenants found.\n"


def test_activate_says_what_force_skipped(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme")

    assert ready.out("tenant", "activate", "--slug", "acme").startswith("Activated tenant: acme")
    forced = ready.run("tenant", "activate", "--slug", "acme", "--force")
    assert forced.returncode == 0
    assert "Skipped check: " in forced.stderr
    assert "notebook" in forced.stderr


def test_provisioning_twice_is_refused_and_changes_nothing(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme")
    before = ready.out("tenant", "list", "--json")

    assert "'acme' already exists" in ready.error("tenant", "provision", "--slug", "acme")
    assert ready.out("tenant", "list", "--json") == before


def test_a_slug_that_is_not_allowed_is_refused_in_one_line(ready: Application) -> None:
    for slug in ("", "../x", "pg_acme", "a" * 300, "äcme"):
        assert "is not allowed" in ready.error("tenant", "provision", "--slug", slug)
    assert ready.out("tenant", "list", "--status", "all") == ""


def test_commands_before_the_first_upgrade_say_what_to_run(application: Application) -> None:
    for command in (
        ["tenant", "list"],
        ["tenant", "provision", "--slug", "acme"],
        ["tenant", "migrate", "--slug", "x"],
    ):
        assert "Run `db upgrade` first" in application.error(*command)
    assert not (application.directory / "data").exists()  # a look leaves no trace


def test_upgrade_is_repeatable(application: Application) -> None:
    assert application.out("db", "upgrade") == "Platform upgraded.\n"
    assert application.out("db", "upgrade") == "Platform is up to date.\n"


def test_one_tenant_goes_down_and_up_again(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme")
    place = ready.location("acme")

    assert (
        ready.out("db", "downgrade", "0001", "--tenant-slug", "acme") == f"Downgraded tenant: acme -> {place} at 0001\n"
    )
    assert ready.out("db", "current", "--tenant-slug", "acme") == "0001\n"
    assert ready.out("tenant", "list").split("\t")[3] == "0001\n"
    assert ready.out("db", "history", "--tenant-slug", "acme").splitlines() == [
        "0003\t0002\tpinned notes",
        "0002\t0001\tnote",
        "0001\t-\tnotebook\t*",
    ]
    assert ready.out("tenant", "migrate", "--slug", "acme", "--to", "0002").endswith("at 0002 (active)\n")
    assert ready.out("db", "upgrade", "--tenant-slug", "acme") == f"Upgraded tenant: acme -> {place} at 0003\n"
    assert ready.out("db", "current", "--tenant-slug", "acme") == "0003 (head)\n"
    assert "no_such" in ready.error("db", "downgrade", "no_such", "--tenant-slug", "acme")


def test_autogenerate_writes_the_difference_and_prints_only_the_path(ready: Application) -> None:
    notes = ready.directory / "notes.py"
    notes.write_text(notes.read_text().replace("    pinned:", "    colour: Mapped[str | None]\n    pinned:"))

    path = Path(ready.out("db", "revision", "note colour", "--scope", "tenant", "--autogenerate").strip())

    written = path.read_text()
    assert "sa.Column('colour', sa.String(), nullable=True)" in written.replace('"', "'")
    assert "pinned" not in written
    ready.out("tenant", "provision", "--slug", "acme")
    assert ready.out("tenant", "list").strip().split("\t")[3] in written


def test_plain_alembic_works_on_one_tenant(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme")
    alembic = str(Path(sys.executable).with_name("alembic"))

    def run(*arguments: str) -> str:
        environment = {**os.environ, **ready.environment}
        command = [alembic, "-x", "tenant=acme", *arguments]
        ended = subprocess.run(
            command, cwd=ready.directory, env=environment, capture_output=True, text=True, check=True
        )
        return ended.stdout

    run("downgrade", "0002")
    assert run("current").strip() == "0002"
    assert ready.out("tenant", "list").strip().split("\t")[3] == "0002"
    run("upgrade", "head")
    assert ready.out("db", "current", "--tenant-slug", "acme") == "0003 (head)\n"


def test_the_application_is_found_by_option_environment_or_pyproject(ready: Application) -> None:
    (ready.directory / "pyproject.toml").unlink()

    assert "Give --app module:attribute" in ready.error("tenant", "list")
    assert "there is no module 'nots'" in ready.error("--app", "nots:tenancy", "tenant", "list")
    assert "has no 'tenant'" in ready.error("--app", "notes:tenant", "tenant", "list")
    assert "expected a tenantry.Tenancy" in ready.error("--app", "notes:__name__", "tenant", "list")
    assert "expected module:attribute" in ready.error("--app", "notes", "tenant", "list")
    assert ready.out("--app", "notes:tenancy", "tenant", "list") == ""
    ready.environment["TENANTRY_APP"] = "notes:tenancy"
    assert ready.out("tenant", "list") == ""


def test_a_bug_in_the_application_keeps_its_traceback(ready: Application) -> None:
    (ready.directory / "broken.py").write_text("import not_installed_at_all\n")
    ended = ready.run("--app", "broken:tenancy", "tenant", "list")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "No module named 'not_installed_at_all'" in ended.stderr


def test_wrong_usage_ends_with_2(application: Application) -> None:
    for wrong in (["tenant", "provision"], ["tenant", "list", "--status", "gone"], ["db", "revision"], ["nothing"]):
        ended = application.run(*wrong)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr


def test_the_log_is_on_stderr_when_asked_for(ready: Application) -> None:
    ready.environment["TENANTRY_LOG"] = "debug"
    ended = ready.run("tenant", "show", "--slug", "nobody")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: Tenant slug 'nobody' not found")


def test_no_control_character_of_the_database_reaches_the_terminal(ready: Application) -> None:
    ready.out("tenant", "provision", "--slug", "acme", "--name", "evil\x1b[2J\tname")
    shown = ready.out("tenant", "show", "--slug", "acme")
    assert "\x1b" not in shown
    assert "name: evil [2J name" in shown


@pytest.fixture
def terminal() -> Callable[[Application, str], str]:
    def run(application: Application, command: str) -> str:
        environment = {**os.environ, **application.environment, "COLUMNS": "100", "TERM": "xterm"}
        line = ["script", "-qec", f"{COMMAND} {command}", "/dev/null"]
        return subprocess.run(
            line,
            cwd=application.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout

    return run


@pytest.mark.skipif(shutil.which("script") is None, reason="needs script(1) for a terminal")
def test_a_terminal_gets_a_table(ready: Application, terminal: Callable[[Application, str], str]) -> None:
    ready.out("tenant", "provision", "--slug", "acme")
    shown = terminal(ready, "tenant list")
    assert "Location" in shown
    assert ready.location("acme") in shown
    assert "Failed step" not in shown


SERVED = """
from pathlib import Path
from tenantry.cli import database_commands, group, run
from tenantry.embedded import EmbeddedPostgres

app = group("Served by an embedded server.")
app.add_typer(database_commands(lambda: None, lambda: EmbeddedPostgres(Path("{directory}"))), name="db")
run(app)
"""


def test_the_embedded_server_is_started_and_stopped_by_command(tmp_path: Path) -> None:
    # Not below pytest's directory: that is closed to the user who runs root's server.
    directory = Path(tempfile.mkdtemp(prefix="served-"))
    script = tmp_path / "served.py"
    script.write_text(SERVED.format(directory=directory))

    def out(command: str) -> str:
        return subprocess.run(
            [sys.executable, str(script), "db", command], capture_output=True, text=True, check=True, timeout=60
        ).stdout

    try:
        assert out("stop") == "Embedded PostgreSQL was not running.\n"
        started = out("start")
        assert started.startswith("Embedded PostgreSQL is running: postgresql+psycopg://")
        assert out("start") == started
        assert EmbeddedPostgres(directory).running()
        assert out("stop") == "Embedded PostgreSQL stopped.\n"
        assert not EmbeddedPostgres(directory).running()
    finally:
        EmbeddedPostgres(directory).stop()
        shutil.rmtree(directory)
