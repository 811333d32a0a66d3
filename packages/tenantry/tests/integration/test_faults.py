"""What real databases raise on a bad day, as the engine says it."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tenantry.errors import PermissionMissing, RegistryMissing, StoreDamaged, StoreError, StoreExists, StoreUnavailable
from tenantry.names import SlugRule
from tenantry.registry.registry import Registry
from tenantry.stores.faults import faults


@pytest.fixture
def engine(postgres_url):
    """An engine on an empty database."""
    made = sa.create_engine(postgres_url)
    yield made
    made.dispose()


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_server_that_is_down_is_unavailable_and_its_password_stays_hidden() -> None:
    url = sa.make_url(f"postgresql+psycopg://ann:s3cr3t@127.0.0.1:{unused_port()}/app")
    engine = sa.create_engine(url)
    registry = Registry(lambda: engine, "platform", url.render_as_string())
    with pytest.raises(StoreUnavailable) as raised:
        registry.check()
    text = str(raised.value)
    assert text.startswith("Cannot connect to postgresql+psycopg://ann:***@127.0.0.1")
    assert "refused" in text
    assert "s3cr3t" not in text
    assert "\n" not in text


def test_database_that_is_not_there_is_unavailable(engine) -> None:
    url = engine.url.set(database="nowhere")
    other = sa.create_engine(url)
    with pytest.raises(StoreUnavailable, match='"nowhere" does not exist'), faults("here"), other.connect():
        pass


def test_connection_that_is_cut_is_unavailable(engine) -> None:
    def work() -> None:
        with faults("here"), engine.connect() as connection:
            pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
            with engine.connect() as killer:
                killer.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        work()


def test_statement_that_waits_too_long_for_a_lock_says_so(engine) -> None:
    with engine.begin() as setup:
        setup.execute(sa.text("CREATE TABLE note (id int)"))

    def work() -> None:
        with faults("here"), engine.begin() as waiter:
            waiter.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            waiter.execute(sa.text("LOCK TABLE note"))

    with engine.begin() as holder:
        holder.execute(sa.text("LOCK TABLE note"))
        with pytest.raises(StoreError, match="another transaction holds a lock"):
            work()


def test_read_only_server_says_so(engine) -> None:
    def work() -> None:
        with faults("here"), engine.begin() as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            connection.execute(sa.text("CREATE TABLE note (id int)"))

    with pytest.raises(StoreError, match="read-only"):
        work()


def test_schema_that_is_there_already_exists(engine) -> None:
    def work() -> None:
        with faults("here"), engine.begin() as connection:
            connection.execute(sa.text('CREATE SCHEMA "org_x"'))
            connection.execute(sa.text('CREATE SCHEMA "org_x"'))

    with pytest.raises(StoreExists) as raised:
        work()
    assert raised.value.args == ("schema", "org_x")


@pytest.mark.parametrize(
    ("statement", "grant"),
    [
        ("CREATE TABLE closed.mine (id int)", 'GRANT USAGE, CREATE ON SCHEMA "closed"'),
        ("SELECT * FROM open_.note", 'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "note"'),
        ("DROP TABLE open_.note", 'ALTER TABLE "note" OWNER TO'),
        ("DROP SCHEMA open_", 'ALTER SCHEMA "open_" OWNER TO'),
        ("CREATE ROLE another", "CREATEROLE"),
        ("SET ROLE pg_read_all_data", 'GRANT "pg_read_all_data" TO'),
        ("GRANT pg_read_all_data TO CURRENT_USER", 'GRANT "pg_read_all_data" TO'),
    ],
)
def test_right_that_a_plain_user_lacks_is_named(engine, non_superuser_url, statement, grant) -> None:
    plain = sa.make_url(non_superuser_url)
    with engine.begin() as admin:
        admin.execute(sa.text("CREATE SCHEMA closed"))
        admin.execute(sa.text("CREATE SCHEMA open_"))
        admin.execute(sa.text("CREATE TABLE open_.note (id int)"))
        admin.execute(sa.text(f'GRANT USAGE ON SCHEMA open_ TO "{plain.username}"'))
        admin.execute(sa.text(f'ALTER ROLE "{plain.username}" NOCREATEROLE'))
    other = sa.create_engine(plain)

    def work() -> None:
        with faults(plain.render_as_string()), other.begin() as connection:
            connection.execute(sa.text(statement))

    with pytest.raises(PermissionMissing) as raised:
        work()
    other.dispose()
    assert grant in str(raised.value)
    assert f'"{plain.username}"' in str(raised.value)
    assert plain.password not in str(raised.value)


def test_drivers_own_errors_are_turned_too(postgres_url) -> None:
    url = sa.make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def work() -> None:
        with faults("here", missing=RegistryMissing), psycopg.connect(url) as connection:
            connection.execute("SELECT * FROM platform.tenant")

    with pytest.raises(RegistryMissing):
        work()


# -- SQLite


def registry_at(path: Path, **options: object) -> tuple[Registry, sa.Engine]:
    """A registry on a plain engine."""
    engine = sa.create_engine(f"sqlite:///{path}", **options)
    return Registry(lambda: engine, None, str(path)), engine


def test_file_that_is_no_database_is_damaged_and_left_alone(tmp_path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"this is a letter, not a database. " * 100)
    before = path.read_bytes()
    registry, engine = registry_at(path)
    for use in (registry.check, registry.upgrade, registry.list):
        with pytest.raises(StoreDamaged, match="file is not a database"):
            use()
    assert path.read_bytes() == before
    engine.dispose()


def test_file_with_a_damaged_page_is_damaged(tmp_path) -> None:
    path = tmp_path / "registry.db"
    registry, engine = registry_at(path)
    registry.upgrade()
    engine.dispose()
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)
    path.write_bytes(whole)
    with pytest.raises(StoreDamaged):
        registry.list()
    engine.dispose()


def test_directory_in_the_place_of_the_file_cannot_be_opened(tmp_path) -> None:
    registry, _ = registry_at(tmp_path)
    with pytest.raises(StoreUnavailable, match="directory must exist"):
        registry.check()


def test_storage_root_that_is_a_file_is_said_to_be_no_directory(tmp_path) -> None:
    (tmp_path / "root").write_text("a file")
    registry, _ = registry_at(tmp_path / "root" / "registry.db")
    with pytest.raises(StoreError, match=r"[Nn]ot a directory|File exists"):
        registry.upgrade()
    assert (tmp_path / "root").read_text() == "a file"


def test_read_only_file_says_so_and_can_be_read(tmp_path) -> None:
    path = tmp_path / "registry.db"
    registry, engine = registry_at(path)
    registry.upgrade()
    engine.dispose()
    reader = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    registry = Registry(lambda: reader, None, str(path))
    registry.check()
    with pytest.raises(StoreError, match="read-only"):
        registry.audit("tried")
    assert list(registry.audit_entries()) == []
    reader.dispose()


def test_full_disk_says_so_and_keeps_what_was_there(tmp_path) -> None:
    path = tmp_path / "registry.db"
    registry, engine = registry_at(path)
    registry.upgrade()
    registry.audit("before")
    engine.dispose()
    pages = path.stat().st_size // 4096

    @sa.event.listens_for(engine, "connect")
    def limit(driver: sqlite3.Connection, record: object) -> None:
        driver.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreError, match="disk is full"):
        registry.audit("large", details={"text": "x" * 1_000_000})
    assert [entry.action for entry in registry.audit_entries()] == ["before"]
    registry.audit("small")
    engine.dispose()


def test_largest_file_size_reached_says_so_and_keeps_what_was_there(tmp_path) -> None:
    path = tmp_path / "registry.db"
    registry, engine = registry_at(path)
    registry.upgrade()
    code = """
