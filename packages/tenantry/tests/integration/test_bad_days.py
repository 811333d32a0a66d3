"""Server gone, disk full, nothing writable, files damaged: one clear line each, and a state to go on from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.errors import (
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnavailable,
    TenancyError,
)

STEPS = ("create", "migrate", "seed", "verify", "activate")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def everything(tenancy) -> list:
    """Every way in."""
    return [
        tenancy.initialize,
        tenancy.list,
        lambda: tenancy.get("acme"),
        lambda: tenancy.provision("acme"),
        lambda: tenancy.ensure("acme"),
        lambda: tenancy.migrate("acme"),
        lambda: tenancy.downgrade("acme", "base"),
        lambda: tenancy.activate("acme"),
        lambda: tenancy.current("acme"),
        lambda: tenancy.exists("acme"),
        tenancy.cleanup,
        lambda: tenancy.new_revision("x", autogenerate=True),
    ]


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    assert "hunter2" not in text
    return text


# -- PostgreSQL


def test_server_that_is_down_is_said_to_be(simple) -> None:
    url = "postgresql://ann:hunter2@127.0.0.1:1/app"
    tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(simple.directory, metadata=sa.MetaData()))
    for attempt in everything(tenancy):
        with pytest.raises(StoreUnavailable, match="refused") as raised:
            attempt()
        assert "'app' on 127.0.0.1" in one_line(raised.value)


def test_wrong_user_and_wrong_database_are_said_to_be(postgres_url, simple) -> None:
    url = sa.make_url(postgres_url)
    for wrong, name in ((url.set(username="nobody_here"), "nobody_here"), (url.set(database="no_such"), "no_such")):
        tenancy = Tenancy(PostgresSchemas(wrong, "org_{slug}"), Migrations(simple.directory))
        with pytest.raises(StoreUnavailable, match=name) as raised:
            tenancy.list()
        one_line(raised.value)
        tenancy.close()


def test_wrong_password_is_refused_without_being_told(non_superuser_url, simple) -> None:
    url = sa.make_url(non_superuser_url).set(password="hunter2", drivername="postgresql")
    try:
        psycopg.connect(url.render_as_string(hide_password=False)).close()
    except psycopg.OperationalError:
        pass
    else:
        pytest.skip("this server asks for no password")
    tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(simple.directory))
    with pytest.raises(StoreUnavailable, match="password authentication failed") as raised:
        tenancy.list()
    one_line(raised.value)


def cut(url: str) -> None:
    """End every other connection to the database, as an administrator or a network would."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def welcome(seeding) -> None:
    """A seed, so that the step has something to send."""
    seeding.session.execute(sa.text("INSERT INTO organization (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING"))


@pytest.mark.parametrize("step", STEPS)
def test_connection_cut_in_the_middle_of_provisioning_leaves_what_migrate_finishes(place, simple, step) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no connection to cut")
    tenancy = place.tenancy(simple, readiness=("organization",), seeds=[welcome])
    tenancy.observe(lambda slug, now: cut(place.where) if (slug, now) == ("acme", step) else None)
    with pytest.raises(StoreUnavailable) as raised:
        tenancy.provision("acme")
    one_line(raised.value)
    assert place.physical() == set()
    assert tenancy.get("acme").status in ("failed", "provisioning")
    tenancy._provisioner.observers.clear()
    assert tenancy.migrate("acme").tenant.status == "active"
    assert place.rows("acme", "organization") == [(1, "x")]
    assert place.physical() == place.belongings(tenancy.list())


@pytest.mark.parametrize("step", ["migrate", "create", "verify"])
def test_connection_cut_in_the_middle_of_a_migration_changes_nothing(place, simple, step) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no connection to cut")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    simple.add("r4", 'op.add_column("note", sa.Column("x", sa.Integer()))')
    later = place.tenancy(simple)
    later.observe(lambda slug, now: cut(place.where) if now == step else None)
    with pytest.raises((StoreUnavailable, StoreError)) as raised:
        later.migrate("acme")
    one_line(raised.value)
    assert later.get("acme").status == "active"
    assert later.current("acme") == later.get("acme").revision
    later._provisioner.observers.clear()
    assert later.migrate("acme").tenant.revision == "r4"


