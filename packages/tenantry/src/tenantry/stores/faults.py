"""The one place where errors of drivers and of the file system become the engine's, the most specific first.

Only what a driver or the operating system raised is turned: a bug (``TypeError``, ``AttributeError``) and the
engine's own errors pass untouched. The texts made here hold no password; the driver's error stays attached as the
cause for debug logs.
"""

from __future__ import annotations

import errno
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tenantry.errors import (
    PermissionMissing,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreUnavailable,
    TenancyError,
)

MAX_TEXT = 2_000  # characters of an error's text that are kept on a record

# The password goes up to the last "@" before a blank: one written without percent-encoding may itself hold "@", ":"
# or "/".
_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):\S*@", re.IGNORECASE)
_KEY_PASSWORD = re.compile(
    r"\b((?:\w*password|passwd|pwd)\s*=\s*)('(?:[^'\\]|\\.|'')*'|\"[^\"]*\"|[^\s&]+)", re.IGNORECASE
)
_SQL_PASSWORD = re.compile(r"(\bPASSWORD\s+)(E?'(?:[^'\\]|\\.|'')*')", re.IGNORECASE)

# Of the driver's classes, those that without a state of the server mean: it was not reached, or the connection broke.
_LOST = {"OperationalError", "InterfaceError"}
_LOGIN_REFUSED = {"28000", "28P01"}
_NOT_SERVED = {"3D000", "53300", "57P01", "57P02", "57P03", "57P05"}
_NOT_FOUND = {"42P01", "3F000"}
_REASONS = {
    "25006": "the database is read-only (a standby, or default_transaction_read_only is on).",
    "53100": "the disk of the database server is full.",
    "53200": "the database server is out of memory (or of locks: raise max_locks_per_transaction).",
    "55P03": "another transaction holds a lock on it; try again.",
    "57014": "the statement took too long or was cancelled.",
    "40001": "another transaction changed the same rows; try again.",
    "40P01": "it waited for another transaction that waited for it (deadlock); try again.",
}
_SQLITE_REASONS = (
    ("SQLITE_FULL", "the disk is full."),
    ("SQLITE_READONLY", "the file or its directory is read-only."),
    ("SQLITE_PERM", "this user may not read or write the file."),
    ("SQLITE_BUSY", "another process holds its lock; try again."),
    ("SQLITE_LOCKED", "another connection holds its lock; try again."),
    (
        "SQLITE_IOERR",
        "reading or writing it failed: the disk is full, a size limit is reached, or the device is faulty.",
    ),
    ("SQLITE_TOOBIG", "a value is too large for SQLite."),
)
_FILE_REASONS = {
    errno.ENOSPC: "the disk is full.",
    errno.EDQUOT: "the disk quota is used up.",
    errno.EFBIG: "the largest file size allowed is reached.",
    errno.EROFS: "the file system is read-only.",
    errno.EMFILE: "this process has too many open files; raise `ulimit -n`.",
    errno.ENFILE: "the system has too many open files.",
}
_DENIED = re.compile(r"permission denied for (\w+(?: \w+)*?) \"?(.+?)\"?$")
_OWNED = re.compile(r"must be owner of (\w+(?: \w+)*?) \"?(.+?)\"?$")
_MEMBER = re.compile(
    r"(?:permission denied to (?:grant|set|drop|alter) role"
    r"|must have admin option on role|must be member of role|must be able to SET ROLE) \"(.+)\"$"
)
_RIGHTS = {
    "database": "CREATE",
    "schema": "USAGE, CREATE",
    "table": "SELECT, INSERT, UPDATE, DELETE",
    "sequence": "USAGE, SELECT",
    "function": "EXECUTE",
    "type": "USAGE",
    "language": "USAGE",
    "tablespace": "CREATE",
}


@contextmanager
def faults(
    location: str, *, user: str | None = None, missing: Callable[[str], TenancyError] | None = None
) -> Iterator[None]:
    """Turn the errors that drivers and the operating system raise inside into the engine's own.

    ``location`` is named in them and must hold no secret. ``user`` is the database user that a GRANT would be for; by
    default the one in ``location``. ``missing`` makes the error for a table or schema that is not there; without it
    that is a StoreError.
    """
    try:
        yield
    except _foreign() as error:
        raise translated(error, location, user=user, missing=missing) from error


def _foreign() -> tuple[type[Exception], ...]:
    kinds: tuple[type[Exception], ...] = (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error, OSError)
    psycopg = sys.modules.get(
        "psycopg"
    )  # not loaded: it has raised nothing, and a SQLite-only process need not load it
    return kinds if psycopg is None else (*kinds, psycopg.Error)


