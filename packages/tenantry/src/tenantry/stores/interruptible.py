"""aiosqlite connections that let go when the task that waits for them is cancelled.

aiosqlite runs a statement in a thread and lets it run on: a cancelled task would wait for its end, and the file would
stay locked until then. Here the statement is interrupted and the thread closes the connection by itself; one that waits
for another's lock ends when it has the lock or gives up.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite
from aiosqlite.core import _connection_worker_thread

AGAIN = 0.05  # seconds between two interrupts; one that comes before the statement began is lost


class InterruptibleConnection(aiosqlite.Connection):
    """A connection that is abandoned, and closes itself, when a task is cancelled in the middle of a statement."""

    _abandoned = False

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # aiosqlite's own
        except asyncio.CancelledError:
            self._abandoned = True
            self._interrupt(asyncio.get_running_loop())
            raise

    def _interrupt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._connection is not None:
            with suppress(sqlite3.ProgrammingError):  # the thread has just closed it
                self._connection.interrupt()
            loop.call_later(AGAIN, self._interrupt, loop)

    async def close(self) -> None:
        """Close it, at once or, if it was abandoned, behind what its thread still does."""
        if not self._abandoned:
            await super().close()
        elif self._connection is not None:
            # SQLite keeps a closed connection's transaction, and its locks, while a statement of it is in memory.
            self._tx.put_nowait((None, self._connection.rollback))
            self.stop()


def connect(database: str, **options: Any) -> InterruptibleConnection:
    """As ``aiosqlite.connect``; the thread does not keep the process alive."""
    connection = InterruptibleConnection(partial(sqlite3.connect, database, **options), 64)
    work = (connection._tx, weakref.ref(connection))
    connection._thread = threading.Thread(target=_work, args=work, daemon=True)
    return connection


def _work(tasks: Any, connection: weakref.ref[InterruptibleConnection]) -> None:
    """aiosqlite's thread, which would end at an answer whose event loop is closed, and leave the file open and locked:
    what was to be done behind it is done, and closing the connection comes last.
    """
    ended = False
    while not ended:
        try:
            _connection_worker_thread(tasks)
            ended = True
        except RuntimeError:
            held = connection()
            ended = tasks.empty() and (held is None or held._connection is None)
            del held
