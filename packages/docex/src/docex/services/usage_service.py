"""How much a tenant holds and may hold: exact, because it is counted in the transaction of every change."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import NoReturn, cast

from sqlalchemy import Connection, bindparam, func, or_, select, update

from docex import access
from docex.database import Database
from docex.errors import QuotaExceeded
from docex.models.holdings import USAGE_ID, UsageRow
from docex.models.tables import DocumentRow, FileHistoryRow, table_of
from docex.services import audit

_table = table_of(UsageRow)
_CHARGE = (
    update(_table)
    .where(
        _table.c.id == USAGE_ID,
        or_(
            bindparam("more_documents") <= 0,
            _table.c.max_documents.is_(None),
            _table.c.documents + bindparam("more_documents") <= _table.c.max_documents,
        ),
        or_(
            bindparam("more_bytes") <= 0,
            _table.c.max_bytes.is_(None),
            _table.c.bytes + bindparam("more_bytes") <= _table.c.max_bytes,
        ),
    )
    .values(documents=_table.c.documents + bindparam("more_documents"), bytes=_table.c.bytes + bindparam("more_bytes"))
    .returning(_table.c.documents)
)

# The same past SQLAlchemy, whose work would be most of its time.
_CHARGE_SQLITE = (
    "UPDATE usage SET documents = documents + :more_documents, bytes = bytes + :more_bytes"
    f" WHERE id = {USAGE_ID}"
    " AND (:more_documents <= 0 OR max_documents IS NULL OR documents + :more_documents <= max_documents)"
    " AND (:more_bytes <= 0 OR max_bytes IS NULL OR bytes + :more_bytes <= max_bytes)"
)


@dataclass(frozen=True)
class Usage:
    """What a tenant holds, every version of every document, and its limits; None is no limit."""

    documents: int
    bytes: int
    max_documents: int | None
    max_bytes: int | None


def charge(connection: Connection, documents: int, size: int) -> None:
    """Count documents and bytes more, or fewer. The last thing in a transaction: others wait for its end.

    :raises QuotaExceeded: the tenant would hold more than it may.
    """
    if not charged(connection, documents, size):
        refuse(connection, documents, size)


def refuse(connection: Connection, documents: int, size: int) -> NoReturn:
    """:raises QuotaExceeded: the tenant would hold more than it may; says what it holds."""
    held = Usage(*_row(connection))
    if held.max_documents is not None and documents > 0 and held.documents + documents > held.max_documents:
        raise QuotaExceeded(f"{held.documents} documents", f"{held.max_documents}")
    raise QuotaExceeded(f"{held.bytes} bytes and this needs {size} more", f"{held.max_bytes}")


def charged(connection: Connection, documents: int, size: int) -> bool:
    """The same as :func:`charge`; tells whether it could be."""
    given = {"more_documents": documents, "more_bytes": size}
    if connection.dialect.name != "sqlite":
        return connection.execute(_CHARGE, given).one_or_none() is not None
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    return driver.execute(_CHARGE_SQLITE, given).rowcount > 0


def measured(connection: Connection) -> tuple[int, int]:
    """Documents and bytes as they are found by looking at every row."""
    documents = connection.execute(select(func.count()).select_from(DocumentRow)).scalar_one()
    kept = connection.execute(select(func.coalesce(func.sum(FileHistoryRow.size), 0))).scalar_one()
    # Documents of revision 0001 have a size, but none in their history.
    old = select(func.coalesce(func.sum(DocumentRow.size), 0)).where(DocumentRow.place.is_(None))
    return documents, int(kept or 0) + int(connection.execute(old).scalar_one() or 0)


def limited(connection: Connection) -> bool:
    """Whether the tenant has a limit of any kind."""
    return any(limit is not None for limit in _row(connection)[2:])


def _row(connection: Connection) -> tuple[int, int, int | None, int | None]:
    query = select(_table.c.documents, _table.c.bytes, _table.c.max_documents, _table.c.max_bytes)
    row = connection.execute(query.where(_table.c.id == USAGE_ID)).one()
    return row.documents, row.bytes, row.max_documents, row.max_bytes


class UsageService:
    """Reads a tenant's usage and sets its limits."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self) -> Usage:
        """What the tenant holds and may hold."""
        access.check(self._db, access.READ)
        with self._db.session() as session:
            return Usage(*_row(session.connection()))

    def set_limits(self, max_documents: int | None, max_bytes: int | None) -> Usage:
        """Set both limits; None is no limit. What is held already stays, even when it is more.

        :raises ValueError: a limit is negative.
        """
        access.check(self._db, access.ADMIN)
        for name, limit in (("max_documents", max_documents), ("max_bytes", max_bytes)):
            if limit is not None and limit < 0:
                raise ValueError(f"{name} must not be negative, not {limit}")
        limits = {"max_documents": max_documents, "max_bytes": max_bytes}
        with self._db.session(write=True) as session:
            connection = session.connection()
            connection.execute(update(_table).where(_table.c.id == USAGE_ID).values(limits))
            audit.record(connection, self._db, "usage.limit", details=limits)
            return Usage(*_row(connection))
