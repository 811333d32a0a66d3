"""The rows of one basket's documents: what is recorded when a document is added, replaced or removed.

The contents themselves are not touched here: whoever calls stores them first and removes them last.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, delete, func, select, update
from sqlalchemy.orm import Session

from docex.database import Database
from docex.errors import BasketNotFound, DocumentNotFound
from docex.models.records import DocumentRecord
from docex.models.tables import BasketRow, DocumentRow, EventRow, FileHistoryRow, MetadataRow, OperationRow, new_id, now
from docex.services import metadata_service
from docex.services.listing import paged

RECEIVED = "RECEIVED"  # the status of a new document
DUPLICATE = "DUPLICATE"  # the type of the event that tells of a file that was there already

ORDERS = {
    "created_at": DocumentRow.created_at,
    "updated_at": DocumentRow.updated_at,
    "name": DocumentRow.name,
    "size": DocumentRow.size,
    "status": DocumentRow.status,
}
# Without the text of the document, which may be large.
DETAILS = (
    DocumentRow.id,
    DocumentRow.name,
    DocumentRow.path,
    DocumentRow.content_type,
    DocumentRow.document_type,
    DocumentRow.size,
    DocumentRow.checksum,
    DocumentRow.status,
    DocumentRow.created_at,
    DocumentRow.updated_at,
)


@dataclass(frozen=True)
class Draft:
    """A document whose content is stored and whose rows are not written yet."""

    name: str
    source: str  # the path that was given, as text
    path: str  # the key of its content
    content_type: str
    document_type: str
    text: str | None  # None for a binary
    size: int  # bytes
    checksum: str
    metadata: Mapping[str, str]  # values as JSON text
    id: str = field(default_factory=lambda: new_id("doc"))

    def columns(self) -> dict[str, Any]:
        """The columns that describe the content."""
        return {
            "name": self.name,
            "source": self.source,
            "path": self.path,
            "content_type": self.content_type,
            "content": None if self.text is None else {"content": self.text},
            "raw_content": self.text,
            "size": self.size,
            "checksum": self.checksum,
        }


class DocumentService:
    """Works on the documents of one basket; those of other baskets do not exist for it."""

    def __init__(self, db: Database, basket_id: str) -> None:
        self._db = db
        self._basket_id = basket_id

    def duplicate(self, source: str, checksum: str) -> DocumentRecord | None:
        """The document that has this content from this source; an event tells that it came again.

        :raises BasketNotFound: the basket was removed.
        """
        with self._db.session(write=True) as session:
            lock_basket(session, self._basket_id)
            return self._duplicate(session, source, checksum)

    def create(self, draft: Draft) -> DocumentRecord:
        """Write the rows of a new document, or return the one that has its content from its source already.

        :raises BasketNotFound: the basket was removed meanwhile.
        """
        moment = now()
        with self._db.session(write=True) as session:
            # Two adds of one file at once would both find no duplicate.
            lock_basket(session, self._basket_id)
            found = self._duplicate(session, draft.source, draft.checksum)
            if found is not None:
                return found
            row = DocumentRow(
                id=draft.id,
                basket_id=self._basket_id,
                document_type=draft.document_type,
                status=RECEIVED,
                created_at=moment,
                updated_at=moment,
                **draft.columns(),
            )
            session.add(row)
            session.flush()
            self._record_content(session, draft.id, draft, "ADD", moment)
            return self._one(session, draft.id)

    def replace(self, document_id: str, draft: Draft) -> DocumentRecord:
        """Give a document a new content; the earlier ones stay in its history.

        :raises DocumentNotFound: the basket holds no such document.
        """
        moment = now()
        with self._db.session(write=True) as session:
            of_document = (DocumentRow.id == document_id, DocumentRow.basket_id == self._basket_id)
            changed = session.execute(
                update(DocumentRow)
                .where(*of_document)
                .values(**draft.columns(), updated_at=moment)
                .returning(DocumentRow.id)
                .execution_options(synchronize_session=False)
            ).all()
            if not changed:
                raise DocumentNotFound(document_id)
            self._record_content(session, document_id, draft, "UPDATE", moment)
            return self._one(session, document_id)

    def get(self, document_id: str) -> DocumentRecord | None:
        """The document, if this basket holds it."""
        with self._db.session() as session:
            return self._find(session, DocumentRow.id == document_id)

    def list(
        self,
        *where: ColumnElement[bool],
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> builtins.list[DocumentRecord]:
        """The basket's documents that meet the conditions, newest first unless another order is asked for."""
        query = paged(
            self._query(*where),
            ORDERS,
            order_by=order_by,
            order_desc=order_desc,
            limit=limit,
            offset=offset,
            last=DocumentRow.id,
        )
        with self._db.session() as session:
            return [_record(row) for row in session.execute(query).mappings()]

    def count(self, *where: ColumnElement[bool]) -> int:
        """How many of the basket's documents meet the conditions."""
        query = select(func.count()).select_from(DocumentRow).where(DocumentRow.basket_id == self._basket_id, *where)
        with self._db.session() as session:
            return session.scalars(query).one()

    def history(self, document_id: str) -> builtins.list[dict[str, Any]]:
        """The document's versions, oldest first."""
        query = (
            select(FileHistoryRow.original_path, FileHistoryRow.internal_path, FileHistoryRow.created_at)
            .where(FileHistoryRow.document_id == document_id)
            .order_by(FileHistoryRow.created_at, FileHistoryRow.id)
        )
        with self._db.session() as session:
            return [dict(row) for row in session.execute(query).mappings()]

    def operations(self, document_id: str) -> builtins.list[dict[str, Any]]:
        """What was done with the document, oldest first."""
        query = (
            select(
                OperationRow.operation_type.label("type"),
                OperationRow.status,
                OperationRow.created_at,
                OperationRow.completed_at,
                OperationRow.error,
                OperationRow.details,
            )
            .where(OperationRow.document_id == document_id)
            .order_by(OperationRow.created_at, OperationRow.id)
        )
        with self._db.session() as session:
            return [dict(row) for row in session.execute(query).mappings()]

    def delete(self, document_id: str) -> set[str]:
        """Remove a document. Returns the keys of its contents.

        :raises DocumentNotFound: there is none in this basket.
        """
        one = select(DocumentRow.id).where(DocumentRow.id == document_id, DocumentRow.basket_id == self._basket_id)
        with self._db.session(write=True) as session:
            if session.scalars(one.with_for_update()).one_or_none() is None:
                raise DocumentNotFound(document_id)
            keys = content_keys(session, one)
            # What happened stays on record; it points at no document any more.
            session.execute(
                update(EventRow)
                .where(EventRow.document_id == document_id)
                .values(document_id=None)
                .execution_options(synchronize_session=False)
            )
            delete_documents(session, one)
            return keys

    def _query(self, *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
        return select(*DETAILS).where(DocumentRow.basket_id == self._basket_id, *where)

    def _find(self, session: Session, *where: ColumnElement[bool]) -> DocumentRecord | None:
        row = session.execute(self._query(*where).order_by(DocumentRow.created_at).limit(1)).mappings().one_or_none()
        return None if row is None else _record(row)

    def _one(self, session: Session, document_id: str) -> DocumentRecord:
        return _record(session.execute(self._query(DocumentRow.id == document_id)).mappings().one())

    def _duplicate(self, session: Session, source: str, checksum: str) -> DocumentRecord | None:
        found = self._find(session, DocumentRow.checksum == checksum, DocumentRow.source == source)
        if found is not None:
            session.add(
                EventRow(basket_id=self._basket_id, document_id=found.id, event_type=DUPLICATE, data={"source": source})
            )
        return found

    def _record_content(
        self, session: Session, document_id: str, draft: Draft, operation: str, moment: datetime
    ) -> None:
        session.add(
            FileHistoryRow(
                document_id=document_id, original_path=draft.source, internal_path=draft.path, created_at=moment
            )
        )
        session.add(
            OperationRow(
                document_id=document_id,
                operation_type=operation,
                status="success",
                details={
                    "source": draft.source,
                    "stored_path": draft.path,
                    "document_type": draft.document_type,
                    "size": draft.size,
                    "checksum": draft.checksum,
                },
                created_at=moment,
                completed_at=moment,
            )
        )
        session.flush()
        metadata_service.write(session, document_id, draft.metadata)


def lock_basket(session: Session, basket_id: str) -> None:
    """Keep others from changing what the basket holds until the transaction ends. :raises BasketNotFound: it is gone.

    SQLite ignores FOR UPDATE; there the write lock taken at BEGIN does it.
    """
    query = select(BasketRow.id).where(BasketRow.id == basket_id).with_for_update()
    if session.scalars(query).one_or_none() is None:
        raise BasketNotFound(basket_id)


def content_keys(session: Session, documents: Select[str]) -> set[str]:
    """The keys of every version of the documents' contents."""
    present = select(DocumentRow.path).where(DocumentRow.id.in_(documents))
    past = select(FileHistoryRow.internal_path).where(FileHistoryRow.document_id.in_(documents))
    return {key for query in (present, past) for key in session.scalars(query) if key}


def delete_documents(session: Session, documents: Select[str]) -> None:
    """Delete documents with the rows that no foreign key deletes with them."""
    for table in (MetadataRow, FileHistoryRow):
        session.execute(
            delete(table).where(table.document_id.in_(documents)).execution_options(synchronize_session=False)
        )
    session.execute(
        delete(DocumentRow).where(DocumentRow.id.in_(documents)).execution_options(synchronize_session=False)
    )


def _record(row: RowMapping) -> DocumentRecord:
    return DocumentRecord.model_validate(dict(row))