def translated(
    error: Exception,
    location: str,
    *,
    user: str | None = None,
    missing: Callable[[str], TenancyError] | None = None,
) -> TenancyError:
    """The engine's error for one that a driver or the operating system raised."""
    if isinstance(error, sa.exc.TimeoutError):
        return StoreUnavailable(location, "all connections of the pool are in use; raise its size or close sessions.")
    driver = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(driver, OSError):
        return StoreError(location, _FILE_REASONS.get(driver.errno or 0) or f"{driver.strerror or cause(driver)}.")
    if isinstance(driver, sqlite3.Error):
        return _from_sqlite(driver, location, missing)
    return _from_postgres(driver or error, location, user, missing)


def cause(error: BaseException) -> str:
    """What an error says, in one line without secrets, for a record or a message.

    Of a driver's error only the driver's own words, not the statement and its values.
    """
    if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    diagnostics = getattr(error, "diag", None)
    text = getattr(diagnostics, "message_primary", None) or str(error) or type(error).__name__
    return scrubbed(" ".join(text.split()))


def scrubbed(text: str) -> str:
    """The text as it may be kept and shown: passwords hidden, cut, and only what every database can store."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    text = _KEY_PASSWORD.sub(r"\1***", text)
    text = _SQL_PASSWORD.sub(r"\1***", text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _from_sqlite(error: sqlite3.Error, location: str, missing: Callable[[str], TenancyError] | None) -> TenancyError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StoreDamaged(location, str(error))
    if code.startswith("SQLITE_CANTOPEN"):
        return StoreUnavailable(
            location, "the file cannot be opened; its directory must exist and be writable by this user."
        )
    if missing is not None and code == "SQLITE_ERROR" and str(error).startswith("no such table"):
        return missing(location)
    for start, reason in _SQLITE_REASONS:
        if code.startswith(start):
            return StoreError(location, reason)
    return StoreError(location, f"{cause(error)}.")


def _from_postgres(
    error: BaseException, location: str, user: str | None, missing: Callable[[str], TenancyError] | None
) -> TenancyError:
    state: str | None = getattr(error, "sqlstate", None)
    text = cause(error)
    if state is None and not _LOST & {kind.__name__ for kind in type(error).__mro__}:
        return StoreError(location, f"{text}.")  # the driver refused a value before it sent anything
    if state is None or state in _LOGIN_REFUSED or state in _NOT_SERVED or state.startswith("08"):
        return StoreUnavailable(location, text if text.endswith((".", "?")) else f"{text}.")
    if missing is not None and state in _NOT_FOUND:
        return missing(location)
    if state == "42501":
        return _permission(text, user or _user_in(location))
    if state in ("42P06", "42710") and (taken := re.search(r"(schema|role) \"(.+)\" already exists", text)):
        return StoreExists(taken[1], taken[2])
    if state in ("XX001", "XX002"):
        return StoreDamaged(location, text)
    return StoreError(location, _REASONS.get(state) or f"{text}.")


def _user_in(location: str) -> str | None:
    found = re.search(r"://([^\s:@/]+)(?::[^\s@]*)?@", location)
    return found[1] if found else None


def _permission(text: str, user: str | None) -> PermissionMissing:
    """The error that names the statement which would allow it.

    The server's sentences are matched in English; others are passed on whole.
    """
    to = _quoted(user) if user else "<the application's database user>"
    if text == "permission denied to create role":
        grant = f"ALTER ROLE {to} CREATEROLE; (or declare the store with role_per_tenant=False)"
        return PermissionMissing("create a role", grant)
    if found := _MEMBER.search(text):
        return PermissionMissing(f"use the role {found[1]!r}", f"GRANT {_quoted(found[1])} TO {to} WITH ADMIN OPTION;")
    if found := _OWNED.search(text):
        kind, name = found[1], found[2]
        return PermissionMissing(f"change the {kind} {name!r}", f"ALTER {kind.upper()} {_quoted(name)} OWNER TO {to};")
    if (found := _DENIED.search(text)) and found[1] in _RIGHTS:
        kind, name = found[1], found[2]
        rights = _RIGHTS[kind]
        doing = "create a schema in" if kind == "database" else "use"
        return PermissionMissing(
            f"{doing} the {kind} {name!r}", f"GRANT {rights} ON {kind.upper()} {_quoted(name)} TO {to};"
        )
    return PermissionMissing(f"do this ({text})", f"the right that the server misses, for {to}.")


def _quoted(name: str) -> str:
    """A name as it stands in the statement shown to people; nothing here runs it."""
    return '"' + name.replace('"', '""') + '"'
