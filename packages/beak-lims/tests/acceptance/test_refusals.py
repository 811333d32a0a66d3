"""What cannot be done is said in one line, word for word as the guide has it, and leaves everything as it was."""

from __future__ import annotations

import pytest

from .conftest import Query, Shell
from .test_guide import fail_a_tenant

PROVISION = 'beak-lims tenant provision --name "Lab One" --slug one'


def registered(query: Query) -> list[tuple[object, ...]]:
    return query("SELECT slug, status, revision FROM platform.tenant ORDER BY slug")


def schemas(query: Query) -> set[object]:
    return {row[0] for row in query("SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'")}


UNKNOWN = [
    "tenant migrate --slug nobody",
    "tenant activate --slug nobody --force",
    "tenant cleanup --slug nobody --drop-schema",
    "tenant add-lab --slug nobody --name Lab",
    "tenant add-admin --slug nobody --email a@b.example",
    "db current --tenant-slug nobody",
]


def test_unknown_slug_is_not_found(platform: Shell) -> None:
    for command in UNKNOWN:
        assert platform.refused(f"beak-lims {command}").startswith("Tenant slug 'nobody' not found"), command


def test_work_in_a_tenant_that_is_not_active_is_refused(platform: Shell, query: Query) -> None:
    fail_a_tenant(platform, "one")
    said = platform.refused("beak-lims tenant add-lab --slug one --name Lab")
    assert said.startswith("Tenant 'one' is not active")
    platform.ok("beak-lims tenant migrate --slug one")
    platform.ok("beak-lims tenant add-lab --slug one --name Lab")
    assert query("SELECT count(*) FROM org_one.laboratory WHERE name = 'Lab'") == [(1,)]


@pytest.mark.parametrize("command", ["migrate", "activate"])
def test_tenant_without_its_organization_table_is_not_ready(one: Shell, query: Query, command: str) -> None:
    query("DROP TABLE org_one.organization CASCADE")
    said = one.refused(f"beak-lims tenant {command} --slug one")
    assert "Tenant migration completed but org_one.organization was not created" in said


def test_forced_activation_says_what_it_skipped(one: Shell, query: Query) -> None:
    query("DROP TABLE org_one.organization CASCADE")
    done = one("beak-lims tenant activate --slug one --force")
    assert done.returncode == 0
    assert "org_one.organization" in done.stderr


def test_provisioning_twice_is_refused_and_changes_nothing(platform: Shell, query: Query) -> None:
    platform.ok(f"{PROVISION} --admin-email a@one.example")
    before = registered(query), query('SELECT hashed_password FROM org_one."user"')
    said = platform.refused(f"{PROVISION} --admin-email a@one.example")
    assert said.startswith("Tenant slug 'one' already exists")
    assert (registered(query), query('SELECT hashed_password FROM org_one."user"')) == before


def test_schema_that_is_there_already_is_not_adopted(platform: Shell, query: Query) -> None:
    query("CREATE SCHEMA org_one")
    query("CREATE TABLE org_one.precious (kept int)")
    assert platform.refused(PROVISION).startswith("Tenant schema 'org_one' already exists")
    assert registered(query) == []
    assert query("SELECT relname FROM pg_class WHERE relnamespace = 'org_one'::regnamespace") == [("precious",)]


def test_only_failed_tenants_are_cleaned_up(one: Shell, query: Query) -> None:
    assert one.refused("beak-lims tenant cleanup --slug one") == "Tenant 'one' is not failed (status=active)"
    assert "No failed tenants found." in one.ok("beak-lims tenant cleanup")
    assert [row[:2] for row in registered(query)] == [("one", "active")]
    assert "org_one" in schemas(query)


def test_unknown_organization_is_not_found(one: Shell, query: Query) -> None:
    said = one.refused("beak-lims tenant add-lab --slug one --name Lab --setup-name other")
    assert said == "Organization with setup_name='other' not found in tenant 'one'"
    assert query("SELECT name FROM org_one.laboratory") == [("Lab One Main Lab",)]


SLUGS = [
    ("acme-corp", "Slug must match ^[a-z][a-z0-9_]{0,62}$"),
    ("pg_acme", "Slug cannot start with reserved prefix 'pg_'"),
    ("x" * 60, "it is 64 bytes long and PostgreSQL cuts names after 63"),
]


def test_slug_that_is_not_allowed_is_refused_before_anything_is_touched(platform: Shell, query: Query) -> None:
    before = schemas(query)
    for slug, reason in SLUGS:
        assert reason in platform.refused(f"beak-lims tenant provision --name X --slug {slug}")
    assert registered(query) == []
    assert schemas(query) == before


VALUES = [
    ('--name " "', "Name ' ' is not allowed: it is empty."),
    (f'--name "{"x" * 256}"', "at most 255 characters"),
    ('--name X --initial-lab-name ""', "Laboratory name '' is not allowed: it is empty."),
    (f'--name "{"x" * 250}"', "Laboratory name"),  # with " Main Lab" it would be too long
    ("--name X --admin-email nobody", "Email 'nobody' is not allowed"),
]


def test_values_that_cannot_be_kept_are_refused_before_anything_is_touched(platform: Shell, query: Query) -> None:
    for options, reason in VALUES:
        assert reason in platform.refused(f"beak-lims tenant provision --slug one {options}")
    assert registered(query) == []
    assert "org_one" not in schemas(query)


def test_second_administrator_of_one_email_needs_an_explicit_reset(platform: Shell, query: Query) -> None:
    platform.ok(f"{PROVISION} --admin-email A@one.example")
    hashed = query('SELECT hashed_password FROM org_one."user"')
    command = "beak-lims tenant add-admin --slug one --email a@ONE.example"
    assert platform.refused(command).startswith("User 'a@one.example' exists already in tenant 'one'.")
    assert query('SELECT hashed_password FROM org_one."user"') == hashed
    assert "One-time password: " in platform.ok(f"{command} --reset-password")
    assert query('SELECT email, must_change_password FROM org_one."user"') == [("a@one.example", True)]
    assert query('SELECT hashed_password FROM org_one."user"') != hashed
