"""The contract of a store, one body for both: what it makes appears whole or not at all, and never over another's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry import PostgresSchemas, SlugRule, SqliteFiles, TenantStatus
from tenantry.errors import (
    NameRejected,
    StatementFailed,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreMissing,
    TenantBusy,
    TenantExists,
)
from tenantry.stores.opening import engine_for
from tenantry.tenant import Tenant

TABLE = ("CREATE TABLE note (id integer PRIMARY KEY, body text)", ())
ROW = ("INSERT INTO note VALUES (1, 'one')", ())


class Stop(Exception):
    """Stops a block."""


@pytest.fixture
def store(place):
    store = place.store()
    yield store
    store.close()


@pytest.fixture
def acme(store):
    return tenant(store, "acme")


def tenant(store, slug) -> Tenant:
    at = datetime.now(UTC)
    parsed = store.parse(slug)
    return Tenant(
        "u", slug, slug, store.locate(parsed), TenantStatus.ACTIVE, at, at, role=store.role_for(parsed), attributes={}
    )


def make(store, tenant, *statements) -> None:
    with store.construct(tenant) as site:
        site.create()
        site.send(statements or [TABLE, ROW])


def bodies(store, tenant) -> list[str]:
    with store.engine(tenant).connect() as connection:
        return list(connection.execute(sa.text("SELECT body FROM note ORDER BY id")).scalars())


def test_what_was_constructed_is_there_and_can_be_removed(place, store, acme) -> None:
    assert not store.exists(acme.location)
    make(store, acme)
    assert store.exists(acme.location)
    assert bodies(store, acme) == ["one"]
    assert place.physical() == place.belongings([acme])
    store.remove(acme)
    assert not store.exists(acme.location)
    assert place.physical() == set()
    store.remove(acme)  # what is not there is passed over


@pytest.mark.parametrize("stop", [Stop, KeyboardInterrupt])
def test_construct_leaves_nothing_after_an_exception(place, store, acme, stop) -> None:
    def broken() -> None:
        with store.construct(acme) as site:
            site.create()
            site.send([TABLE, ROW])
            assert site.has_table("note")
            raise stop

    with pytest.raises(stop):
        broken()
    assert not store.exists(acme.location)
    assert place.physical() == set()
    if not place.on_postgres:
        assert not (Path(place.where) / "tenant_acme").exists()


def test_change_is_kept_at_the_end_and_lost_after_an_exception(place, store, acme) -> None:
    make(store, acme)
    before = place.shape("acme"), place.everything("acme")

    def broken() -> None:
        with store.change(acme) as site:
            site.send([("ALTER TABLE note ADD COLUMN pinned integer", ()), ("DELETE FROM note", ())])
            site.send([("CREATE TABLE half (id integer)", ())])
            raise Stop

    with pytest.raises(Stop):
        broken()
    assert (place.shape("acme"), place.everything("acme")) == before
    with store.change(acme) as site:
        site.send([("UPDATE note SET body = 'two'", ())])
    assert bodies(store, acme) == ["two"]


def test_failed_statement_undoes_the_whole_change_and_is_told_by_its_number(place, store, acme) -> None:
    make(store, acme)
    before = place.everything("acme")

    def broken() -> None:
        with store.change(acme) as site:
            site.send([("DELETE FROM note", ()), ROW, ROW, TABLE])

    with pytest.raises(StatementFailed) as raised:
        broken()
    assert raised.value.args[1] == 2
    assert place.everything("acme") == before


def test_has_table_looks_into_the_place_itself(place, store, acme) -> None:
    make(store, acme)
    other = tenant(store, "other")
    make(store, other, ("CREATE TABLE secret (id integer)", ()), ('CREATE TABLE "Odd ""name" (id integer)', ()))
    with store.change(acme) as site:
        assert site.has_table("note")
        assert not any(site.has_table(name) for name in ("secret", "pg_class", "sqlite_schema", "tenant", "", "NOTE;"))
    with store.change(other) as site:
        assert site.has_table('Odd "name')


def test_missing_place_is_an_error_and_none_appears(place, store, acme) -> None:
    def use() -> None:
        with store.engine(acme).connect() as connection:
            connection.execute(sa.text("SELECT body FROM note"))

    def change() -> None:
        with store.change(acme):
            raise AssertionError("a change began")

    with pytest.raises((StoreMissing, sa.exc.DBAPIError)):
        use()
    with pytest.raises(StoreMissing, match="acme"):
        change()
    assert place.physical() == set()
    if not place.on_postgres:
        assert [path.name for path in Path(place.where).iterdir() if path.name != "registry.db"] == []


def test_scratch_place_leaves_nothing(place, store) -> None:
    with store.scratch() as connection:
        store.send(connection, [TABLE, ROW], "scratch")
        assert connection.execute(sa.text("SELECT count(*) FROM note")).scalar() == 1
    assert place.physical() == set()


def test_place_that_is_there_already_is_never_adopted(place, simple) -> None:
    tenancy = place.tenancy(simple)
    theirs = tenant(tenancy.store, "acme")
    make(tenancy.store, theirs)
    before = place.everything("acme")
    with pytest.raises(StoreExists, match="already exists"):
        tenancy.provision("acme")
    assert place.everything("acme") == before
    assert tenancy.list() == []


def test_second_slug_that_differs_in_letter_case_only_is_refused(place, simple) -> None:
    tenancy = place.tenancy(simple, store=place.store(slugs=SlugRule(pattern="[A-Za-z]+")))
    tenancy.provision("Acme")
    physical = place.physical()
    with pytest.raises((TenantExists, StoreExists)):
        tenancy.provision("ACME")
    with pytest.raises((TenantExists, StoreExists)):
        tenancy.ensure("acme")
    assert [one.slug for one in tenancy.list()] == ["Acme"]
    assert place.physical() == physical


@pytest.mark.parametrize("slug", ["../x", "a/b", "", "x" * 300, "a\0b", "\u0430cme", "pg_x", "public", "platform"])
def test_refused_slug_touches_nothing(place, simple, slug) -> None:
    tenancy = place.tenancy(simple)
    for attempt in (tenancy.provision, tenancy.ensure, tenancy.exists):
        with pytest.raises(NameRejected):
            attempt(slug)
    assert tenancy.list() == []
    assert place.physical() == set()


def test_two_databases_of_one_server_may_hold_the_same_slug(postgres_url, postgres_server_url, simple) -> None:
    from tenantry import Migrations, Tenancy

    first = Tenancy(PostgresSchemas(postgres_url, "org_{slug}"), Migrations(simple.directory))
    first.initialize()
    made = first.provision("acme").tenant
    name = sa.make_url(postgres_url).database + "_2"
    with sa.create_engine(
        sa.make_url(postgres_server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    ).connect() as admin:
        admin.exec_driver_sql(f'CREATE DATABASE "{name}"')
        try:
            url = sa.make_url(postgres_url).set(database=name)
            second = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(simple.directory))
            second.initialize()
            also = second.provision("acme").tenant
            assert made.location == also.location
            assert made.role != also.role
            second._provisioner.registry.set_status(also, TenantStatus.ARCHIVED)
            second.store.remove(also)  # takes its own role away, and not the other's
            with first.session("acme") as session:
                assert session.execute(sa.text("SELECT count(*) FROM note")).scalar() == 0
            second.close()
        finally:
            first.close()
            admin.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    admin.engine.dispose()


# -- files


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def files(root):
    root.mkdir()
    store = SqliteFiles(root, "tenant_{slug}/data.db")
    yield store
    store.close()


@pytest.mark.parametrize("what", ["directory", "file"])
def test_symbolic_link_out_of_the_root_is_refused(files, root, tmp_path, what) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    sqlite3.connect(outside / "data.db").executescript("CREATE TABLE note (id, body)")
    before = (outside / "data.db").read_bytes()
    if what == "directory":
        (root / "tenant_acme").symlink_to(outside)
    else:
        (root / "tenant_acme").mkdir()
        (root / "tenant_acme" / "data.db").symlink_to(outside / "data.db")
    acme = tenant(files, "acme")
    attempts = (
        lambda: files.engine(acme),
        lambda: files.exists(acme.location),
        lambda: files.remove(acme),
        lambda: make(files, acme),
        lambda: files.change(acme).__enter__(),
    )
    for attempt in attempts:
        with pytest.raises(StoreError, match="symbolic link"):
            attempt()
    assert (outside / "data.db").read_bytes() == before
    assert os.listdir(outside) == ["data.db"]


def test_root_may_itself_be_a_symbolic_link(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = SqliteFiles(tmp_path / "link", "tenant_{slug}/data.db")
    make(store, tenant(store, "acme"))
    assert (tmp_path / "real" / "tenant_acme" / "data.db").is_file()
    store.close()


def test_file_replaced_under_an_open_pool_is_opened_anew(files, root) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    assert bodies(files, acme) == ["one"]
    other = SqliteFiles(root / "elsewhere", "tenant_{slug}/data.db")
    make(other, acme, TABLE, ("INSERT INTO note VALUES (1, 'restored')", ()))
    other.close()
    os.replace(root / "elsewhere" / acme.location, root / acme.location)
    assert bodies(files, acme) == ["restored"]


def test_file_removed_under_an_open_pool_is_missing(files, root) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    assert bodies(files, acme) == ["one"]
    (root / acme.location).unlink()
    with pytest.raises(StoreMissing):
        bodies(files, acme)
    assert not (root / acme.location).exists()


def test_left_over_wal_is_not_replayed_into_a_new_file(files, root) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    with files.engine(acme).begin() as connection:
        connection.execute(sa.text("INSERT INTO note VALUES (2, 'in the wal')"))
        wal = Path(f"{root / acme.location}-wal").read_bytes()
    files.remove(acme)
    (root / "tenant_acme").mkdir(exist_ok=True)
    Path(f"{root / acme.location}-wal").write_bytes(wal)
    make(files, acme)
    assert bodies(files, acme) == ["one"]


def test_removal_leaves_files_that_are_not_the_engines(files, root) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    (root / "tenant_acme" / "letter.pdf").write_bytes(b"%PDF")
    files.remove(acme)
    assert os.listdir(root / "tenant_acme") == ["letter.pdf"]


def test_only_so_many_files_stay_open(root) -> None:
    store = SqliteFiles(root, "{slug}.db", max_open_files=3)
    tenants = [tenant(store, f"t{number}") for number in range(8)]
    for one in tenants:
        make(store, one)
    held = store.engine(tenants[0]).connect()
    for one in tenants:
        assert bodies(store, one) == ["one"]
    assert len(store._open) <= 4
    assert held.execute(sa.text("SELECT body FROM note")).scalar() == "one"
    held.close()
    store.close()


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, but text" * 40, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_damaged_file_is_said_to_be_one_and_kept(files, root, content) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    (root / acme.location).write_bytes(content)

    def change() -> None:
        with files.change(acme) as site:
            site.send([("INSERT INTO note VALUES (5, 'x')", ())])

    with pytest.raises((StoreDamaged, StatementFailed)) as raised:
        change()
    assert str(root / acme.location) in str(raised.value)
    assert len((root / acme.location).read_bytes()) == len(content)


def test_tenant_that_another_holds_is_busy_and_free_afterwards(files) -> None:
    with files.lock("acme", wait=False):
        with files.lock("bravo", wait=False):
            pass
        with pytest.raises(TenantBusy), files.lock("ACME", wait=False):
            raise AssertionError("held twice")
    with files.lock("acme", wait=False):
        pass


def test_session_on_a_file_cannot_reach_another_file(files, root) -> None:
    acme, other = tenant(files, "acme"), tenant(files, "other")
    make(files, acme)
    make(files, other)
    with files.engine(acme).connect() as connection, pytest.raises(sa.exc.OperationalError, match="too many attached"):
        connection.exec_driver_sql(f"ATTACH DATABASE '{root / other.location}' AS other")


def test_new_file_can_be_read_by_its_owner_and_is_a_whole_database(files, root) -> None:
    acme = tenant(files, "acme")
    make(files, acme)
    plain = sqlite3.connect(root / acme.location)
    assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
    assert sorted(path.name for path in (root / "tenant_acme").iterdir())[0] == "data.db"


# -- schemas


def test_tenant_is_kept_in_its_schema_by_its_role(place, store, acme) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no roles")
    make(store, acme)
    other = tenant(store, "other")
    make(store, other)
    for forbidden in (
        f'SELECT * FROM "{other.location}".note',
        "SELECT * FROM platform.tenant",
        "DROP TABLE note",
        "CREATE TABLE mine (id int)",
        "TRUNCATE note",
        f'DROP SCHEMA "{other.location}" CASCADE',
    ):
        with store.engine(acme).connect() as connection, pytest.raises(sa.exc.ProgrammingError, match=r"denied|owner"):
            connection.execute(sa.text(forbidden))
    with store.engine(acme).begin() as connection:
        connection.execute(sa.text("UPDATE note SET body = 'mine'"))
    assert (bodies(store, acme), bodies(store, other)) == (["mine"], ["one"])


def test_tables_made_later_by_anybody_are_the_tenants_to_use(place, store, acme) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no roles")
    make(store, acme)
    place.write("acme", "CREATE TABLE later (id serial PRIMARY KEY, body text)")
    with store.engine(acme).begin() as connection:
        connection.execute(sa.text("INSERT INTO later (body) VALUES ('x')"))


def test_many_tables_are_removed_in_batches(place, store, acme) -> None:
    count = 120
    make(store, acme, *((f"CREATE TABLE t{number} (id integer PRIMARY KEY)", ()) for number in range(count)))
    store.remove(acme)
    assert place.physical() == set()


def test_a_file_with_another_journal_is_opened_when_its_writer_is_done(tmp_path: Path) -> None:
    """As files are that other programs made: SQLite refuses at once to change the journal of one that is written."""
    path = tmp_path / "made.db"
    with contextlib.closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as other:
        other.execute("CREATE TABLE note (id)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO note VALUES (1)")
        done = threading.Timer(0.3, other.execute, ["COMMIT"])
        done.start()
        engine = engine_for(path, begin="BEGIN", foreign_keys=True)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("SELECT id FROM note").scalar_one() == 1
        done.join()
        engine.dispose()
