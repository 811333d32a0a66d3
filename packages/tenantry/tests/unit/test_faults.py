"""Drivers' errors become the engine's, with every secret hidden."""

from __future__ import annotations

import errno
import pickle
import sqlite3

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import (
    PermissionMissing,
    RegistryMissing,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreUnavailable,
    TenantBusy,
)
from tenantry.stores.faults import MAX_TEXT, cause, faults, scrubbed, translated

WHERE = "postgresql://ann@db/app"


def postgres(state, text):
    """A server's error as psycopg raises it."""
    kind = psycopg.errors.lookup(state)
    error = kind(text)
    return sa.exc.DBAPIError("SELECT :secret", {"secret": "hunter2"}, error)


def sqlite_error(name, text="text of SQLite"):
    """An error of SQLite's library."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("state", "text", "kind", "says"),
    [
        ("28P01", 'password authentication failed for user "ann"', StoreUnavailable, "authentication failed"),
        ("28000", 'role "ann" does not exist', StoreUnavailable, "does not exist"),
        ("3D000", 'database "app" does not exist', StoreUnavailable, "does not exist"),
        ("53300", "sorry, too many clients already", StoreUnavailable, "too many clients"),
        ("57P01", "terminating connection due to administrator command", StoreUnavailable, "administrator"),
        ("57P03", "the database system is starting up", StoreUnavailable, "starting up"),
        ("08006", "connection failure", StoreUnavailable, "connection failure"),
        ("53100", "could not extend file", StoreError, "disk of the database server is full"),
        ("25006", "cannot execute INSERT in a read-only transaction", StoreError, "read-only"),
        ("53200", "out of shared memory", StoreError, "max_locks_per_transaction"),
        ("55P03", "canceling statement due to lock timeout", StoreError, "holds a lock"),
        ("57014", "canceling statement due to statement timeout", StoreError, "too long"),
        ("40P01", "deadlock detected", StoreError, "deadlock"),
        ("40001", "could not serialize access", StoreError, "try again"),
        ("XX001", "invalid page in block 3", StoreDamaged, "invalid page"),
        ("42P06", 'schema "org_x" already exists', StoreExists, "Tenant schema 'org_x' already exists"),
        ("42710", 'role "org_x" already exists', StoreExists, "Tenant role 'org_x' already exists"),
        ("42710", 'extension "x" already exists', StoreError, "already exists"),
        ("42P01", 'relation "note" does not exist', StoreError, "does not exist"),
        ("42601", 'syntax error at or near "x"', StoreError, "syntax error"),
    ],
)
def test_servers_error_becomes_the_most_specific_of_ours(state, text, kind, says) -> None:
    error = translated(postgres(state, text), WHERE)
    assert type(error) is kind
    assert says in str(error)
    assert "hunter2" not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_error_without_a_state_means_that_the_server_was_not_reached() -> None:
    error = translated(psycopg.OperationalError("connection refused\n\tIs the server running?"), WHERE)
    assert isinstance(error, StoreUnavailable)
    assert str(error) == f"Cannot connect to {WHERE}: connection refused Is the server running?"


@pytest.mark.parametrize("kind", [psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError])
def test_value_that_the_driver_refuses_does_not_mean_that_the_server_is_down(kind) -> None:
    error = translated(kind("text fields cannot contain NUL (0x00) bytes"), WHERE)
    assert type(error) is StoreError
    assert "NUL" in str(error)


def test_connection_that_was_closed_means_that_the_server_is_gone() -> None:
    assert isinstance(translated(psycopg.InterfaceError("the connection is closed"), WHERE), StoreUnavailable)


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("permission denied for database app", 'GRANT CREATE ON DATABASE "app" TO "ann";'),
        ("permission denied for schema platform", 'GRANT USAGE, CREATE ON SCHEMA "platform" TO "ann";'),
        ("permission denied for table tenant", 'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "tenant" TO "ann";'),
        ("permission denied for sequence s", 'GRANT USAGE, SELECT ON SEQUENCE "s" TO "ann";'),
        ("permission denied to create role", 'ALTER ROLE "ann" CREATEROLE; (or declare'),
        ('permission denied to grant role "org_x"', 'GRANT "org_x" TO "ann" WITH ADMIN OPTION;'),
        ('permission denied to set role "org_x"', 'GRANT "org_x" TO "ann" WITH ADMIN OPTION;'),
        ('must have admin option on role "org_x"', 'GRANT "org_x" TO "ann" WITH ADMIN OPTION;'),
        ('must be member of role "org_x"', 'GRANT "org_x" TO "ann" WITH ADMIN OPTION;'),
        ("must be owner of table note", 'ALTER TABLE "note" OWNER TO "ann";'),
        ("must be owner of schema org_x", 'ALTER SCHEMA "org_x" OWNER TO "ann";'),
        ("Zugriff verweigert", 'the right that the server misses, for "ann".'),
    ],
)
def test_missing_right_names_the_statement_that_gives_it(text, grant) -> None:
    error = translated(postgres("42501", text), WHERE)
    assert isinstance(error, PermissionMissing)
    assert grant in str(error)


def test_name_in_a_grant_is_quoted() -> None:
    error = translated(postgres("42501", 'permission denied for schema we"ird'), "here", user='o"hara')
    assert 'SCHEMA "we""ird" TO "o""hara";' in str(error)


def test_user_of_a_grant_is_left_open_when_nobody_knows_it() -> None:
    error = translated(postgres("42501", "permission denied for schema x"), "here")
    assert "<the application's database user>" in str(error)


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("SQLITE_NOTADB", StoreDamaged, "Restore it from a backup"),
        ("SQLITE_CORRUPT", StoreDamaged, "Restore it from a backup"),
        ("SQLITE_CORRUPT_VTAB", StoreDamaged, "Restore it from a backup"),
        ("SQLITE_CANTOPEN", StoreUnavailable, "its directory must exist"),
        ("SQLITE_CANTOPEN_ISDIR", StoreUnavailable, "its directory must exist"),
        ("SQLITE_FULL", StoreError, "disk is full"),
        ("SQLITE_READONLY_DBMOVED", StoreError, "read-only"),
        ("SQLITE_BUSY_SNAPSHOT", StoreError, "another process"),
        ("SQLITE_IOERR_WRITE", StoreError, "disk is full"),
        ("SQLITE_ERROR", StoreError, "text of SQLite"),
        ("", StoreError, "text of SQLite"),
    ],
)
def test_sqlites_error_becomes_the_most_specific_of_ours(name, kind, says) -> None:
    error = translated(sqlite_error(name), "/data/x.db")
    assert type(error) is kind
    assert "/data/x.db" in str(error)
    assert says in str(error)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "too many open files"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_file_systems_error_says_what_is_wrong(number, says) -> None:
    error = translated(OSError(number, "Permission denied"), "/data/x.db")
    assert type(error) is StoreError
    assert str(error).startswith("Store /data/x.db: ")
    assert says in str(error)


def test_exhausted_pool_is_said_to_be_one() -> None:
    error = translated(sa.exc.TimeoutError("QueuePool limit"), WHERE)
    assert isinstance(error, StoreUnavailable)
    assert "pool" in str(error)


@pytest.mark.parametrize(
    "error", [sqlite_error("SQLITE_ERROR", "no such table: tenant"), postgres("42P01", "x"), postgres("3F000", "x")]
)
def test_missing_table_is_what_the_caller_says_it_is(error) -> None:
    assert translated(error, "here", missing=RegistryMissing).args == ("here",)
    assert type(translated(error, "here")) is StoreError


@pytest.mark.parametrize("error", [TypeError("bug"), KeyError("bug"), TenantBusy("acme"), KeyboardInterrupt()])
def test_bugs_and_our_own_errors_pass_untouched(error) -> None:
    with pytest.raises(type(error)) as raised, faults("here"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [sqlite_error("SQLITE_FULL"), postgres("53100", "x"), psycopg.OperationalError("gone"), OSError(errno.ENOSPC, "x")],
)
def test_drivers_error_stays_attached_as_the_cause(error) -> None:
    with pytest.raises(StoreError) as raised, faults("here"):
        raise error
    assert raised.value.__cause__ is error


def test_cause_is_one_line_of_the_drivers_own_words() -> None:
    error = postgres("23505", 'duplicate key value\n violates "uq"')
    assert cause(error) == 'duplicate key value violates "uq"'
    assert cause(ValueError()) == "ValueError"


# -- secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://bob:secret@db/x now", "at postgresql://bob:***@db/x now"),
        ("postgresql+psycopg://bob:se@cr/e:t@db/x", "postgresql+psycopg://bob:***@db/x"),
        ("postgresql://bob@db/x", "postgresql://bob@db/x"),
        ("redis://:secret@cache/0", "redis://:***@cache/0"),
        ("host=db password=secret user=bob", "host=db password=*** user=bob"),
        ("password='sec ret\\'s' dbname=x", "password=*** dbname=x"),
        ("x?user=bob&password=secret&a=b", "x?user=bob&password=***&a=b"),
        ("PGPASSWORD=secret psql", "PGPASSWORD=*** psql"),
        ("ALTER ROLE bob PASSWORD 'sec''ret';", "ALTER ROLE bob PASSWORD ***;"),
        ("two a://b:c@d and e://f:g@h", "two a://b:***@d and e://f:***@h"),
        ("nothing to hide: a@b", "nothing to hide: a@b"),
    ],
)
def test_passwords_are_hidden(text, shown) -> None:
    assert scrubbed(text) == shown


@given(
    password=st.text(st.characters(exclude_categories=["Z", "C"]), min_size=8).filter(lambda text: "***" not in text)
)
def test_no_password_of_a_url_is_shown_however_it_is_written(password) -> None:
    shown = scrubbed(f"cannot reach postgresql://bob:{password}@db.example/app today")
    assert shown == "cannot reach postgresql://bob:***@db.example/app today"


@given(text=st.text(st.characters(), max_size=3 * MAX_TEXT))
def test_any_text_becomes_one_that_a_database_can_store(text) -> None:
    shown = scrubbed(text)
    assert len(shown) <= MAX_TEXT
    assert "\0" not in shown
    shown.encode()
