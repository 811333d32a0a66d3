"""Bring what was committed from SQLite's write-ahead log into the database file, soon.

People back a tenant up by copying that one file; what stands only in the log would be missing from the copy. A
change is brought over at once; of many in a row, those of the last quarter of a second may still be on their way, and
no later than that, or than the end of the process, they are in the file. The log is read by SQLite itself in any case:
nothing is lost by a kill.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
from weakref import WeakKeyDictionary

import sqlalchemy as sa

logger = logging.getLogger(__name__)

DELAY = 0.25  # seconds that a change may stand in the log only
AT_ONCE = 4  # changes that are settled at once in that time, before the next have to wait

_guard = threading.Condition()
_begun: WeakKeyDictionary[sa.Engine, tuple[float, int]] = WeakKeyDictionary()  # since when how many were settled
_due: dict[sa.Engine, float] = {}  # when each is to be settled
_threads: set[int] = set()  # processes whose thread runs


def settle(engine: sa.Engine, *, later: bool = False) -> None:
    """Settle now, or within a quarter of a second if that was done several times just before, or is wanted ``later``:
    a large change takes its time, which the next one need not wait for.
    """
    moment = time.monotonic()
    with _guard:
        since, count = _begun.get(engine, (-DELAY, 0))
        if moment - since >= DELAY:
            since, count = moment, 0
        if later or count >= AT_ONCE:
            if engine not in _due:
                _due[engine] = moment + DELAY
                _start()
                _guard.notify()
            return
        _begun[engine] = (since, count + 1)
    _checkpoint(engine)


def _start() -> None:
    if os.getpid() not in _threads:
        _threads.add(os.getpid())
        threading.Thread(target=_run, name="docex-settling", daemon=True).start()


def _run() -> None:
    while True:
        with _guard:
            while not _due:
                _guard.wait()
            wait = min(_due.values()) - time.monotonic()
            if wait > 0:
                _guard.wait(wait)
                continue
            moment = time.monotonic()
            ready = [engine for engine, due in _due.items() if due <= moment]
            for engine in ready:
                del _due[engine]
        for engine in ready:
            _checkpoint(engine)


def _checkpoint(engine: sa.Engine) -> None:
    try:
        driver = engine.raw_connection()  # outside any transaction, where a checkpoint must run
        try:
            driver.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()
        finally:
            driver.close()
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        # The commit stands in the log all the same, so it must not be told as a failure; the next change tries again.
        logger.warning("could not bring the last change into the database file: %s", error)


@atexit.register
def settle_all() -> None:
    """Settle everything that is due: before the files are closed, and at the end of the process."""
    with _guard:
        waiting = list(_due)
        _due.clear()
    for engine in waiting:
        _checkpoint(engine)


def _forget() -> None:
    # The lock may have been held by a thread that the child does not have, and the engines are the parent's.
    global _guard
    _guard = threading.Condition()
    _due.clear()


os.register_at_fork(after_in_child=_forget)
