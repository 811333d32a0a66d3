"""How SQLite files are opened: existing ones only, every transaction a real one, and no way to another file.

Knows files, not tenants: which file is whose is the store's to say.
"""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL

BUSY_TIMEOUT = 30  # seconds a statement waits for another process's write
# The connection that worked last is the next to work: one that others wrote past must read its whole cache anew.
POOL: dict[str, Any] = {"pool_size": 2, "max_overflow": 20, "pool_use_lifo": True}


def begin(write: bool) -> str:
    """The BEGIN of a session: one that reads first and writes later fails when another wrote in between, unless it took
    the lock at once.
    """
    return "BEGIN IMMEDIATE" if write else "BEGIN"


def file_url(path: Path, driver: str = "sqlite") -> URL:
    """A URL that opens an existing file and never makes one."""
    query = {"mode": "rw", "uri": "true", "timeout": str(BUSY_TIMEOUT), "check_same_thread": "false"}
    return URL.create(driver, database=f"file:{quote(str(path))}", query=query)


def engine_for(
    path: Path, *, begin: str, foreign_keys: bool, confined: bool = False, journal: str = "WAL"
) -> sa.Engine:
    """An engine on one existing file."""
    engine = sa.create_engine(file_url(path), poolclass=sa.QueuePool, hide_parameters=True, **POOL)
    prepare(engine, begin=begin, foreign_keys=foreign_keys, confined=confined, journal=journal)
    return engine


def prepare(engine: sa.Engine, *, begin: str, foreign_keys: bool, confined: bool = False, journal: str = "WAL") -> None:
    """Make every connection of this engine follow the store's rules, and every transaction a real one.

    ``confined``: the connection cannot attach another file, so no SQL reaches another tenant.
    """

    @sa.event.listens_for(engine, "connect")
    def set_up(driver: Any, record: Any) -> None:
        # Python's sqlite3 would begin a transaction only before DML, and DDL would be kept whatever follows it.
        driver.isolation_level = None
        cursor = driver.cursor()
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        _keep_journal(cursor, journal)
        cursor.close()
        if confined:
            confine(driver)

    @sa.event.listens_for(engine, "begin")
    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)


def _keep_journal(cursor: Any, journal: str) -> None:
    """Have the file keep its journal so. Where it kept another, SQLite refuses at once while others open the file too,
    however long it is to wait: two who each wait for the other to let go would wait for ever.
    """
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute(f"PRAGMA journal_mode = {journal}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - not a secret


def confine(driver: Any) -> None:
    """Forbid ATTACH on a driver connection, sync or asyncio's adapter of one."""
    raw = getattr(driver, "driver_connection", driver)
    raw = getattr(raw, "_conn", raw)
    raw.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
