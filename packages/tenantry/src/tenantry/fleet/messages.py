"""One message per tenant, several connections, one thread: a replayable plan on PostgreSQL.

The message is a whole transaction: the tenant's row is held and looked at, its version table is compared with where the
plan begins, its tables are locked, the plan's statements follow, then the ledger and the outcome, then COMMIT. Whatever
fails in it leaves the tenant as it was. Python has nothing to do between two statements, so that one thread keeps the
server busy on every connection.
"""

from __future__ import annotations

import re
import selectors
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGresult

from tenantry.errors import StoreUnavailable
from tenantry.fleet.crew import Crew, Feed, Result, Task, Verdict
from tenantry.migrations.plan import Plan
from tenantry.stores.faults import cause, scrubbed
from tenantry.stores.postgres import CONNECT_TIMEOUT, KEEPALIVE, SEPARATOR, PostgresSchemas, commands

PATIENCE = 0.5  # seconds a transaction waits for a lock; whoever wants the same table waits behind it
TRIAL_LIMIT = 30  # seconds for one statement of a trial
RECONNECT = 3  # attempts to connect again when a connection was lost

# The engine's own, raised by the registry's functions (revision 0007).
_VERDICTS = {"TN001": Verdict.GONE, "TN002": Verdict.MOVED, "TN003": Verdict.STOPPED, "TN004": Verdict.BUSY}
# A lock that was not to be had, a deadlock, a serialization failure: the same may work later.
LATER = frozenset({"55P03", "40P01", "40001"})
_QUOTED = re.compile(r"[\"«„“]([^\"»“”]+)[\"»“”]")


class MessageCrew(Crew):
    """Connections of their own, each with at most one tenant in hand. Without a rollout everything is tried and undone,
    and nothing may take longer than ``TRIAL_LIMIT``.
    """

    def __init__(
        self, store: PostgresSchemas, rollout_uid: str | None, version_table: str, *, jobs: int, patience: float
    ):
        self._store = store
        self._rollout_uid = rollout_uid
        self._version_table = version_table
        self._patience = patience
        self._selector = selectors.DefaultSelector()
        self._lanes: list[Lane] = []
        try:
            for _ in range(jobs):
                self._lanes.append(Lane(connect(store)))
        except BaseException:
            self.close()
            raise
        # Cached per plan: the texts are the same for every tenant of it.
        self._frame = lru_cache(maxsize=64)(self._make_frame)

    def run(self, feed: Feed) -> Iterator[Result]:
        idle = list(self._lanes)
        while True:
            while idle:
                task = feed()
                if task is None:
                    break
                lane = idle.pop()
                lane.send(task, self.message(task))
                self._selector.register(lane.driver.pgconn.socket, lane.events, lane)
            if len(idle) == len(self._lanes):
                return
            for key, _ in self._selector.select():
                lane = key.data
                try:
                    ended = lane.advance()
                except psycopg.OperationalError:
                    self._selector.unregister(key.fd)
                    task = lane.task
                    lane.driver.close()
                    lane.driver = reconnect(self._store)
                    idle.append(lane)
                    # Whether it was committed is for the next attempt to see.
                    yield Result(task, Verdict.BUSY, 0.0, error="The connection was lost.", sqlstate="08006")
                    continue
                if ended is None:
                    self._selector.modify(key.fd, lane.events, lane)
                    continue
                self._selector.unregister(key.fd)
                idle.append(lane)
                yield self._result(lane.task, ended, time.perf_counter() - lane.began)

    def close(self) -> None:
        self._selector.close()
        for lane in self._lanes:
            lane.driver.close()
        self._lanes.clear()

    # -- the message

    def message(self, task: Task) -> bytes:
        """The whole transaction of a task."""
        head, middle, tail = self._frame(task.plan.digest, task.plan, task.locks)
        uid = literal(task.tenant.uid)
        return b"".join((head, uid, middle, uid, tail))

    def _make_frame(self, digest: str, plan: Plan, locks: tuple[tuple[str, str], ...]) -> tuple[bytes, bytes, bytes]:
        platform = sql.Identifier(str(self._store.control_schema)).as_bytes(None)
        extensions = self._store.declared()["extensions"]
        rollout = literal(self._rollout_uid)
        entering = (
            plan.base,
            self._version_table,
            f", {sql.Identifier(extensions).as_string(None)}" if extensions else "",
            f"{max(int(self._patience * 1000), 1)}ms",
        )
        trial = self._rollout_uid is None
        limit = f"SET LOCAL statement_timeout = '{TRIAL_LIMIT}s';".encode() if trial else b""
        head = b"BEGIN;" + limit + b"SELECT " + platform + b".rollout_enter(" + rollout + b","
        arrays = (literal([table for table, _ in locks]), literal([mode for _, mode in locks]))
        arguments = b",".join([*(literal(value) for value in entering), *(array + b"::text[]" for array in arrays)])
        texts = SEPARATOR.join(["", *(text for text, _ in plan.statements), ""]).encode()
        middle = b"," + arguments + b")" + (texts or b";") + b"SELECT " + platform + b".rollout_leave(" + rollout + b","
        tail = b"," + literal(plan.target) + (b");ROLLBACK" if trial else b");COMMIT")
        return head, middle, tail

    # -- what came of it

    def _result(self, task: Task, results: list[PGresult], seconds: float) -> Result:
        last = results[-1]
        if last.status != pq.ExecStatus.FATAL_ERROR:
            return Result(task, Verdict.DONE, seconds, recorded=True)
        error = psycopg.errors.error_from_result(last)
        done = len(results) - 1 - self._before(results)
        return failure(task, error, done, seconds)

    def _before(self, results: list[PGresult]) -> int:
        """How many commands of the message come before the plan's first: a ROLLBACK of the last, BEGIN, a trial's
        limit, enter.
        """
        return (results[0].command_status == b"ROLLBACK") + (3 if self._rollout_uid is None else 2)


