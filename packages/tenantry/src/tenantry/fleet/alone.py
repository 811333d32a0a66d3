"""One process at a time does a kind of work over the whole fleet.

It keeps two runs from getting in each other's way; that each tenant stays whole does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tenantry.stores.base import Store
from tenantry.stores.lockfile import LockFile
from tenantry.stores.sqlite import OWN_DIRECTORY, SqliteFiles

SPACE = 0x7E4B  # with the hash of the registry's schema and the work: the key of the advisory lock


@contextmanager
def alone(store: Store, work: str) -> Iterator[bool]:
    """Hold this work for the block, and tell whether it was free; a process that dies lets go of it."""
    if isinstance(store, SqliteFiles):
        directory = store.root / OWN_DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        lock = LockFile(directory / f"{work}.lock")
        if not lock.take(wait=False):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
        return
    # In a transaction and not a session, so that it holds behind a pooler too.
    with store.control_engine().connect() as connection, connection.begin():
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        took = sa.text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:work))")
        free = connection.execute(took, {"space": SPACE, "work": f"{store.control_schema} {work}"}).scalar()
        # The snapshot of the last statement is held until the next, and CREATE INDEX CONCURRENTLY waits for snapshots.
        store.send(connection, [("SELECT", ())], store.describe())
        yield bool(free)