def test_connection_cut_within_a_statement_of_a_migration(place, simple) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no connection to cut")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'x')")
    before = place.shape("acme")
    simple.add("r4", 'op.add_column("note", sa.Column("x", sa.Integer()))')
    end = "SELECT CASE WHEN EXISTS (SELECT FROM note) THEN pg_terminate_backend(pg_backend_pid()) END"
    simple.add("r5", f'op.execute("DO $$ BEGIN PERFORM ({end}); END $$")')
    later = place.tenancy(simple)
    with pytest.raises(StoreUnavailable) as raised:
        later.migrate("acme")
    one_line(raised.value)
    assert place.shape("acme") == before
    assert (later.current("acme"), later.get("acme").revision, later.get("acme").status) == ("r3", "r3", "active")


def test_statement_that_takes_too_long_is_said_to(place, simple) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no statement timeout")
    url = sa.make_url(place.where)
    slow = url.update_query_dict({"options": "-cstatement_timeout=300"})
    simple.add("r4", 'op.execute("DO $$ BEGIN PERFORM pg_sleep(20); END $$")')
    tenancy = place.tenancy(simple, store=PostgresSchemas(slow, "org_{slug}"))
    with pytest.raises(TenancyError, match="timeout") as raised:
        tenancy.provision("acme")
    one_line(raised.value)
    assert tenancy.get("acme").status == "failed"
    assert place.physical() == set()