import resource, sys
import sqlalchemy as sa
from tenantry.errors import StoreError
from tenantry.registry.registry import Registry
engine = sa.create_engine(f"sqlite:///{sys.argv[1]}")
registry = Registry(lambda: engine, None, sys.argv[1])
registry.audit("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    registry.audit("large", details={"text": "x" * 1_000_000})
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Store {path}: ")
    assert "disk is full" in done.stdout
    assert [entry.action for entry in registry.audit_entries()] == ["before"]
    engine.dispose()


def test_file_that_another_process_writes_is_locked(tmp_path) -> None:
    path = tmp_path / "registry.db"
    registry, engine = registry_at(path, connect_args={"timeout": 0.05})
    registry.upgrade()
    with engine.connect() as other:
        other.connection.driver_connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process holds its lock"):
            registry.reserve(SlugRule().parse("acme"), name="Acme", location="acme")
    assert registry.list() == []
    engine.dispose()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_directory_says_so(tmp_path) -> None:
    tmp_path.chmod(0o500)
    registry, _ = registry_at(tmp_path / "registry.db")
    with pytest.raises(StoreError, match="Permission denied"):
        registry.upgrade()
    assert list(tmp_path.iterdir()) == []


def test_too_many_open_files_says_so(tmp_path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with pytest.raises(StoreError, match="too many open files"), faults("here"):
            held.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(300))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in held:
            os.close(number)
