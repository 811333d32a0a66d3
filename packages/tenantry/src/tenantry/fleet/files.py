"""A replayable plan on SQLite files, several at once, each in one transaction of its own file.

A thread has one file in hand: SQLite lets go of the interpreter while it reads, changes and syncs.

The registry is another file, and no transaction spans both: what is written there follows in batches, after the files
it tells of. A process that is killed between leaves a ledger that is behind the files; the next rollout reads the file,
finds the work done, and writes it down.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from urllib.parse import quote

from tenantry.errors import StoreError, TenantBusy
from tenantry.fleet.crew import Crew, Feed, Result, Task, Verdict
from tenantry.migrations.plan import Plan
from tenantry.stores.faults import cause, scrubbed
from tenantry.stores.sqlite import SqliteFiles

BATCH = 50  # tenants whose outcome is written at once
BATCH_SECONDS = 0.5  # ... or after this time

_THERE = re.compile(r"(?:table|index|view|trigger) \"?([^ \"]+)\"? already exists")

Admit = Callable[[Task], str]  # yes, busy, gone, stopped
Keep = Callable[[list[Result]], None]  # writes what was done into the registry


class FileCrew(Crew):
    """Up to ``jobs`` files at a time, each under its tenant's lock. A ``trial`` undoes everything."""

    def __init__(
        self,
        store: SqliteFiles,
        version_table: str,
        *,
        admit: Admit,
        keep: Keep,
        jobs: int,
        patience: float,
        trial: bool = False,
    ) -> None:
        self._store = store
        self._version = '"' + version_table.replace('"', '""') + '"'
        self._version_table = version_table
        self._admit = admit
        self._keep = keep
        self._jobs = jobs
        self._patience = patience
        self._end = "ROLLBACK" if trial else "COMMIT"

    def run(self, feed: Feed) -> Iterator[Result]:
        done: list[Result] = []
        began = time.monotonic()
        with ThreadPoolExecutor(self._jobs, "tenantry-rollout") as threads:
            at_work: set[Future[Result]] = set()
            try:
                while True:
                    while len(at_work) < self._jobs and (task := feed()) is not None:
                        at_work.add(threads.submit(self._attempt, task))
                    if not at_work:
                        return
                    ended, at_work = wait(at_work, return_when=FIRST_COMPLETED)
                    results = [each.result() for each in ended]
                    done += [result for result in results if result.verdict is Verdict.DONE]
                    if len(done) >= BATCH or (done and time.monotonic() - began > BATCH_SECONDS):
                        written, done, began = done, [], time.monotonic()
                        self._keep(written)
                    yield from results
            finally:
                # Whatever ends it: what was changed is told of.
                done += [result for each in at_work if (result := each.result()).verdict is Verdict.DONE]
                if done:
                    self._keep(done)

    def close(self) -> None:
        """Nothing is kept open between two tenants."""

    def _attempt(self, task: Task) -> Result:
        start = time.perf_counter()
        try:
            with self._store.lock(task.tenant.slug, wait=False):
                admitted = self._admit(task)
                if admitted != "yes":
                    return Result(task, Verdict(admitted), time.perf_counter() - start, error=REASONS.get(admitted))
                return self._change(task, start)
        except TenantBusy as error:
            return Result(task, Verdict.BUSY, time.perf_counter() - start, error=str(error))
        except StoreError as error:
            return Result(task, Verdict.FAILED, time.perf_counter() - start, error=str(error))

    def _change(self, task: Task, start: float) -> Result:
        path = self._store.path(task.tenant.location)
        index, waited = -1, 0.0
        try:
            with closing(
                sqlite3.connect(
                    f"file:{quote(str(path))}?mode=rw", uri=True, timeout=self._patience, isolation_level=None
                )
            ) as driver:
                # Off while tables are rebuilt: dropping the old one would delete every row that points at it.
                driver.execute("PRAGMA foreign_keys = OFF")
                driver.execute("BEGIN IMMEDIATE")
                waited = time.perf_counter() - start
                found = self._found(driver)
                if found != task.plan.base:
                    return Result(task, Verdict.MOVED, time.perf_counter() - start, found=found)
                for text, values in task.plan.statements:
                    index += 1
                    driver.execute(text, values)
                broken = driver.execute("PRAGMA foreign_key_check").fetchone()
                if broken is not None:
                    reason = f"Rows of {broken[0]!r} would point at no row of {broken[2]!r}."
                    return Result(
                        task,
                        Verdict.FAILED,
                        time.perf_counter() - start,
                        waited,
                        "SQLITE_CONSTRAINT_FOREIGNKEY",
                        broken[0],
                        reason,
                    )
                driver.execute(self._end)
            return Result(task, Verdict.DONE, time.perf_counter() - start, waited, recorded=True)
        except sqlite3.Error as error:
            return failure(task, error, index, time.perf_counter() - start, waited)

    def _found(self, driver: sqlite3.Connection) -> str | None:
        return standing(driver, self._version_table, self._version)


REASONS = {"busy": "Another operation has the tenant.", "gone": "The tenant is no longer served."}


def standing(driver: sqlite3.Connection, table: str, quoted: str) -> str | None:
    """Where the file behind this connection stands; several heads are joined by ","."""
    there = driver.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone()
    if there is None:
        return None
    rows = driver.execute(f"SELECT version_num FROM {quoted}").fetchall()
    return ",".join(sorted(row[0] for row in rows)) or None


def failure(task: Task, error: sqlite3.Error, index: int, seconds: float, waited: float | None) -> Result:
    """What an error says of a task; ``index``: of the statement that failed, negative when it was none."""
    code = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
    text = scrubbed(f"{cause(error).rstrip('.')}.")
    busy = code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    if index >= 0:
        text = f"Revision {_revision(task.plan, index)}: {text}"
    verdict = Verdict.BUSY if busy else Verdict.FAILED
    return Result(task, verdict, seconds, waited, code, subject(str(error)), text)


def subject(message: str) -> str | None:
    """What SQLite's message is about: it names columns and tables after its last colon, or what there is already."""
    there = _THERE.match(message)
    if there is not None:
        return there[1]
    _, colon, name = message.rpartition(": ")
    return name if colon else None


def _revision(plan: Plan, index: int) -> str:
    for step in plan.steps:
        index -= len(step.statements)
        if index < 0:
            return step.revision
    return plan.steps[-1].revision
