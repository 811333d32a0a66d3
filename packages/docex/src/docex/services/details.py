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


Row = Details | tuple[Any, ...]  # the same as a driver gives it: SQLite's times are texts


def read(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[Details]:
    """The documents of a query for :data:`DETAILS`, straight from the driver: of thousands, SQLAlchemy's own rows take
    longer than reading them.
    """
    result = connection.execute(query)
    try:
        rows = cast("Iterable[Row]", result.cursor)
        return [Details._make((*row[:8], moment(row[8]), moment(row[9]))) for row in rows]
    finally:
        result.close()


def moment(told: datetime | str) -> datetime:
    """A time as such, which is a text in SQLite."""
    return told if isinstance(told, datetime) else datetime.fromisoformat(told)