# -- files


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[Path]:
    """A file system of its own; the test is skipped where none may be mounted."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no file system may be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def files(root: Path, chain) -> Tenancy:
    return Tenancy(SqliteFiles(root, "tenant_{slug}/data.db"), Migrations(chain.directory, metadata=sa.MetaData()))


def visible(root: Path) -> set[str]:
    """The files of tenants, temporary ones too."""
    return {str(path.relative_to(root)) for path in root.glob("tenant_*/**/*") if not path.name.endswith("-shm")}


@root_only
def test_full_disk_leaves_nothing_half_made_and_room_finishes_it(tmp_path, simple) -> None:
    with mounted(tmp_path / "small", "size=700k") as root:
        tenancy = files(root, simple)
        tenancy.initialize()
        tenancy.provision("first")
        free = os.statvfs(root)
        (root / "ballast").write_bytes(b"x" * (free.f_bavail * free.f_frsize - 8192))
        with pytest.raises(TenancyError, match=r"disk is full|size limit") as raised:
            tenancy.provision("acme")
        one_line(raised.value)
        assert visible(root) == {"tenant_first/data.db"}
        (root / "ballast").unlink()
        if [tenant.slug for tenant in tenancy.list()] == ["first"]:
            tenancy.provision("acme")
        else:
            assert tenancy.get("acme").status in ("failed", "provisioning")
            tenancy.migrate("acme")
        assert [tenant.status for tenant in tenancy.list()] == ["active", "active"]
        assert tenancy.current("first") == "r3"
        tenancy.close()


@root_only
def test_full_disk_in_the_middle_of_a_migration_changes_nothing(tmp_path, simple) -> None:
    with mounted(tmp_path / "small", "size=1200k") as root:
        tenancy = files(root, simple)
        tenancy.initialize()
        tenancy.provision("acme")
        simple.add("r4", "op.execute(sa.text('INSERT INTO note (id, body) VALUES (1, :body)')"
                   ".bindparams(body='x' * 400_000))")  # fmt: skip
        simple.add("r5", 'op.execute("INSERT INTO note (id, body) SELECT id + 10, body FROM note")')
        later = files(root, simple)
        with pytest.raises(TenancyError, match=r"full|disk") as raised:
            later.migrate("acme")
        one_line(raised.value)
        assert later.current("acme") == "r3"
        assert later.get("acme").status == "active"
        later.close()
        tenancy.close()


@pytest.mark.parametrize("limit", [1_000, 20_000])
def test_file_size_limit_is_like_a_full_disk(place, simple, limit) -> None:
    if place.on_postgres:
        pytest.skip("the server has no such limit")
    source = """
    def work(tenancy, limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        tenancy.provision("acme")
    """
    ((_, told),) = place.children(simple, source, [limit])
    assert told.startswith("Store"), told
    assert "\n" not in told
    assert place.physical() == set()
    tenancy = place.tenancy(simple)
    for tenant in tenancy.list():
        assert tenant.status in ("failed", "provisioning")
        tenancy.migrate(tenant.slug)
    assert tenancy.ensure("acme").status == "active"
    assert place.physical() == {place.location("acme")}


@root_only
def test_read_only_file_system_is_said_to_be_one(tmp_path, simple) -> None:
    with mounted(tmp_path / "frozen", "size=4m") as root:
        tenancy = files(root, simple)
        tenancy.initialize()
        tenancy.provision("acme")
        tenancy.close()
        before = {path.name: path.read_bytes() for path in root.rglob("*.db")}
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        for attempt in (lambda: tenancy.provision("other"), lambda: tenancy.migrate("acme"), tenancy.initialize):
            with pytest.raises(StoreError, match=r"read-only|cannot be opened") as raised:
                attempt()
            one_line(raised.value)
        tenancy.close()
        assert {path.name: path.read_bytes() for path in root.rglob("*.db")} == before


@root_only
def test_directory_of_another_user_is_said_to_be_closed(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a matter of files")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.close()
    for directory in (place.scratch, *list(place.scratch.parents)[:3]):
        directory.chmod(0o755)
    source = """
    def work(tenancy, what):
        tenancy.migrations.history()
        if what == "closed":
            os.chmod(where, 0o700)
        os.setgid(65534)
        os.setuid(65534)
        return [attempt(tenancy) for attempt in (
            lambda t: t.provision("other"), lambda t: t.migrate("acme"), lambda t: t.exists("acme"), lambda t: t.list(),
            lambda t: t.ensure("other"), lambda t: t.cleanup(), lambda t: t.initialize())]
    def attempt(function):
        pass
    """
    source = source.replace("[attempt(tenancy) for attempt in", "[told(tenancy, one) for one in").replace(
        "def attempt(function):\n        pass",
        "def told(tenancy, one):\n        try:\n            one(tenancy)\n            return 'done'\n"
        "        except TenancyError as error:\n            return f'{type(error).__name__}: {error}'\n"
        "        except OSError as error:\n            return f'raw {error!r}'",
    )
    outcomes = place.children(simple, source, ["readable", "closed"])
    os.chmod(place.where, 0o755)
    for _, told in outcomes:
        assert isinstance(told, list), told
        assert not [text for text in told if text.startswith("raw") or "\n" in text], told
        assert told[0] != "done"
    assert place.physical() == {place.location("acme")}
    assert place.tenancy(simple).get("acme").status == "active"


@pytest.mark.parametrize("content", [b"", b"no database " * 400])
def test_damaged_file_of_a_tenant_is_told_and_never_replaced(place, simple, content) -> None:
    if place.on_postgres:
        pytest.skip("a matter of files")
    tenancy = place.tenancy(simple, readiness=("organization",))
    tenancy.provision("acme")
    tenancy.provision("other")
    tenancy.close()
    path = Path(place.where) / place.location("acme")
    path.write_bytes(content)
    for attempt in (tenancy.migrate, tenancy.current, tenancy.activate):
        with pytest.raises(StoreDamaged, match="Restore it from a backup") as raised:
            attempt("acme")
        assert str(path) in one_line(raised.value)
    assert path.read_bytes() == content
    assert tenancy.get("acme").status == "active"
    assert tenancy.migrate("other").tenant.status == "active"


def test_damaged_registry_is_told_and_never_replaced(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a matter of files")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.close()
    registry = Path(place.where) / "registry.db"
    for name in ("registry.db-wal", "registry.db-shm"):
        (Path(place.where) / name).unlink(missing_ok=True)
    registry.write_bytes(b"no database " * 400)
    later = place.tenancy(simple)
    for attempt in (later.list, lambda: later.get("acme"), lambda: later.provision("b"), later.initialize):
        with pytest.raises(StoreDamaged, match=r"registry\.db|storage") as raised:
            attempt()
        one_line(raised.value)
    assert registry.read_bytes() == b"no database " * 400
    assert place.physical() == {place.location("acme")}


def test_directory_in_the_place_of_a_file_is_an_error(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a matter of files")
    (Path(place.where) / place.location("acme")).mkdir(parents=True)
    tenancy = place.tenancy(simple)
    with pytest.raises(StoreError) as raised:
        tenancy.provision("acme")
    one_line(raised.value)
    assert (Path(place.where) / place.location("acme")).is_dir()
    (Path(place.where) / place.location("acme")).rmdir()
    assert tenancy.ensure("other").status == "active"


def test_registry_lost_while_tenants_files_stay_is_no_empty_platform(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a matter of files")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.close()
    (Path(place.where) / "registry.db").unlink()
    with pytest.raises(TenancyError, match="db upgrade"):
        place.tenancy(simple).list()
    fresh = place.tenancy(simple)
    fresh.initialize()
    with pytest.raises(TenancyError, match="already exists"):
        fresh.provision("acme")
    with pytest.raises((StoreMissing, TenancyError)):
        fresh.migrate("acme")
    assert place.has("acme")
