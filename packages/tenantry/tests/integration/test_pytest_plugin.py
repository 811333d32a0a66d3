"""The fixtures that the package gives to other projects' tests, in a run of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tenantry.embedded import EmbeddedPostgres

TESTS = """
import os
import psycopg
import pytest
from pathlib import Path
from sqlalchemy import make_url

def connect(url):
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

@pytest.mark.parametrize("n", range(4))
def test_database(n, postgres_url, postgres_server_url):
    with connect(postgres_url) as connection:
        name, = connection.execute("SELECT current_database()").fetchone()
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        connection.execute("CREATE TABLE t ()")
        connection.execute(f"CREATE ROLE owner_{n}_{os.getpid()}")
        connection.execute(f"CREATE SCHEMA s AUTHORIZATION owner_{n}_{os.getpid()}")
    with Path("seen").open("a") as seen:
        seen.write(f"{postgres_server_url} {name} {os.environ.get('PYTEST_XDIST_WORKER', 'main')}\\n")

def prepare(url):
    with connect(url) as connection:
        connection.execute("CREATE TABLE made ()")
    with Path("prepared").open("a") as prepared:
        prepared.write(make_url(url).database + "\\n")

@pytest.mark.parametrize("n", range(3))
def test_copy(n, postgres_copy):
    with connect(postgres_copy(prepare)) as connection:
        connection.execute("INSERT INTO made DEFAULT VALUES")
        assert connection.execute("SELECT count(*) FROM made").fetchone() == (1,)

def test_roles_are_gone(postgres_server_url):
    with connect(postgres_server_url) as connection:
        names = [name for name, in connection.execute("SELECT rolname FROM pg_roles").fetchall()]
        assert [name for name in names if name.startswith("owner_") and name.endswith(str(os.getpid()))] == []

def test_plain_user(non_superuser_url, postgres_url):
    assert make_url(non_superuser_url).database == make_url(postgres_url).database
    with connect(non_superuser_url) as connection:
        may = connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
        assert may == (False, True)
        connection.execute("CREATE SCHEMA s")
        connection.execute(f"CREATE ROLE made_by_plain_{os.getpid()}")
"""


def run_pytest(directory: Path, *options: str, **environment: str) -> list[list[str]]:
    (directory / "test_it.py").write_text(TESTS)
    given = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TENANTRY"))} | environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory), *options]
    shown = subprocess.run(command, cwd=directory, env=given, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return [line.split() for line in (directory / "seen").read_text().splitlines()]


def test_each_test_has_a_database_of_its_own_and_the_server_goes_at_the_end(tmp_path: Path) -> None:
    seen = run_pytest(tmp_path)

    assert len({name for _, name, _ in seen}) == 4
    assert len((tmp_path / "prepared").read_text().split()) == 1  # the copies were made of one
    [server] = {url for url, _, _ in seen}
    assert not Path(str(make_url(server).query["host"])).exists()


def test_xdist_workers_share_one_server(tmp_path: Path) -> None:
    seen = run_pytest(tmp_path, "-n", "2")

    assert {worker for _, _, worker in seen} == {"gw0", "gw1"}
    [server] = {url for url, _, _ in seen}
    assert not Path(str(make_url(server).query["host"])).exists()


def test_a_given_server_is_used_and_nothing_is_left_on_it(tmp_path: Path, postgres_server_url: str) -> None:
    seen = run_pytest(tmp_path, TENANTRY_TEST_POSTGRES_URL=postgres_server_url)

    assert {url for url, _, _ in seen} == {postgres_server_url}
    with psycopg.connect(postgres_server_url.replace("+psycopg", "")) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", [[n for _, n, _ in seen]])
        assert left.fetchall() == []


def test_the_server_of_a_run_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    # A temporary directory of our own: any other run on this machine would remove the server too.
    temporary = Path(tempfile.mkdtemp(prefix="runs-"))
    abandoned = Path(tempfile.mkdtemp(prefix=f"tenantry-test-{ended.pid}-", dir=temporary))
    server = EmbeddedPostgres(abandoned, settings={"fsync": "off"})
    try:
        server.start()

        run_pytest(tmp_path, TMPDIR=str(temporary))

        assert not server.running()
        assert not abandoned.exists()
    finally:
        server.stop()
        shutil.rmtree(temporary)


@pytest.mark.parametrize("fixture", ["postgres_server_url", "postgres_url", "non_superuser_url"])
def test_urls_name_the_driver_the_engine_uses(fixture: str, request: pytest.FixtureRequest) -> None:
    assert make_url(request.getfixturevalue(fixture)).drivername == "postgresql+psycopg"
