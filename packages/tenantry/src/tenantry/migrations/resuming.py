"""Statements outside a transaction, made so that they can be run again after they were interrupted.

What an ``autocommit_block`` did is kept although its revision did not end: an index that was built, one that is invalid
because its building was stopped, a value added to a type. When the revision runs again, what stands is passed over and
what is invalid is removed first. What a revision did in front of the block is kept as well and is not passed over: such
statements belong into a revision of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

_NAME = r"(?P<name>(?:\"(?:[^\"]|\"\")+\"|[\w$]+)(?:\.(?:\"(?:[^\"]|\"\")+\"|[\w$]+))?)"
_BUILD = re.compile(
    rf"^(?P<head>\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+)(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}(?=\s+ON\b)",
    re.IGNORECASE,
)
_DROP = re.compile(r"^(\s*DROP\s+INDEX\s+CONCURRENTLY\s+)(?!IF\b)", re.IGNORECASE)
_ADD = re.compile(r"^(\s*ALTER\s+TYPE\s+\S+\s+ADD\s+VALUE\s+)(?!IF\b)", re.IGNORECASE)


@contextmanager
def resuming(connection: sa.Connection) -> Iterator[None]:
    """Inside, what this connection sends outside a transaction may have been done before."""
    if connection.dialect.name != "postgresql":
        yield
        return

    def before(
        one: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        driver: Any = connection.connection.driver_connection
        return (repeatable(driver, statement) if driver.autocommit else statement), parameters

    sa.event.listen(connection, "before_cursor_execute", before, retval=True)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_cursor_execute", before)


def repeatable(driver: Any, statement: str) -> str:
    """The statement so that it does no harm when it was done before; removes an index that is not whole."""
    build = _BUILD.match(statement)
    if build is not None:
        name = build["name"]
        row = driver.execute(
            "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%s)", [name]
        ).fetchone()
        if row is not None and not row[0]:
            driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # as the revision itself quoted it
        return _BUILD.sub(lambda found: f"{found['head']}IF NOT EXISTS {found['name']}", statement)
    return _ADD.sub(r"\1IF NOT EXISTS ", _DROP.sub(r"\1IF EXISTS ", statement))
