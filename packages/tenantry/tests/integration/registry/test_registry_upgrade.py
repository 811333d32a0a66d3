"""Making and upgrading the control plane's own tables."""

from __future__ import annotations

import re
import stat

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from tenantry.errors import PermissionMissing, RegistryMissing, RegistryOutdated, StoreError, UnknownRevision
from tenantry.iam import tables as iam_tables
from tenantry.iam.roles import PlatformRole
from tenantry.registry import bootstrap
from tenantry.registry import tables as registry_tables
from tenantry.registry.registry import Registry
from tenantry.registry.requests import request_table
from tenantry.registry.revisions import REGISTRY_HEAD, VERSION_TABLE
from tenantry.tenant import TenantStatus


def names_in(plane, schema="platform"):
    """The tables that are there."""
    with plane.store.control_engine().connect() as connection:
        return set(sa.inspect(connection).get_table_names(schema=schema if plane.store.control_schema else None))


def take_back(plane, target):
    """Go back to another revision with plain Alembic, through the directory's own env.py."""
    with plane.store.control() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(bootstrap.CHAIN.directory))
        config.set_main_option("path_separator", "os")
        command.downgrade(config, target)


def test_upgrade_makes_the_tables_and_says_that_it_did(bare) -> None:
    assert bare.registry.upgrade() is True
    assert bare.registry.current() == REGISTRY_HEAD
    bare.registry.check()
    assert names_in(bare) >= {"tenant", "operation", "step", "audit", "plan", "platform_user", VERSION_TABLE}


def test_upgrade_of_a_present_registry_changes_nothing(plane) -> None:
    plane.reserve()
    before = plane.rows("tenant")
    assert plane.registry.upgrade() is False
    assert plane.rows("tenant") == before


def test_upgrade_joins_the_stores_own_control_transaction(bare) -> None:
    with bare.store.control() as connection:
        assert bare.registry.upgrade(connection=connection) is True
        if bare.store.kind == "schema":
            # An application's own chain runs next, on the same connection.
            assert connection.execute(sa.text("SELECT current_schema()")).scalar() == "platform"
    bare.registry.check()


def test_upgrade_that_is_rolled_back_leaves_nothing(bare) -> None:
    def killed() -> None:
        with bare.store.control() as connection:
            bare.registry.upgrade(connection=connection)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert bare.registry.current() is None
    assert names_in(bare) == set()


def test_revision_that_fails_half_way_leaves_nothing_of_any_revision(bare) -> None:
    with bare.store.control() as connection:
        connection.execute(sa.text("CREATE TABLE platform_user_role (taken INTEGER)"))
    with pytest.raises(StoreError):
        bare.registry.upgrade()
    assert names_in(bare) == {"platform_user_role"}
    with bare.store.control() as connection:
        connection.execute(sa.text("DROP TABLE platform_user_role"))
    assert bare.registry.upgrade() is True


def test_reading_an_uninitialized_registry_makes_nothing(bare) -> None:
    assert bare.registry.current() is None
    for read in (bare.registry.check, bare.registry.list, lambda: bare.registry.find("acme")):
        with pytest.raises(RegistryMissing, match="Run `db upgrade` first"):
            read()
    if bare.store.kind == "file":
        assert not bare.root.exists()
    else:
        with bare.store.control_engine().connect() as connection:
            assert "platform" not in sa.inspect(connection).get_schema_names()


def test_writing_to_an_uninitialized_registry_makes_nothing(bare) -> None:
    with pytest.raises(RegistryMissing):
        bare.reserve()
    assert not bare.root.exists()


