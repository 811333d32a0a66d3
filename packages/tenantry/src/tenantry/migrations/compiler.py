"""Compile the way between two revisions by running it for real on a scratch place and recording what it sends.

Dialect checks and inspectors work as their authors meant, since they meet a real database. A plan is proved before it
is trusted: replayed on a second scratch place it must give the same fingerprint, else its revisions are marked to run
as Python. A revision that reads the tenant's own rows cannot be replayed on a store that has rows, and is marked too.
Values that a revision makes up (a time, a random key) are the same for every tenant afterwards.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

import psycopg
import sqlalchemy as sa

from tenantry.errors import MigrationFailed, RevisionsRejected, StatementFailed, TenancyError
from tenantry.migrations import online
from tenantry.migrations.directory import BASE, Migrations
from tenantry.migrations.fingerprint import fingerprint, row_counts
from tenantry.migrations.plan import Kind, Plan, Step
from tenantry.stores.base import Parameters, Statement, Store

FORMAT = 1  # of a plan; plans of another format are compiled again
CATALOGS = frozenset({"pg_catalog", "information_schema"})
SQLITE_CATALOG = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"})
SCRATCH = "tenantry_scratch_"  # begins the name of a scratch schema

_FIRST_WORD = re.compile(r"\A(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
_ENDS_TRANSACTION = re.compile(r"\s*(?:COMMIT|END|ABORT|ROLLBACK(?!\s+(?:\w+\s+)?TO\b)|BEGIN|START)\b", re.IGNORECASE)
_EXPLAINABLE = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"})


def plan_digest(store: Store, migrations: Migrations, base: str | None, target: str | None) -> str:
    """What a plan depends on, as one hash: the revisions' text, both ends, the database, and the software that compiled
    it.
    """
    parts = [
        FORMAT,
        store.dialect_name,
        migrations.digest,
        migrations.version_table,
        base,
        target,
        version("alembic"),
        version("sqlalchemy"),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compile_plan(
    store: Store, migrations: Migrations, base: str | None, target: str | None, start: Plan | None = None
) -> Plan:
    """Record the way from ``base`` to ``target``. ``start``: the plan from nothing to ``base``, needed when there is a
    base.

    :raises MigrationFailed: a revision raised. :raises RevisionsRejected: there is no such way.
    """
    location = f"a scratch {store.kind}"
    with store.scratch() as connection:
        if start is not None:
            lay(store, migrations, connection, start)
        steps = _record(migrations, connection, target, location)
        recorded = fingerprint(connection), row_counts(connection)
    plan = Plan(plan_digest(store, migrations, base, target), base, target, tuple(steps))
    if base is None:
        # Every tenant starts from nothing, so what a revision read on the scratch place is what it would read there
        # too.
        plan = replace(
            plan,
            steps=tuple(
                step if _movable(step) else replace(step, kind=Kind.PYTHON) for step in _all_replay(plan.steps)
            ),
        )
    if plan.replayable and not _proved(store, migrations, plan, start, recorded):
        plan = replace(plan, steps=tuple(replace(step, kind=Kind.PYTHON) for step in plan.steps))
    return plan


def lay(store: Store, migrations: Migrations, connection: sa.Connection, plan: Plan) -> None:
    """Carry out a plan from nothing on an empty place, inside the caller's transaction."""
    if plan.replayable:
        store.send(connection, plan.statements, f"a scratch {store.kind}")
    else:
        online.run(connection, migrations, plan.target, on_autocommit=lambda: None)


def _all_replay(steps: tuple[Step, ...]) -> Iterator[Step]:
    return (replace(step, kind=Kind.REPLAY) for step in steps)


def _movable(step: Step) -> bool:
    return not any(SCRATCH in text for text, _ in step.statements)


def _proved(store: Store, migrations: Migrations, plan: Plan, start: Plan | None, recorded: tuple[Any, Any]) -> bool:
    with store.scratch() as connection:
        if start is not None:
            lay(store, migrations, connection, start)
        try:
            store.send(connection, plan.statements, f"a scratch {store.kind}")
        except StatementFailed:
            return False
        return (fingerprint(connection), row_counts(connection)) == recorded


def _record(migrations: Migrations, connection: sa.Connection, target: str | None, location: str) -> list[Step]:
    recorder = _PostgresRecorder(migrations) if connection.dialect.name == "postgresql" else _SqliteRecorder(migrations)
    with recorder.listening(connection):
        try:
            online.run(
                connection,
                migrations,
                target,
                on_begin=recorder.begin_step,
                on_step=recorder.end_step,
                on_autocommit=recorder.mark_autocommit,
            )
        except TenancyError:
            raise
        except Exception as error:  # a revision is the application's code and may raise anything
            raise MigrationFailed(location, recorder.running or target or BASE, online.explained(error)) from error
    if not recorder.whole(connection):
        raise recorder.refusal()
    return recorder.steps


