"""The details of documents as they are listed: without their text, and quick to read by thousands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Select

from docex.models.tables import DocumentRow, table_of


class Details(NamedTuple):
    """A document's details at the time it was read."""

    id: str
    name: str
    path: str  # the readable name of its content in its basket
    content_type: str | None
    document_type: str
    size: int  # bytes
    checksum: str  # SHA-256 of the bytes, hexadecimal
    status: str
    created_at: datetime  # UTC
    updated_at: datetime  # UTC


_columns = table_of(DocumentRow).c
DETAILS = tuple(_columns[name] for name in Details._fields)


def read(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[Details]:
    """The documents of a query for :data:`DETAILS`, straight from the driver: of thousands, SQLAlchemy's own rows take
    longer than reading them.
    """
    result = connection.execute(query)
    try:
        return [Details._make(row) for row in rows_of(result.cursor, connection.dialect.name)]
    finally:
        result.close()


def rows_of(cursor: Any, dialect: str) -> Iterable[Details]:
    """A driver's rows of :data:`DETAILS`, with times as such; plain tuples, which are quicker to make.

    One by one where that is as quick: Python's search for garbage takes its time over thousands of tuples at once.
    """
    if dialect != "sqlite":
        return cast("Iterable[Details]", cursor.fetchall())
    return (cast("Details", row[:8] + _times(row[8], row[9])) for row in cursor)


def _times(created: str, updated: str) -> tuple[datetime, datetime]:
    """SQLite's times, which are text there; of a document that was never changed they are the same."""
    moment = datetime.fromisoformat(created)
    return moment, moment if updated == created else datetime.fromisoformat(updated)
