"""psycopg connections whose own BEGIN carries the tenant, so that routing costs no message of its own.

A suffix is appended to the text that opens a transaction: ``BEGIN; SET LOCAL search_path TO ...; SET LOCAL ROLE ...``.
All of it ends with that transaction, so nothing is left on the connection after a commit, a rollback, a cancelled task
or a broken network, and PgBouncer in transaction mode is safe. A COMMIT sent as raw SQL does not leave the tenant
either: the next transaction of the same work begins with the same suffix. A connection that came out of the pool by
another way than a :class:`RoutedEngine` begins nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from psycopg import generators, pq, sql
from sqlalchemy.engine.base import OptionEngine

from tenantry.errors import DeclarationError, NoTenant

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry


@dataclass(frozen=True)
class Route:
    """How a transaction of one tenant begins, and the comment in front of its statements.

    The comment makes one prepared statement per tenant: PostgreSQL plans a statement anew whenever the search_path
    differs from the one it was prepared under. It also names the tenant in pg_stat_activity and the server's log.
    """

    begin: bytes
    comment: str = ""


OWNER = Route(b"")


def route(schemas: Sequence[str], role: str | None = None, comment: str = "") -> Route:
    """These schemas alone in the search_path, and this role; without one, the owner's rights."""
    path = sql.SQL(", ").join(sql.Identifier(schema) for schema in schemas)
    begin = sql.SQL("; SET LOCAL search_path TO {}").format(path)
    if role is not None:
        begin += sql.SQL("; SET LOCAL ROLE {}").format(sql.Identifier(role))
    return Route(begin.as_bytes(None), f"/*{comment}*/ " if comment else "")


class Routed:
    """What both kinds of connection add to psycopg's: transactions that open on a route, and none without one."""

    route: Route | None = OWNER

    # psycopg has no public hook here: 3.2 and 3.3 call this before every statement. A test that reads the messages on
    # the wire fails when a later release does not.
    def _start_query(self: Any) -> Generator[Any, Any, None]:
        route: Route | None = self.route
        if route is None:
            raise NoTenant()
        if self.autocommit:
            if route.begin:
                reason = "a tenant's statements run in a transaction, which is what binds them to the tenant."
                raise DeclarationError("isolation_level='AUTOCOMMIT'", reason)
            return
        if self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            return
        # psycopg's own way of sending a command allows one command in a message.
        self.pgconn.send_query(self._get_tx_start_command() + route.begin)
        for result in (yield from generators.execute(self.pgconn)):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=self.info.encoding)


class RoutedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements begin with the comment of their route."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> RoutedCursor:
        """As psycopg's."""
        return super().execute(_commented(self.connection, query), params, **options)

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        """As psycopg's."""
        super().executemany(_commented(self.connection, query), params_seq, returning=returning)


class AsyncRoutedCursor(psycopg.AsyncCursor[Any]):
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


class AsyncRoutedConnection(Routed, psycopg.AsyncConnection[Any]):
    """The same for asyncio."""


class RoutedEngine(OptionEngine):
    """An engine whose connections are on one route from their checkout to their return to the pool.

    It shares the pool, the dialect and the cache of compiled statements of the engine it is made from. The route is
    set here and not by SQLAlchemy's events: those cost a fifth of a transaction that reads one row.
    """

    def __init__(self, proxied: sa.Engine, route: Route, options: dict[str, Any] | None = None) -> None:
        super().__init__(proxied, options or {})
        self.route = route

    def connect(self) -> sa.Connection:
        """A connection on this engine's route."""
        connection = super().connect()
        driver: Any = connection.connection.driver_connection
        driver.route = self.route
        return connection

    def execution_options(self, **options: Any) -> RoutedEngine:
        """The same engine with other options, on the same route."""
        return RoutedEngine(self, self.route, options)


def close_routes(pool: sa.Pool) -> None:
    """Take the route from every connection as it enters the pool, so that none begins a transaction by itself."""

    @sa.event.listens_for(pool, "connect")
    @sa.event.listens_for(pool, "checkin")
    def close(connection: Any, record: ConnectionPoolEntry) -> None:
        driver: Any = record.driver_connection
        if driver is not None:  # an invalidated connection is gone already
            driver.route = None
