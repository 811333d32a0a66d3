"""The details of documents as they are listed: without their text, and quick to read by thousands."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

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
    rows = result.cursor.fetchall()
    result.close()
    if connection.dialect.name == "sqlite":  # whose times are text
        parsed = datetime.fromisoformat
        rows = [(*row[:8], parsed(row[8]), parsed(row[9])) for row in rows]
    return list(map(Details._make, rows))
