"""Documents that are the same as others, and where their contents came from, as older scripts ask for them.

``add`` looks for duplicates by itself; this is for documents that a script takes for one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from sqlalchemy import insert, select, update

from docex import access
from docex.database import Database
from docex.errors import DocumentNotFound
from docex.models.tables import DocumentRow, EventRow, FileHistoryRow, now, table_of
from docex.services import audit
from docex.services.asking import in_basket
from docex.services.details import DETAILS, Details, read
from docex.services.telling import told

DUPLICATE = "DUPLICATE"  # status of a document that was marked
DUPLICATE_DETECTED = "DUPLICATE_DETECTED"  # type of the event that tells of it

_document = table_of(DocumentRow)
_event = table_of(EventRow)
_history = table_of(FileHistoryRow)


class Found(TypedDict):
    """Whether a content is there already, and as which document."""

    is_duplicate: bool
    original_document_id: str | None
    original_document: Details | None


@dataclass(frozen=True)
class Origin:
    """Where one content of a document came from, and its readable name in the basket."""

    original_path: str | None
    internal_path: str | None
    created_at: datetime  # UTC
    version: int


class Duplicates:
    """The part of a basket's :class:`~docex.services.document_service.DocumentService` that is about these."""

    _db: Database
    _basket_id: str

    def check_for_duplicates(self, source: str, checksum: str) -> Found:
        """Whether a content of this SHA-256 was added from this path; the oldest such document of the basket."""
        access.check(self._db, access.READ)
        same = (_document.c.checksum == checksum, _document.c.source == source)
        query = select(*DETAILS).where(_document.c.basket_id == self._basket_id, *same)
        with self._db.connection() as connection:
            found = read(connection, query.order_by(_document.c.created_at, _document.c.id).limit(1))
        original = found[0] if found else None
        return Found(
            is_duplicate=original is not None,
            original_document_id=original.id if original else None,
            original_document=original,
        )

    def mark_as_duplicate(self, document_id: str, original_document_id: str) -> None:
        """Give a document the status DUPLICATE; an event names the original.

        :raises DocumentNotFound: one of the two is not in this basket; then nothing was changed.
        """
        access.check(self._db, access.WRITE)
        data = {"original_document_id": original_document_id}
        values = {"status": DUPLICATE, "updated_at": now(), "updated_by": self._db.user_id}
        here = in_basket(self._basket_id, few=True)
        with self._db.session(write=True) as session:
            connection = session.connection()
            original = select(_document.c.id).where(here, _document.c.id == original_document_id)
            if connection.execute(original).first() is None:
                raise DocumentNotFound(original_document_id)
            changed = connection.execute(update(_document).where(here, _document.c.id == document_id).values(values))
            if changed.rowcount == 0:
                raise DocumentNotFound(document_id)
            connection.execute(insert(_event), told(self._db, self._basket_id, DUPLICATE_DETECTED, document_id, data))
            given = {"basket_id": self._basket_id, "document_id": document_id, "details": {"status": DUPLICATE, **data}}
            audit.record(connection, self._db, "document.status", **given)

    def get_file_history(self, document_id: str) -> list[Origin]:
        """Where the contents of a document came from, oldest first; nothing for a document of another basket."""
        access.check(self._db, access.READ)
        columns = (_history.c.original_path, _history.c.internal_path, _history.c.created_at, _history.c.version)
        query = (
            select(*columns)
            .join(_document, _document.c.id == _history.c.document_id)
            .where(_document.c.id == document_id, in_basket(self._basket_id, few=True))
            .order_by(_history.c.created_at, _history.c.id)
        )
        with self._db.connection() as connection:
            return [Origin(*row) for row in connection.execute(query)]