class _Recorder:
    """Collects the statements of one run, cut into steps."""

    def __init__(self, migrations: Migrations) -> None:
        self.migrations = migrations
        self.steps: list[Step] = []
        self.running: str | None = None
        self._statements: list[Statement] = []
        self._kind = Kind.REPLAY

    def begin_step(self, revision: str) -> None:
        self.running = revision

    def end_step(self, revision: str, after: str | None) -> None:
        kind = (
            Kind.PYTHON
            if self._kind is Kind.REPLAY and any(SCRATCH in text for text, _ in self._statements)
            else self._kind
        )
        self.steps.append(Step(revision, after, kind, tuple(self._statements)))
        self._statements, self._kind = [], Kind.REPLAY

    def mark_autocommit(self) -> None:
        self._kind = Kind.AUTOCOMMIT

    def mark_python(self) -> None:
        if self._kind is Kind.REPLAY:
            self._kind = Kind.PYTHON

    @contextmanager
    def listening(self, connection: sa.Connection) -> Iterator[None]:
        listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self.before,
            "after_cursor_execute": self.after,
            "commit": self.ended,
            "rollback": self.ended,
        }
        for event, listener in listeners.items():
            sa.event.listen(connection, event, listener)
        try:
            yield
        finally:
            for event, listener in listeners.items():
                sa.event.remove(connection, event, listener)

    def before(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        """Stop what would end the transaction before it is sent: nothing of the scratch place may be kept."""
        if _ENDS_TRANSACTION.match(statement):
            raise self.refusal()

    def ended(self, connection: Any) -> None:
        """The same for a commit or rollback that the revision asks of SQLAlchemy."""
        raise self.refusal()

    def refusal(self) -> RevisionsRejected:
        return RevisionsRejected(
            self.migrations.directory,
            f"revision {self.running} ends the transaction it runs in;"
            " use op.get_context().autocommit_block() for what must run outside one.",
        )

    def after(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        """Keep what was sent."""
        raise NotImplementedError

    def whole(self, connection: sa.Connection) -> bool:
        """Whether the transaction that the run began in is still the same."""
        raise NotImplementedError


class _PostgresRecorder(_Recorder):
    _transaction: int | None = None

    @contextmanager
    def listening(self, connection: sa.Connection) -> Iterator[None]:
        self._transaction = self._current(connection)
        with super().listening(connection):
            yield

    @staticmethod
    def _current(connection: sa.Connection) -> int:
        with _driver(connection).cursor() as cursor:
            row = cursor.execute("SELECT txid_current()").fetchone()
        return int(row[0]) if row else 0

    def whole(self, connection: sa.Connection) -> bool:
        return self._current(connection) == self._transaction

    def after(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        driver = _driver(connection)
        plain = context is not None and context.execution_options.get("no_parameters") and not parameters
        many = parameters if executemany else [None if plain else parameters]
        texts = [
            statement if values is None else psycopg.ClientCursor(driver).mogrify(statement, values) for values in many
        ]
        if cursor.description is not None:
            if _first_word(statement) not in _EXPLAINABLE:
                return  # SHOW and its like change nothing
            schemas = {
                schema
                for text in texts
                for schema, table in self._reads(driver, text)
                if table != self.migrations.version_table
            }
            if schemas and schemas <= CATALOGS:
                return  # an inspector's question; its answer is baked into what follows
            if schemas - CATALOGS:
                self.mark_python()
        self._statements.extend((text, ()) for text in texts)

    @staticmethod
    def _reads(driver: psycopg.Connection[Any], text: str) -> set[tuple[str, str]]:
        """Schema and name of every relation that a statement touches, as the planner says."""
        with driver.cursor() as cursor:
            row = cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {text}".encode(), prepare=False).fetchone()
        found: set[tuple[str, str]] = set()
        nodes: list[Any] = [row[0] if row else []]
        while nodes:
            node = nodes.pop()
            if isinstance(node, list):
                nodes.extend(node)
            elif isinstance(node, dict):
                if "Relation Name" in node:
                    found.add((node.get("Schema", ""), node["Relation Name"]))
                nodes.extend(value for value in node.values() if isinstance(value, (list, dict)))
        return found


class _SqliteRecorder(_Recorder):
    def __init__(self, migrations: Migrations) -> None:
        super().__init__(migrations)
        self._read: set[str] = set()

    @contextmanager
    def listening(self, connection: sa.Connection) -> Iterator[None]:
        def note(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
            if action == sqlite3.SQLITE_READ and first:
                self._read.add(first)
            return sqlite3.SQLITE_OK

        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(note)
        try:
            with super().listening(connection):
                yield
        finally:
            driver.set_authorizer(None)

    def whole(self, connection: sa.Connection) -> bool:
        driver: Any = connection.connection.driver_connection
        return bool(driver.in_transaction)

    def before(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        super().before(connection, cursor, statement, parameters, context, executemany)
        self._read.clear()

    def after(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if _first_word(statement) == "PRAGMA" and "=" not in statement:
            return
        if cursor.description is not None:
            tables = self._read - {self.migrations.version_table}
            if tables and tables <= SQLITE_CATALOG:
                return
            if tables - SQLITE_CATALOG:
                self.mark_python()
        many = parameters if executemany else [parameters]
        self._statements.extend((statement, _plain(values)) for values in many)


def _plain(parameters: Any) -> Parameters:
    """Parameters of SQLite as the values that it keeps: a raw statement may have been given a date."""
    if isinstance(parameters, dict):
        return {name: _stored(value) for name, value in parameters.items()}
    return tuple(_stored(value) for value in parameters or ())


def _stored(value: Any) -> Any:
    kept = (str, int, float, bytes, bytearray, memoryview, type(None))
    return value if isinstance(value, kept) else sqlite3.adapt(value, sqlite3.PrepareProtocol)


def _driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _first_word(statement: str) -> str:
    match = _FIRST_WORD.match(statement)
    return match.group(1).upper() if match else ""