class Lane:
    """One connection and what it has in hand."""

    def __init__(self, driver: psycopg.Connection[Any]) -> None:
        self.driver = driver
        self.task: Any = None
        self.began = 0.0
        self.events = selectors.EVENT_READ
        self._results: list[PGresult] = []

    def send(self, task: Task, message: bytes) -> None:
        pgconn = self.driver.pgconn
        if pgconn.transaction_status == pq.TransactionStatus.INERROR:
            message = b"ROLLBACK;" + message
        self.task, self._results, self.began = task, [], time.perf_counter()
        try:
            pgconn.send_query(message)
            self._flush()
        except psycopg.OperationalError:
            self.events = selectors.EVENT_READ  # the loss is seen when the answer is read

    def _flush(self) -> None:
        waiting = self.driver.pgconn.flush()
        self.events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)

    def advance(self) -> list[PGresult] | None:
        """Read what has come; the results once all of them are there."""
        pgconn = self.driver.pgconn
        pgconn.consume_input()
        self._flush()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == pq.ConnStatus.BAD or not self._results:
                    raise psycopg.OperationalError("the connection was lost")
                return self._results
            self._results.append(result)
        return None


def failure(task: Task, error: psycopg.Error, done: int, seconds: float) -> Result:
    """What an error says of a task; ``done``: how many commands of the plan came before it, negative for none."""
    state = error.sqlstate or ""
    verdict = _VERDICTS.get(state) or (Verdict.BUSY if state in LATER else Verdict.FAILED)
    if verdict is Verdict.MOVED:
        return Result(task, verdict, seconds, found=error.diag.message_detail or None)
    text = scrubbed(f"{cause(error).rstrip('.')}.")
    if done >= 0 and task.plan.steps:
        text = f"Revision {_revision(task.plan, done)}: {text}"
    return Result(task, verdict, seconds, sqlstate=state or None, object=subject(error), error=text)


def _revision(plan: Plan, done: int) -> str:
    """The revision of the command that failed after so many were done."""
    for step in plan.steps:
        for text, _ in step.statements:
            done -= commands(text)
            if done < 0:
                return step.revision
    return plan.steps[-1].revision


def subject(error: psycopg.Error) -> str | None:
    """What an error is about: a constraint, a column, a table, else the first name that the server quotes."""
    diagnostics = error.diag
    if diagnostics.constraint_name:
        return diagnostics.constraint_name
    if diagnostics.table_name:
        column = f".{diagnostics.column_name}" if diagnostics.column_name else ""
        return f"{diagnostics.table_name}{column}"
    found = _QUOTED.search(diagnostics.message_primary or "")
    return found[1] if found else None


def literal(value: str | list[str] | None) -> bytes:
    """A value as it stands in SQL."""
    return sql.Literal(value).as_bytes(None)


def connect(store: PostgresSchemas) -> psycopg.Connection[Any]:
    """A connection of the owner's own, outside the pool.

    :raises StoreUnavailable: the server is not reached, or has no connection left.
    """
    _, options = store.control_engine().dialect.create_connect_args(store.url())
    try:
        driver = psycopg.connect(
            **{"connect_timeout": CONNECT_TIMEOUT, **KEEPALIVE, "application_name": "tenantry rollout", **options}
        )
    except psycopg.OperationalError as error:
        raise StoreUnavailable(store.describe(), f"{cause(error).rstrip('.')}.") from error
    driver.autocommit = True
    driver.pgconn.nonblocking = 1
    return driver


def reconnect(store: PostgresSchemas) -> psycopg.Connection[Any]:
    """The same after a loss: a server that restarts is back within seconds."""
    for attempt in range(RECONNECT):
        try:
            return connect(store)
        except StoreUnavailable:
            if attempt == RECONNECT - 1:
                raise
            time.sleep(2**attempt)
    raise AssertionError("unreachable")
