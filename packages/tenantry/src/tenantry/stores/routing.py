"""psycopg connections whose own BEGIN carries the tenant, so that routing costs no round trip, and saves one.

BEGIN, ``SET LOCAL search_path`` and ``SET LOCAL ROLE`` travel with the transaction's first statement, and nobody waits
between them: where a plain transaction of one statement waits for the server three times, a tenant's waits twice, and
once where its caller says that no other follows. What may hold several statements cannot travel so; then
``BEGIN; SET LOCAL ...; SET LOCAL ...`` is one message before it.

All of it ends with that transaction, so nothing is left on the connection after a commit, a rollback, a cancelled task
or a broken network, and PgBouncer in transaction mode is safe. A COMMIT sent as raw SQL does not leave the tenant
either: the next transaction of the same work begins on the same route. A connection that came out of the pool by
another way than a :class:`RoutedEngine` begins nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import psycopg
import sqlalchemy as sa
from psycopg import capabilities, generators, pq, sql
from psycopg._preparing import Prepare
from sqlalchemy.engine.base import OptionEngine

from tenantry.errors import DeclarationError, NoTenant

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, PoolResetState


@dataclass(frozen=True)
class Route:
    """How a transaction of one tenant begins, and the comment in front of its statements.

    The comment makes one prepared statement per tenant: PostgreSQL plans a statement anew whenever the search_path
    differs from the one it was prepared under. It also names the tenant in pg_stat_activity and the server's log.
    """

    settings: tuple[bytes, ...] = ()
    comment: str = ""

    @cached_property
    def suffix(self) -> bytes:
        """What follows BEGIN in the same message."""
        return b"".join(b"; " + setting for setting in self.settings)


PIPELINES = capabilities.has_pipeline()  # not before libpq 14
OWNER = Route()
# A route that shows in an answer whether it was taken, with the statement and before it.
PROBE, PROBED = Route((b"SET LOCAL search_path TO tenantry_probe",)), ("tenantry_probe",)
PROBES = ("SHOW search_path", "SHOW search_path;")


def route(schemas: Sequence[str], role: str | None = None, comment: str = "") -> Route:
    """These schemas alone in the search_path, and this role; without one, the owner's rights."""
    path = sql.SQL(", ").join(sql.Identifier(schema) for schema in schemas)
    settings = [sql.SQL("SET LOCAL search_path TO {}").format(path)]
    if role is not None:
        settings.append(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    return Route(tuple(setting.as_bytes(None) for setting in settings), f"/*{comment}*/ " if comment else "")


class Routed:
    """What both kinds of connection add to psycopg's: transactions that open on a route, and none without one."""

    route: Route | None = OWNER
    joining = False  # whether the statement that is about to be sent takes BEGIN with it
    ending = False  # whether it then takes COMMIT with it too

    # Whether this process has seen psycopg take a route. It has no public hook here: 3.2 and 3.3 call _start_query
    # before every statement and _maybe_prepare_gen to send it, and a release that does not must serve no tenant.
    _proved: ClassVar[bool] = False

    def _start_query(self: Any) -> Generator[Any, Any, None]:
        route: Route | None = self.route
        if route is None:
            raise NoTenant()
        if self.autocommit:
            if route.settings:
                reason = "a tenant's statements run in a transaction, which is what binds them to the tenant."
                raise DeclarationError("isolation_level='AUTOCOMMIT'", reason)
            return
        if self.joining or self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            return
        begin = psycopg.Connection._get_tx_start_command(self)
        if self._pipeline:  # executemany: a message holds one command, but none waits for the answer to another
            for command in (begin, *route.settings):
                yield from self._exec_command(command)
            yield from self._pipeline._sync_gen()
            return
        # psycopg's own way of sending a command allows one command in a message.
        self.pgconn.send_query(begin + route.suffix)
        for result in (yield from generators.execute(self.pgconn)):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=self.info.encoding)

    def _get_tx_start_command(self: Any) -> bytes:
        """What psycopg's other way to begin calls, ``connection.transaction()``, which knows no route."""
        if self.route is None or self.route.settings:
            raise _refused("a transaction begun on the driver's own connection")
        return psycopg.Connection._get_tx_start_command(self)

    def tpc_begin(self, xid: Any) -> Any:
        """Refused: a prepared transaction outlives its connection, and with it the route."""
        raise _refused("a two-phase transaction")

    @classmethod
    def _judge(cls, *seen: object) -> None:
        if set(seen) != {PROBED}:
            reason = "it begins transactions in a way this release does not know, so tenants could not be kept apart."
            raise DeclarationError(f"psycopg {psycopg.__version__}", reason)
        cls._proved = True


