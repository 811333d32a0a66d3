"""How DocEX's SQLite files are written: what a commit waits for, and when its log is brought into the file.

With ``synchronous`` ``full`` a commit is on the disk when it returns: one wait per change, for the write-ahead log
alone. With ``normal`` nothing waits; a power failure then takes the changes since the log was last brought over, at
most a quarter of a second's (see :mod:`docex.settling`), each whole, and the file stays sound. A kill takes nothing in
either case.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa

from tenantry import SqliteFiles
from tenantry.names import RelativePath
from tenantry.tenant import Tenant

# A change of a document touches some 70 pages, most of them the same ones again: the longer the log may grow before it
# is brought over, the fewer of them are written twice.
LOG_PAGES = 4000  # 16 MiB
CACHE = 8000  # KiB of pages that a connection keeps at most


def tune(engine: sa.Engine, synchronous: str) -> None:
    """Have all connections of an engine, which has none yet, work like that."""

    @sa.event.listens_for(engine, "connect")
    def set_up(driver: Any, record: Any) -> None:
        cursor = driver.cursor()
        cursor.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous == 'normal' else 'FULL'}")
        cursor.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        cursor.execute(f"PRAGMA cache_size = -{CACHE}")
        cursor.close()


class DocumentFiles(SqliteFiles):
    """A file per tenant, opened so."""

    def __init__(self, *arguments: Any, synchronous: str = "full", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._synchronous = synchronous
        self._tuned: WeakSet[sa.Engine] = WeakSet()

    def path(self, location: str) -> Path:
        """See :class:`~tenantry.SqliteFiles`. Where no link is on the way, none leads out of the root."""
        path = str(self.root)
        for part in _parts(location):
            path = f"{path}/{part}"
            if os.path.islink(path):
                return super().path(location)
        return Path(path)

    def engine(self, tenant: Tenant, *, write: bool = False) -> sa.Engine:
        """See :class:`~tenantry.SqliteFiles`."""
        engine = super().engine(tenant, write=write)
        if engine not in self._tuned:
            with self._guard:
                if engine not in self._tuned:
                    tune(engine, self._synchronous)
                    self._tuned.add(engine)
        return engine


@lru_cache(maxsize=1024)
def _parts(location: str) -> tuple[str, ...]:
    return tuple(RelativePath(location).value.split("/"))
