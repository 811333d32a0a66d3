"""The details of documents as they are listed: without their text, and quick to read by thousands."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

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
