"""A process that runs revisions as Python on one tenant after the other.

Alembic keeps its context in process-wide names, so tenants at once need processes, and fresh ones: what the parent has
open is not theirs. The parent writes pickled tasks to stdin and reads pickled answers; whatever a revision prints goes
to stderr.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tenantry.errors import StoreError, TenancyError, TenantBusy, TenantNotFound
from tenantry.fleet.crew import Verdict
from tenantry.migrations import apply
from tenantry.migrations.directory import Migrations
from tenantry.migrations.planner import Planner
from tenantry.names import NameTemplate
from tenantry.registry.registry import Registry
from tenantry.registry.rollouts import RolloutBook
from tenantry.stores.base import Store
from tenantry.tenant import Tenant


@dataclass(frozen=True)
class Setting:
    """What a worker must know to build the same store and migrations as its parent. It holds the database's password:
    it goes through a pipe and nowhere else.
    """

    dialect: str
    url: str  # or the storage root
    template: NameTemplate
    options: Mapping[str, Any]
    migrations: str
    version_table: str
    rollout_uid: str
    target: str | None
    patience: float
    path: tuple[str, ...]  # sys.path, so that revisions find the application's modules

    def store(self) -> Store:
        """The store."""
        if self.dialect == "sqlite":
            from tenantry.stores.sqlite import SqliteFiles

            return SqliteFiles(self.url, self.template, **self.options)
        from tenantry.stores.postgres import PostgresSchemas

        return PostgresSchemas(self.url, self.template, pool_size=2, max_overflow=4, **self.options)


@dataclass(frozen=True)
class Answer:
    """What became of one tenant."""

    verdict: Verdict
    seconds: float
    lock_wait: float | None = None
    sqlstate: str | None = None
    object: str | None = None
    error: str | None = None


class Refused(TenancyError):
    """The tenant may not be changed now. Fields: why."""

    def __str__(self) -> str:
        return f"It may not be migrated now ({self.args[0]})."


class Worker:
    """Brings tenants to the target of one rollout."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._store = setting.store()
        store = self._store
        self._registry = Registry(store.control_engine, store.control_schema, store.describe())
        self._book = RolloutBook(self._registry, store.control_schema)
        migrations = Migrations(setting.migrations, version_table=setting.version_table)
        self._planner = Planner(store, migrations, self._registry)

    def bring(self, tenant: Tenant) -> Answer:
        """Bring one tenant to the target; its ledger and outcome go with its last transaction."""
        start = time.perf_counter()
        waited: list[float] = []

        def claim(connection: sa.Connection | None) -> None:
            if connection is not None:
                patience = f"SET LOCAL lock_timeout = {max(int(self._setting.patience * 1000), 1)}"
                connection.exec_driver_sql(patience)
            admitted = self._book.admit(self._setting.rollout_uid, tenant, connection)
            if admitted != "yes":
                raise Refused(admitted)
            waited.append(time.perf_counter() - start)

        def ledger(connection: sa.Connection, revision: str | None) -> None:
            self._registry.set_revision(tenant.slug, revision, connection=connection)
            if revision == self._setting.target:
                seconds = time.perf_counter() - start
                self._book.record(
                    self._setting.rollout_uid,
                    tenant.uid,
                    "done",
                    revision=revision,
                    seconds=seconds,
                    lock_wait=waited[0] if waited else None,
                    sqlstate=None,
                    object=None,
                    error=None,
                    connection=connection,
                )

        try:
            with self._store.lock(tenant.slug, wait=False):
                apply.bring(self._store, self._planner, tenant, self._setting.target, claim=claim, ledger=ledger)
        except Refused as error:
            return Answer(Verdict(error.args[0]), time.perf_counter() - start, error=str(error))
        except TenantBusy as error:
            return Answer(Verdict.BUSY, time.perf_counter() - start, error=str(error))
        except TenantNotFound as error:
            return Answer(Verdict.GONE, time.perf_counter() - start, error=str(error))
        except TenancyError as error:
            return self._failed(error, time.perf_counter() - start)
        return Answer(Verdict.DONE, time.perf_counter() - start, waited[0] if waited else None)

    @staticmethod
    def _failed(error: TenancyError, seconds: float) -> Answer:
        from tenantry.fleet import files

        driver = _driver_error(error)
        text = str(error)
        if isinstance(driver, sqlite3.Error):
            code = getattr(driver, "sqlite_errorname", None) or "SQLITE_ERROR"
            busy = code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            verdict = Verdict.BUSY if busy else Verdict.FAILED
            return Answer(verdict, seconds, None, code, files.subject(str(driver)), text)
        if driver is not None:
            from tenantry.fleet import messages

            state = driver.sqlstate
            verdict = Verdict.BUSY if state in messages.LATER else Verdict.FAILED
            return Answer(verdict, seconds, None, state, messages.subject(driver), text)
        return Answer(Verdict.FAILED, seconds, None, None, type(error).__name__, text)


def _driver_error(error: BaseException) -> Any:
    """The driver's error that an error came from, if one did."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, sa.exc.DBAPIError) and found.orig is not None:
            return found.orig
        if isinstance(found, sqlite3.Error) or hasattr(found, "sqlstate"):
            return found
        found = found.__cause__
    return None


def main() -> None:
    """Answer tasks until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a revision prints is no answer
    tasks = sys.stdin.buffer
    # Written by the parent of this process, over a pipe that nobody else holds.
    setting: Setting = pickle.load(tasks)  # noqa: S301 - from our parent
    sys.path[:] = setting.path
    worker = Worker(setting)
    while True:
        try:
            tenant: Tenant = pickle.load(tasks)  # noqa: S301 - from our parent
        except EOFError:
            return
        try:
            answer = worker.bring(tenant)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            answer = Answer(Verdict.FAILED, 0.0, error=str(StoreError(tenant.location, type(error).__name__)))
        pickle.dump(answer, answers)
        answers.flush()