def test_check_asks_the_database_only_until_it_is_good(bare) -> None:
    statements = []
    with pytest.raises(RegistryMissing):
        bare.registry.check()
    bare.registry.upgrade()
    sa.event.listen(bare.store.control_engine(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    bare.registry.check()
    assert len([text for text in statements if "SELECT" in text]) == 1
    statements.clear()
    bare.registry.check()
    assert statements == []


def test_older_tables_are_outdated_and_an_upgrade_keeps_their_rows(plane) -> None:
    plane.reserve()
    take_back(plane, "0001")
    other = Registry(plane.store.control_engine, plane.store.control_schema, "here")
    with pytest.raises(RegistryOutdated) as raised:
        other.check()
    assert raised.value.args == ("here", "0001", REGISTRY_HEAD)
    assert other.upgrade() is True
    other.check()
    assert [row["slug"] for row in plane.rows("tenant")] == ["acme"]


def test_tables_of_a_newer_build_are_neither_used_nor_changed(plane) -> None:
    with plane.store.control() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    other = Registry(plane.store.control_engine, plane.store.control_schema, "here")
    for use in (other.check, other.upgrade):
        with pytest.raises(UnknownRevision, match="9999"):
            use()
    assert other.current() == "9999"


def test_every_revision_can_be_taken_back(plane) -> None:
    take_back(plane, "base")
    assert names_in(plane) == {VERSION_TABLE}
    assert plane.registry.upgrade() is True


def test_migrated_tables_equal_the_declared_ones(plane) -> None:
    declared = [
        registry_tables.tables(None).metadata,
        iam_tables.tables(None).metadata,
        request_table(None).metadata,
    ]
    options = {
        "version_table": VERSION_TABLE,
        "compare_type": True,
        "compare_server_default": True,
        "target_metadata": declared,
    }
    with plane.store.control() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, declared) == []


def test_constraints_have_the_same_names_and_checks_as_the_declared_ones(plane) -> None:
    with plane.store.control_engine().connect() as connection:
        inspector = sa.inspect(connection)
        for declared in (registry_tables.tables(None).metadata, iam_tables.tables(None).metadata):
            for table in declared.tables.values():
                checks = {
                    check["name"]: set(re.findall(r"'(\w+)'", check["sqltext"]))
                    for check in inspector.get_check_constraints(table.name, schema=plane.store.control_schema)
                }
                wanted = {
                    str(check.name): set(re.findall(r"'(\w+)'", str(check.sqltext)))
                    for check in table.constraints
                    if isinstance(check, sa.CheckConstraint)
                }
                assert checks == wanted
                key = inspector.get_pk_constraint(table.name, schema=plane.store.control_schema)
                # SQLite numbers a row by itself only where the key is written without a name.
                numbered = table.name == "audit" and plane.store.kind == "file"
                assert key["name"] == (None if numbered else f"pk_{table.name}")


def test_database_allows_exactly_the_statuses_of_the_enum(plane) -> None:
    with plane.store.control_engine().connect() as connection:
        (check,) = sa.inspect(connection).get_check_constraints("tenant", schema=plane.store.control_schema)
    assert set(re.findall(r"'(\w+)'", check["sqltext"])) == {status.value for status in TenantStatus}


def test_roles_of_the_platform_are_there_after_an_upgrade(plane) -> None:
    role = iam_tables.tables(plane.store.control_schema).platform_role
    with plane.store.control_engine().connect() as connection:
        assert set(connection.execute(sa.select(role.c.name)).scalars()) == {role.value for role in PlatformRole}


def test_twenty_processes_that_upgrade_at_once_all_succeed_and_one_does_the_work(bare, race) -> None:
    outcomes = race("def work(registry, store, number): return registry.upgrade()")
    assert sorted(outcomes, key=str) == [False] * 19 + [True]
    bare.registry.check()


def test_twenty_processes_that_upgrade_through_the_store_all_succeed(bare, race) -> None:
    body = """
def work(registry, store, number):
    with store.control() as connection:
        return registry.upgrade(connection=connection)
"""
    assert sorted(race(body)) == [False] * 19 + [True]
    bare.registry.check()


def test_registry_file_is_readable_by_its_owner_only(bare) -> None:
    bare.registry.upgrade()
    for path in bare.root.glob("registry.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("schema", ["control", "Mixed Case", 'quo"ted', "per%cent", "dash-ed", "colon:ed"])
def test_any_schema_name_will_do(postgres_url, schema) -> None:
    engine = sa.create_engine(postgres_url)
    registry = Registry(lambda: engine, schema, "here")
    assert registry.upgrade() is True
    registry.check()
    registry.audit("test.ran", details={"schema": schema})
    assert registry.audit_entries()[0].details == {"schema": schema}
    with engine.connect() as connection:
        assert "tenant" in sa.inspect(connection).get_table_names(schema=schema)
        assert sa.inspect(connection).get_table_names(schema="public") == []
    engine.dispose()


def test_two_control_planes_in_one_database_do_not_meet(postgres_url) -> None:
    engine = sa.create_engine(postgres_url)
    one, two = (Registry(lambda: engine, name, name) for name in ("one", "two"))
    one.upgrade()
    with pytest.raises(RegistryMissing):
        two.check()
    two.upgrade()
    one.audit("only.here")
    assert list(two.audit_entries()) == []
    engine.dispose()


def test_upgrade_leaves_the_callers_search_path_as_it_was(postgres_url) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path TO pg_temp, public"))
        bootstrap.upgrade(connection, "platform")
        assert connection.execute(sa.text("SHOW search_path")).scalar() == "pg_temp, public"
    engine.dispose()


def test_user_who_may_not_make_schemas_is_told_the_grant(postgres_url, non_superuser_url) -> None:
    admin = sa.create_engine(postgres_url)
    plain = sa.make_url(non_superuser_url)
    revoke = f'REVOKE CREATE ON DATABASE "{plain.database}" FROM "{plain.username}"'
    with admin.begin() as connection:
        connection.execute(sa.text(revoke))
    engine = sa.create_engine(plain)
    registry = Registry(lambda: engine, "platform", plain.render_as_string())
    with pytest.raises(PermissionMissing) as raised:
        registry.upgrade()
    assert f'GRANT CREATE ON DATABASE "{plain.database}" TO "{plain.username}";' in str(raised.value)
    assert plain.password not in str(raised.value)
    assert registry.current() is None

    # A schema that the administrator made for this user is enough.
    with admin.begin() as connection:
        connection.execute(sa.text(f'CREATE SCHEMA platform AUTHORIZATION "{plain.username}"'))
    assert registry.upgrade() is True
    engine.dispose()
    admin.dispose()
