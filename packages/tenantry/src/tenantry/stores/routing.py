"""psycopg connections whose own BEGIN carries the tenant, so that routing costs no message of its own.

The suffix is appended to the text psycopg sends when it opens a transaction: ``BEGIN; SET LOCAL search_path TO ...; SET
LOCAL ROLE ...``. Everything in
it is local to that transaction, so nothing is left on the connection after a commit, a rollback, a cancelled task or a
broken network, and PgBouncer in
transaction mode is safe. A COMMIT sent as raw SQL does not leave the tenant either: the next transaction of the same
work begins with the same suffix.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import generators, pq, sql
from sqlalchemy import event

from tenantry.errors import DeclarationError
from tenantry.names import SchemaName

ROUTE = "tenantry_route"  # execution option: the suffix of BEGIN, bytes
TAG = "tenantry_tag"  # execution option: the comment in front of each statement


class Routed:
    """What both kinds of connection add to psycopg's: transactions that open inside one tenant.

    With an empty ``route`` they open as the owner's. psycopg has no public hook here: 3.2 and 3.3 call this method
    before
    every statement; a test that counts messages on the wire fails if a later release does not.
    """

    route: bytes = b""

    def _start_query(self: Any) -> Generator[Any, Any, None]:
        if self.autocommit or self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            return
        # psycopg's own sending of commands allows one command a message.
        self.pgconn.send_query(self._get_tx_start_command() + self.route)
        for result in (yield from generators.execute(self.pgconn)):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=self.info.encoding)


class RoutedConnection(Routed, psycopg.Connection[Any]):
    """A connection whose transactions open inside one tenant."""


class AsyncRoutedConnection(Routed, psycopg.AsyncConnection[Any]):
    """The same for asyncio."""


def route(schema: SchemaName, role: str | None, extensions: SchemaName | None) -> bytes:
    """The suffix of BEGIN for one tenant: its schema (and that of the extensions) alone in the search_path, and its
    role.
    """
    path = [sql.Identifier(schema.value)] + ([sql.Identifier(extensions.value)] if extensions else [])
    parts: list[sql.Composable] = [sql.SQL("; SET LOCAL search_path TO {}").format(sql.SQL(", ").join(path))]
    if role is not None:
        parts.append(sql.SQL("; SET LOCAL ROLE {}").format(sql.Identifier(role)))
    return sql.Composed(parts).as_bytes(None)


def install(engine: sa.Engine) -> None:
    """Make every transaction of this engine, and of those derived from it by execution options, carry its route."""

    @event.listens_for(engine, "begin")
    def carry(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        driver = connection.connection.driver_connection
        suffix: bytes = options.get(ROUTE, b"")
        # In autocommit psycopg sends no BEGIN, and the statement would run as the owner, outside every tenant.
        if suffix and driver.autocommit:  # type: ignore[union-attr]
            raise DeclarationError(
                "isolation_level='AUTOCOMMIT'",
                "a tenant's statements run in a transaction, which is what binds them to the tenant.",
            )
        driver.route = suffix  # type: ignore[union-attr]

    # The comment makes one prepared statement per tenant: PostgreSQL plans a statement anew whenever the search_path
    # differs from the one it was
    # prepared under, which costs more than parsing it. It also names the tenant in pg_stat_activity and in the server's
    # log.
    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def name_tenant(
        connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        tag = connection.get_execution_options().get(TAG)
        return (f"/*{tag}*/ {statement}" if tag else statement), parameters
