"""The database user need not be a superuser; a right it lacks is named with the statement that gives it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from .conftest import ROLES, Query, Shell, ask

PROVISION = 'beak-lims tenant provision --name "Lab One" --slug one --admin-email a@one.example'


@pytest.fixture
def plain_shell(bare_shell: Shell, non_superuser_url: str) -> Shell:
    """A shell whose database user may create schemas and roles, and nothing more."""
    bare_shell.environment["BEAK_DATABASE_URL"] = non_superuser_url
    return bare_shell


@pytest.fixture
def query(postgres_url: str) -> Query:
    """Asks the same database as its superuser."""
    return lambda statement, *values: ask(postgres_url, statement, *values)


def user_of(shell: Shell) -> str:
    return str(urlsplit(shell.environment["BEAK_DATABASE_URL"]).username)


def test_a_user_who_is_no_superuser_can_do_all_of_the_guide(plain_shell: Shell, query: Query) -> None:
    assert query("SELECT rolsuper FROM pg_roles WHERE rolname = %s", user_of(plain_shell)) == [(False,)]
    plain_shell.ok("beak-lims db upgrade")
    plain_shell.ok("beak-lims seed platform-superuser")
    plain_shell.ok(PROVISION)
    plain_shell.ok("beak-lims tenant migrate --slug one")
    plain_shell.ok("beak-lims tenant activate --slug one")
    plain_shell.ok('beak-lims tenant add-lab --slug one --name "Second"')
    plain_shell.ok("beak-lims tenant cleanup --drop-schema")
    assert plain_shell.ok("beak-lims tenant list").startswith("one\torg_one\tactive")
    assert query("SELECT name FROM org_one.laboratory ORDER BY name") == [("Lab One Main Lab",), ("Second",)]


def test_missing_right_to_create_schemas_names_the_grant(plain_shell: Shell, query: Query) -> None:
    plain_shell.ok("beak-lims db upgrade")
    user, database = user_of(plain_shell), query("SELECT current_database()")[0][0]
    query(f'REVOKE CREATE ON DATABASE "{database}" FROM {user}')
    said = plain_shell.refused(PROVISION)
    assert f'GRANT CREATE ON DATABASE "{database}" TO "{user}"' in said
    assert query("SELECT nspname FROM pg_namespace WHERE nspname = 'org_one'") == []


def test_missing_right_to_create_roles_names_the_statement_and_the_tenant_is_finished_later(
    plain_shell: Shell, query: Query
) -> None:
    plain_shell.ok("beak-lims db upgrade")
    user = user_of(plain_shell)
    query(f"ALTER ROLE {user} NOCREATEROLE")
    assert "CREATEROLE" in plain_shell.refused(PROVISION)
    assert query("SELECT nspname FROM pg_namespace WHERE nspname = 'org_one'") == []
    query(f"ALTER ROLE {user} CREATEROLE")
    if query("SELECT count(*) FROM platform.tenant") == [(1,)]:
        plain_shell.ok("beak-lims tenant migrate --slug one")
    else:
        plain_shell.ok(PROVISION)
    assert plain_shell.ok("beak-lims tenant list").startswith("one\torg_one\tactive")


def test_without_roles_per_tenant_no_right_to_create_them_is_needed(plain_shell: Shell, query: Query) -> None:
    query(f"ALTER ROLE {user_of(plain_shell)} NOCREATEROLE")
    plain_shell.environment["BEAK_TENANT_ROLES"] = "false"
    plain_shell.ok("beak-lims db upgrade")
    plain_shell.ok(PROVISION)
    plain_shell.ok("beak-lims tenant add-lab --slug one --name Second")
    assert query(ROLES, "org_one%") == []
