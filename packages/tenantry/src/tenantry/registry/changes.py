"""Hearing of changes to tenants' records, whichever process makes them.

What is heard is only that a record must be read again, not what it holds now. On PostgreSQL the server tells
(``registry.listening``); on SQLite the registry's file is asked whether it was written to.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

import sqlalchemy as sa

LOOK = 0.05  # seconds between two looks at a file


class Listener(Protocol):
    """Who is told."""

    def changed(self, slug: str) -> None:
        """This tenant's record was made, changed or removed."""

    def renewed(self) -> None:
        """Any record may have changed: what was told until now is not all there was."""


class Changes(ABC):
    """The changes of one registry. Every one up to now has been told while ``heard`` says so."""

    @abstractmethod
    def heard(self) -> bool:
        """Whether nothing can have changed without being told. Neither waits nor raises."""

    @abstractmethod
    def close(self) -> None:
        """Hear no more."""

    @abstractmethod
    def abandon(self) -> None:
        """Let go in a process that was forked off: what is open is the parent's."""


def changes_of(engine: sa.Engine, schema: str | None, listener: Callable[[], Listener | None]) -> Changes:
    """Begin to hear the changes of the registry in this schema, or in the file of this engine.

    ``listener`` is asked for every time; when it is None, nobody wants to know any more.
    """
    if schema is None:
        return FileChanges(Path(unquote(str(engine.url.database).removeprefix("file:"))), listener)
    from tenantry.registry.listening import ServerChanges  # loads the driver, which SQLite does without

    return ServerChanges(engine, schema, listener)


class FileChanges(Changes):
    """Looks whether the registry's file was written to, at most every ``LOOK`` seconds, when it is asked."""

    def __init__(self, path: Path, listener: Callable[[], Listener | None]) -> None:
        self._path = path
        self._listener = listener
        self._guard = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._seen: tuple[int, int] | None = None  # the file's inode, and SQLite's count of others' commits
        self._next = 0.0

    def heard(self) -> bool:
        if time.monotonic() < self._next:
            return True
        with self._guard:
            try:
                found = self._look()
            except (OSError, sqlite3.Error):  # no registry yet, or one that is locked whole
                self._next, self._seen = 0.0, None
                return False
            if found != self._seen:
                listener = self._listener()
                if listener is not None:
                    listener.renewed()
                self._seen = found
            self._next = time.monotonic() + LOOK
        return True

    def _look(self) -> tuple[int, int]:
        inode = self._path.stat().st_ino
        if self._connection is None or self._seen is None or self._seen[0] != inode:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            where = f"file:{quote(str(self._path))}?mode=rw"  # read-only, SQLite could not join the file's -shm
            self._connection = sqlite3.connect(where, uri=True, timeout=0, check_same_thread=False)
        return inode, int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        with self._guard:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._seen, self._next = None, None, 0.0

    def abandon(self) -> None:
        _ABANDONED.append(self._connection)
        self._connection, self._seen, self._next = None, None, 0.0


_ABANDONED: list[object] = []  # closing a SQLite connection after a fork would disturb the parent's
