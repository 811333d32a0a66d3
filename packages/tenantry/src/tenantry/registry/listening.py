"""Hearing of changes on PostgreSQL: one connection of the process listens for what the registry's trigger tells.

A change is heard within milliseconds of its commit. A connection that is lost is noticed at once and made again; a
network that goes silent without a word is noticed after ``HEARTBEAT`` + ``SILENCE``.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from tenantry.registry.changes import Changes, Listener

CHANNEL = "tenantry"  # as the trigger of revision 0005 names it
TRIGGER = "tell_of_changed_tenant"
HEARTBEAT = 5.0  # seconds after which a silent connection is tried; also keeps a firewall from forgetting it
SILENCE = 3.0  # seconds until a server that does not answer counts as lost
PAUSES = (0.1, 2.0)  # seconds between two attempts to connect: the first, doubled up to the last
APPLICATION_NAME = "tenantry changes"  # in pg_stat_activity

logger = logging.getLogger(__name__)


class ServerChanges(Changes):
    """A thread that listens on a connection of its own, and connects again when it is lost."""

    def __init__(self, engine: sa.Engine, schema: str, listener: Callable[[], Listener | None]) -> None:
        self._engine = engine
        self._schema = schema
        self._listener = listener
        self._heard = False
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="tenantry-changes", daemon=True)
        self._thread.start()

    def heard(self) -> bool:
        return self._heard

    def close(self) -> None:
        self._closed = True
        self._wake.close()
        self._thread.join(1.0)  # it may be connecting, which cannot be cut short; it ends by itself then

    def abandon(self) -> None:
        self._heard = False

    def _run(self) -> None:
        pause, told = PAUSES[0], False
        with self._woken, self._wake:
            while self._wanted():
                try:
                    with self._connect() as connection:
                        self._begin(connection)
                        pause, told = PAUSES[0], False
                        self._listen(connection)
                except (psycopg.Error, OSError, _Unheard) as error:
                    if not told:
                        logger.warning("changes to tenants are not heard until this is mended: %s", error)
                    told = True
                finally:
                    self._heard = False
                if self._wanted():
                    self._wait(None, pause)
                    pause = min(pause * 2, PAUSES[1])

    def _wanted(self) -> bool:
        return not self._closed and self._listener() is not None

    def _connect(self) -> psycopg.Connection[Any]:
        _, options = self._engine.dialect.create_connect_args(self._engine.url)
        patience: dict[str, Any] = {
            "connect_timeout": 10,
            "tcp_user_timeout": int(SILENCE * 1000),
            "application_name": APPLICATION_NAME,
        }
        # Never prepared: a pooler in between could not serve it, and it would be told from one below.
        return psycopg.Connection.connect(**{**patience, **options}, autocommit=True, prepare_threshold=None)

    def _begin(self, connection: psycopg.Connection[Any]) -> None:
        """Listen, and only then have everything read again: so nothing falls between the two."""
        connection.add_notify_handler(self._tell)
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        query = (
            "SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s)"
            " AND tgname = %s AND tgenabled <> 'D')"
        )
        table = sql.Identifier(self._schema, "tenant").as_string(None)
        row = connection.execute(query, [table, TRIGGER]).fetchone()
        if row is None or row[0] != connection.info.backend_pid:
            raise _Unheard(
                "a pooler stands between, and would lose what the server tells. Known tenants are read anew."
            )
        if not row[1]:
            raise _Unheard(f"{table} does not tell of its changes. Run `db upgrade` first.")
        listener = self._listener()
        if listener is not None:
            listener.renewed()
            self._heard = True

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        while self._wanted():
            self._wait(connection, HEARTBEAT)
            if self._wanted():
                connection.execute("SELECT 1")  # reads what has come, and fails when the server is gone

    def _wait(self, connection: psycopg.Connection[Any] | None, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if connection is not None:
            poll.register(connection.fileno(), select.POLLIN)
        poll.poll(seconds * 1000)

    def _tell(self, notice: psycopg.Notify) -> None:
        schema, _, slug = notice.payload.rpartition(":")
        listener = self._listener()
        if schema == self._schema and listener is not None:
            listener.changed(slug)


class _Unheard(Exception):
    """A connection on which changes would not be heard."""