def _refused(what: str) -> DeclarationError:
    return DeclarationError(what, "a tenant's transaction is begun by its session, which binds it to the tenant.")


class Joining:
    """What both kinds of cursor add to psycopg's: a transaction's first statement takes BEGIN and the route with it."""

    def _execute_gen(self: Any, query: Any, params: Any = None, **options: Any) -> Generator[Any, Any, None]:
        connection = self._conn
        # In a pipeline a message holds one statement. A text without a semicolon is one, and so is one with parameters.
        if (
            not (params or (isinstance(query, str) and ";" not in query))
            or connection.pgconn.transaction_status != pq.TransactionStatus.IDLE
            or connection._pipeline
            or connection.autocommit
            or not connection.route
            or not PIPELINES
        ):
            yield from psycopg.Cursor._execute_gen(self, query, params, **options)
            return
        connection.joining = True
        try:
            yield from psycopg.Cursor._execute_gen(self, query, params, **options)
        finally:
            connection.joining = False

    def _maybe_prepare_gen(
        self: Any, pgq: Any, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Generator[Any, Any, None]:
        connection = self._conn
        if not connection.joining:
            yield from psycopg.Cursor._maybe_prepare_gen(self, pgq, prepare=prepare, binary=binary)
            return
        pgconn = connection.pgconn
        opening = (psycopg.Connection._get_tx_start_command(connection), *connection.route.settings)
        preparing, name = self._get_prepared(pgq, prepare)
        sent, answers = 0, []
        pgconn.enter_pipeline_mode()
        try:
            for command in opening:
                pgconn.send_query_params(command, None)
                sent += 1
            if preparing is Prepare.NO:
                self._execute_send(pgq, force_extended=True, binary=binary)
            else:
                if preparing is Prepare.SHOULD:
                    self._send_prepare(name, pgq)
                    sent += 1
                self._send_query_prepared(name, pgq, binary=binary)
            sent += 1
            statement = sent - 1
            if connection.ending:
                pgconn.send_query_params(b"COMMIT", None)
                sent += 1
        finally:  # also where libpq does not take the statement, for its 65,536 parameters say: BEGIN is on its way
            pgconn.pipeline_sync()
            yield from generators.send(pgconn)
            for _ in range(sent + 1):  # the last one answers the end of the pipeline
                answers.append((yield from generators.fetch_many(pgconn)))
            ended = bool(answers[-1]) and answers[-1][-1].status == pq.ExecStatus.PIPELINE_SYNC
            if ended:
                pgconn.exit_pipeline_mode()
            else:
                pgconn.finish()
        if not ended:
            for result in (each for results in answers for each in results):
                if result.status == pq.ExecStatus.FATAL_ERROR:  # the connection is lost
                    self._raise_for_result(result)
            raise psycopg.OperationalError("COPY cannot be used as a statement: run it by the cursor's copy()")
        for results in answers[:statement]:  # where one of these failed, nothing was prepared either
            self._check_results(results)
        key = connection._prepared.maybe_add_to_cache(pgq, preparing, name)
        if key is not None:
            connection._prepared.validate(key, preparing, name, answers[statement])
        self._check_results(answers[statement])
        for results in answers[statement + 1 : sent]:
            self._check_results(results)
        self._set_results(answers[statement])


class RoutedCursor(Joining, psycopg.Cursor[Any]):
    """A cursor whose statements begin with the comment of their route."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> RoutedCursor:
        """As psycopg's."""
        return super().execute(_commented(self.connection, query), params, **options)

    def execute_alone(self, query: str, params: Any = None) -> RoutedCursor:
        """The same for the only statement of a transaction, which is committed with it and waits for the server once.
        Inside a transaction that is open it is as any other, and left uncommitted.
        """
        connection: Any = self.connection
        connection.ending = True
        try:
            return self.execute(query, params)
        finally:
            connection.ending = False

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        """As psycopg's."""
        super().executemany(_commented(self.connection, query), params_seq, returning=returning)


class AsyncRoutedCursor(Joining, psycopg.AsyncCursor[Any]):
    """The same for asyncio."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> AsyncRoutedCursor:
        """As psycopg's."""
        return await super().execute(_commented(self.connection, query), params, **options)

    async def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        """As psycopg's."""
        await super().executemany(_commented(self.connection, query), params_seq, returning=returning)


def _commented(connection: Any, query: Any) -> Any:
    route: Route | None = connection.route
    return route.comment + query if route is not None and route.comment and isinstance(query, str) else query


class RoutedConnection(Routed, psycopg.Connection[Any]):
    """A connection whose transactions open on a route."""

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's; the process's first connection proves that routes are taken."""
        connection = super().connect(*arguments, **options)
        if not cls._proved:
            connection.route = PROBE
            try:
                seen = []
                for probe in PROBES:
                    seen.append(connection.execute(probe).fetchone())
                    connection.rollback()
                cls._judge(*seen)
            except BaseException:
                connection.close()
                raise
            connection.route = OWNER
        return connection


class AsyncRoutedConnection(Routed, psycopg.AsyncConnection[Any]):
    """The same for asyncio."""

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's; the process's first connection proves that routes are taken."""
        connection = await super().connect(*arguments, **options)
        if not cls._proved:
            connection.route = PROBE
            try:
                seen = []
                for probe in PROBES:
                    seen.append(await (await connection.execute(probe)).fetchone())
                    await connection.rollback()
                cls._judge(*seen)
            except BaseException:
                await connection.close()
                raise
            connection.route = OWNER
        return connection


class RoutedEngine(OptionEngine):
    """An engine whose connections are on one route from their checkout to their return to the pool.

    It shares the pool, the dialect and the cache of compiled statements of the engine it is made from. The route is
    set here and not by SQLAlchemy's events: those cost a fifth of a transaction that reads one row.
    """

    def __init__(self, proxied: sa.Engine, route: Route, options: dict[str, Any] | None = None) -> None:
        super().__init__(proxied, options or {})
        self.route = route

    @property
    def beneath(self) -> sa.Engine:
        """The engine that this one was made from. Every layer between a connection and its pool costs it 1 %."""
        return self._proxied

    def raw_connection(self) -> PoolProxiedConnection:
        """A connection on this engine's route; SQLAlchemy's own come from here, also one that replaces a broken one."""
        connection = super().raw_connection()
        driver: Any = connection.driver_connection
        driver.route = self.route
        return connection

    def execution_options(self, **options: Any) -> RoutedEngine:
        """The same engine with other options, on the same route."""
        return RoutedEngine(self, self.route, options)


class Wear:
    """How many tenants each connection of a store has served, and how many were retired for it.

    A server process remembers every table that it was ever asked about, so its memory grows with every further tenant
    and never shrinks; a connection that has served ``limit`` of them is closed as it comes back, its memory with it.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.retired = 0
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    def begin(self, driver: Any) -> None:
        """A new connection."""
        driver.served = set()
        self._open.add(driver)

    def spent(self, driver: Any) -> bool:
        """Note whom the connection has served; tells whether that is enough."""
        route: Route | None = driver.route
        if self.limit is None or route is None:
            return False
        driver.served.add(route.suffix)
        if len(driver.served) < self.limit:
            return False
        self.retired += 1
        return True

    def counted(self) -> tuple[int, int]:
        """The connections that are open, and the tenants that the one with most has served."""
        served = [len(driver.served) for driver in list(self._open) if not driver.closed]
        return len(served), max(served, default=0)


def close_routes(pool: sa.Pool, wear: Wear) -> None:
    """Undo what is open on every connection as it comes back, and take its route, so that none begins a transaction by
    itself. The pool must have been made with ``pool_reset_on_return=None``.
    """

    @sa.event.listens_for(pool, "connect")
    def open_without(connection: Any, record: ConnectionPoolEntry) -> None:
        driver: Any = record.driver_connection
        driver.route = None
        wear.begin(driver)

    # The pool's own reset rolls back whether anything is open or not, which costs a lock and, under asyncio, a switch
    # of tasks: 3 to 5 % of a transaction that reads one row.
    @sa.event.listens_for(pool, "reset")
    def close(connection: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        if record is None:  # detached: it is closed, and does not come back
            return
        driver: Any = record.driver_connection
        if state.asyncio_safe and driver.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            connection.rollback()
        spent = wear.spent(driver)
        driver.route = None
        if spent or driver.autocommit:  # autocommit was set past SQLAlchemy, which therefore does not set it back
            record.invalidate()
