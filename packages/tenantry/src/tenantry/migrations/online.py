"""Run revisions as the Python they are, on one connection.

Drives Alembic's own MigrationContext; an application's env.py is not run, since it may open a connection of its own and
lose the tenant. Alembic keeps its context in process-wide names, so one run at a time holds a lock: for many tenants at
once use processes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tenantry.migrations.directory import Migrations
from tenantry.stores.faults import cause

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

# The only statements that must leave a transaction on a filled table and need not on an empty one.
_CONCURRENTLY = re.compile(
    r"^(\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\s+\w+))\s+CONCURRENTLY\b", re.IGNORECASE
)
alembic_lock = threading.RLock()

OnStep = Callable[[str, "str | None"], None]  # the revision, and where the store stands after it


def run(
    connection: sa.Connection,
    migrations: Migrations,
    target: str | None,
    *,
    only: str | None = None,
    on_begin: Callable[[str], None] | None = None,
    on_step: OnStep | None = None,
    on_autocommit: Callable[[], None] | None = None,
) -> None:
    """Bring the store behind this connection to a revision (None: base) by running each revision on the way.

    ``only``: of the revisions on the way, run this one. ``on_begin`` is called with each before it runs.

    Inside a transaction everything stays in it. ``on_autocommit``: a revision's autocommit_block is then run inside the
    transaction as well (on a place without rows an index need not be built concurrently) and this is called; without it
    such a block commits, as Alembic says.
    """
    from alembic.runtime.environment import EnvironmentContext

    def steps(heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
        for step in migrations.steps(heads, target):
            revision: str = step.revision.revision
            if only in (None, revision):
                if on_begin is not None:
                    on_begin(revision)
                yield step

    def applied(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
        if on_step is not None:
            on_step(step.up_revision_id, ",".join(sorted(heads)) or None)

    with alembic_lock, EnvironmentContext(migrations.config, migrations.scripts, fn=steps) as environment:
        environment.configure(
            connection=connection,
            version_table=migrations.version_table,
            transactional_ddl=True,  # the store begins a real transaction on SQLite too
            transaction_per_migration=True,
            on_version_apply=applied,
        )
        context = environment.get_context()
        if on_autocommit is None:
            environment.run_migrations()
            return

        @contextmanager
        def inline() -> Iterator[None]:
            on_autocommit()
            sa.event.listen(connection, "before_cursor_execute", _without_concurrently, retval=True)
            try:
                yield
            finally:
                sa.event.remove(connection, "before_cursor_execute", _without_concurrently)

        context.autocommit_block = inline  # type: ignore[method-assign]  # of this run alone
        environment.run_migrations()


def explained(error: Exception) -> str:
    """What stopped a revision: the database's own words, or the exception as Python names it."""
    text = cause(error).rstrip(".")
    return f"{text}." if isinstance(error, sa.exc.DBAPIError) else f"{type(error).__name__}: {text}."


def _without_concurrently(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    return _CONCURRENTLY.sub(r"\1", statement), parameters


def revision_of(connection: sa.Connection, version_table: str) -> str | None:
    """Where the store behind this connection stands; None without a version table or row; several heads are joined by
    ",".
    """
    if not sa.inspect(connection).has_table(version_table):
        return None
    rows = connection.execute(
        sa.text(f"SELECT version_num FROM {connection.dialect.identifier_preparer.quote(version_table)}")
    )
    return ",".join(sorted(rows.scalars())) or None
