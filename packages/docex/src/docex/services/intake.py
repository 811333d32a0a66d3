"""Write the rows of documents that come in, and of contents that replace others, in one transaction each.

The bytes are stored by the caller before, and are looked at again here once their row is locked: see
:mod:`docex.services.content_service`. One file that comes again is known by the unique ``dedup_key`` of its document.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from docex.database import Database
from docex.errors import BasketInactive, BasketNotFound, DocumentNotFound
from docex.models.tables import BasketRow, DocumentRow, EventRow, FileHistoryRow, OperationRow, new_id, now, table_of
from docex.services import audit, content_service, metadata_service, texts, usage_service, written
from docex.services.asking import in_basket
from docex.services.details import DETAILS, Details
from docex.storage.base import Staged, Storage

INACTIVE = "inactive"  # the status of a basket that takes nothing in
RECEIVED = "RECEIVED"  # the status of a new document
DUPLICATE = "DUPLICATE"  # the type of the event that tells of a file that was there already
ADDED, UPDATED = "DOCUMENT_ADDED", "DOCUMENT_UPDATED"  # types of events
ATTEMPTS = 5  # at one document that others add at the same moment

_basket = table_of(BasketRow)
_document = table_of(DocumentRow)
_history = table_of(FileHistoryRow)
_operation = table_of(OperationRow)
_event = table_of(EventRow)


@dataclass(frozen=True)
class Draft:
    """A content that is to become a document, or a new version of one; its rows are not written yet."""

    staged: Staged
    name: str
    source: str  # the path that was given, as text
    path: str  # the readable name of its content in the basket
    content_type: str
    document_type: str
    text: str | None  # None for a binary
    metadata: Mapping[str, metadata_service.Value]
    id: str = field(default_factory=lambda: new_id("doc"))
    text_for_search: str | None = None  # where `text` is not kept

    @cached_property
    def dedup_key(self) -> str:
        """What is equal for the same content from the same source."""
        return dedup_key(self.staged.checksum, self.source)

    def columns(self) -> dict[str, Any]:
        """The columns that describe the content."""
        return {
            "name": self.name,
            "source": self.source,
            "path": self.path,
            "content_type": self.content_type,
            "content": None if self.text is None else {"content": self.text},
            "raw_content": self.text,
            "size": self.staged.size,
            "checksum": self.staged.checksum,
            "dedup_key": self.dedup_key,
        }


def dedup_key(checksum: str, source: str) -> str:
    """The key of a content from a source: see :attr:`Draft.dedup_key`."""
    return hashlib.sha256(f"{checksum}\0{source}".encode()).hexdigest()


class BasketMoved(Exception):
    """The basket keeps its contents elsewhere by now; nothing was written."""


class Intake:
    """Writes the documents of one basket."""

    def __init__(self, db: Database, basket_id: str, storage: Storage, config: Mapping[str, Any]) -> None:
        """``config``: the storage_config of the basket, by which ``storage`` was opened."""
        self._db = db
        self._basket_id = basket_id
        self._storage = storage
        self._config = config

    def add(self, drafts: Sequence[Draft]) -> list[tuple[Details, bool]]:
        """Write new documents; of each tells the details, and whether it is new or was there already.

        A content whose bytes turn out to be missing once nobody else can remove them is stored again.

        :raises BasketNotFound: the basket was removed. :raises BasketInactive: it takes nothing in.
        :raises BasketMoved: it has another storage. :raises QuotaExceeded: nothing of it is kept.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._db.connection(write=True, large=len(drafts) > 1) as connection:
                    return self._add(connection, drafts)
            except written.Collision as collision:
                if attempt == ATTEMPTS:
                    raise collision.__cause__ or collision from None
        raise AssertionError("unreachable")

    def replace(self, document_id: str, draft: Draft) -> Details:
        """Give a document another content; the earlier one stays as a version.

        :raises DocumentNotFound: this basket holds no such document.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._db.connection(write=True) as connection:
                    return self._replace(connection, document_id, draft)
            except written.Collision as collision:
                if attempt == ATTEMPTS:
                    raise collision.__cause__ or collision from None
        raise AssertionError("unreachable")

    # -- adding --------------------------------------------------------------------------------------------------------

    def _add(self, connection: Connection, drafts: Sequence[Draft]) -> list[tuple[Details, bool]]:
        moment = now()
        if len(drafts) == 1:
            return [self._add_one(connection, drafts[0], moment)]
        known = self._known(connection, drafts)
        fresh: dict[str, Draft] = {}
        again: list[tuple[str, str]] = []  # ids and sources
        for draft in drafts:
            if draft.dedup_key in known:
                again.append((known[draft.dedup_key].id, draft.source))
            elif draft.dedup_key in fresh:
                again.append((fresh[draft.dedup_key].id, draft.source))
            else:
                fresh[draft.dedup_key] = draft
        if fresh:
            new = list(fresh.values())
            self._write(connection, new, moment)
            usage_service.charge(connection, len(new), sum(draft.staged.size for draft in new))
        if again:
            # After the documents: one of them may be what comes again here.
            rows = [self._event(DUPLICATE, document, {"source": source}, moment) for document, source in again]
            connection.execute(insert(_event), rows)
        made = {key: self._details(draft, moment) for key, draft in fresh.items()}
        told, result = set(), []
        for draft in drafts:
            new_here = draft.dedup_key in made and draft.dedup_key not in told
            told.add(draft.dedup_key)
            result.append((made.get(draft.dedup_key) or known[draft.dedup_key], new_here))
        return result

    def _add_one(self, connection: Connection, draft: Draft, moment: datetime) -> tuple[Details, bool]:
        outcome = written.add(
            connection,
            self._basket_id,
            draft.dedup_key,
            self._storage.place,
            self._content(draft),
            lambda: self._rows(draft, moment),
            INACTIVE,
        )
        self._open(outcome.status, outcome.storage)
        if outcome.known is not None:
            event = self._event(DUPLICATE, outcome.known.id, {"source": draft.source}, moment)
            connection.execute(insert(_event), event)
            return outcome.known, False
        if not outcome.fits:
            usage_service.refuse(connection, 1, draft.staged.size)
        self._complete({draft.staged.checksum: draft}, outcome.new)
        return self._details(draft, moment), True

    def _known(self, connection: Connection, drafts: Sequence[Draft]) -> dict[str, Details]:
        """The documents that the basket holds already, by their dedup keys. :raises BasketNotFound: it is gone."""
        self._lock_basket(connection)
        return written.known_of(connection, self._basket_id, [draft.dedup_key for draft in drafts])

    def _lock_basket(self, connection: Connection) -> None:
        """Keep the basket as it is. Before its contents are locked: whoever removes it locks in this order too."""
        query = select(_basket.c.status, _basket.c.storage_config).where(_basket.c.id == self._basket_id)
        row = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()
        self._open(*(row or (None, None)))

    def _open(self, status: str | None, config: Any) -> None:
        if status is None:
            raise BasketNotFound(self._basket_id)
        if status == INACTIVE:
            raise BasketInactive(self._basket_id)
        if config != self._config:
            raise BasketMoved

    def _hold(self, connection: Connection, draft: Draft) -> None:
        """Count the content of a draft, and see to it that its bytes are there."""
        staged = draft.staged
        key, new = content_service.hold(
            connection,
            self._storage.place,
            staged.checksum,
            self._storage.content_key(staged.checksum, draft.path),
            staged.size,
        )
        if new and not self._storage.exists(key):
            self._storage.publish([(staged, key)])

    def _write(self, connection: Connection, drafts: Sequence[Draft], moment: datetime) -> None:
        times = Counter(draft.staged.checksum for draft in drafts)
        contents = {draft.staged.checksum: draft for draft in drafts}
        held = [self._content(draft, times[checksum]) for checksum, draft in contents.items()]
        rows = [self._rows(draft, moment) for draft in drafts]
        self._complete(contents, written.write(connection, self._storage.place, held, rows))

    def _content(self, draft: Draft, times: int = 1) -> written.Content:
        staged = draft.staged
        return written.Content(
            staged.checksum, self._storage.content_key(staged.checksum, draft.path), staged.size, times
        )

    def _complete(self, drafts: Mapping[str, Draft], new: Sequence[written.Content]) -> None:
        """Store contents again that were removed before they were counted; nobody can now."""
        missing = [(drafts[one.checksum].staged, one.key) for one in new if not self._storage.exists(one.key)]
        if missing:
            self._storage.publish(missing)

    # -- replacing -----------------------------------------------------------------------------------------------------

    def _replace(self, connection: Connection, document_id: str, draft: Draft) -> Details:
        moment = now()
        self._lock_basket(connection)
        of_basket = in_basket(self._basket_id, few=True)
        one = select(_document.c.version).where(_document.c.id == document_id, of_basket).with_for_update()
        version = connection.execute(one).scalar_one_or_none()
        if version is None:
            raise DocumentNotFound(document_id)
        self._hold(connection, draft)
        columns = draft.columns()
        same = select(_document.c.id).where(of_basket, _document.c.dedup_key == draft.dedup_key)
        if connection.execute(same.where(_document.c.id != document_id)).first() is not None:
            columns["dedup_key"] = None  # another document has this content from this source, and stays the one
        texts.forget(connection, [document_id])
        values = {
            **columns,
            "version": version + 1,
            "place": self._storage.place,
            "updated_at": moment,
            "updated_by": self._db.user_id,
        }
        try:
            connection.execute(update(_document).where(_document.c.id == document_id).values(values))
        except IntegrityError as error:
            raise written.Collision from error
        connection.execute(insert(_history), self._version(draft, document_id, version + 1, moment))
        connection.execute(insert(_operation), self._operation(draft, document_id, "UPDATE", moment))
        metadata_service.write(connection, document_id, draft.metadata, self._db.user_id)
        texts.index(connection, [(document_id, draft.text, draft.text_for_search)])
        connection.execute(insert(_event), self._event(UPDATED, document_id, {"version": version + 1}, moment))
        connection.execute(insert(audit.TABLE), self._audit("document.update", draft, document_id, moment))
        usage_service.charge(connection, 0, draft.staged.size)
        row = connection.execute(select(*DETAILS).where(_document.c.id == document_id)).one()
        return Details(*row)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _rows(self, draft: Draft, moment: datetime) -> written.Rows:
        return written.Rows(
            document=self._document(draft, moment),
            history=self._version(draft, draft.id, 1, moment),
            operation=self._operation(draft, draft.id, "ADD", moment),
            event=self._event(ADDED, draft.id, {"name": draft.name}, moment),
            audit=self._audit("document.add", draft, draft.id, moment),
            metadata=list(metadata_service.rows(draft.id, draft.metadata, self._db.user_id, moment)),
            text=draft.text_for_search if draft.text is None else None,
            search=draft.text if draft.text is not None else draft.text_for_search,
        )

    def _document(self, draft: Draft, moment: datetime) -> dict[str, Any]:
        return {
            **draft.columns(),
            "id": draft.id,
            "basket_id": self._basket_id,
            "document_type": draft.document_type,
            "status": RECEIVED,
            "created_at": moment,
            "updated_at": moment,
            "created_by": self._db.user_id,
            "updated_by": self._db.user_id,
            "place": self._storage.place,
        }

    def _version(self, draft: Draft, document_id: str, version: int, moment: datetime) -> dict[str, Any]:
        return {
            "id": new_id("fhi"),
            "document_id": document_id,
            "original_path": draft.source,
            "internal_path": draft.path,
            "created_at": moment,
            "version": version,
            "place": self._storage.place,
            "checksum": draft.staged.checksum,
            "size": draft.staged.size,
            "user_id": self._db.user_id,
        }

    def _operation(self, draft: Draft, document_id: str, kind: str, moment: datetime) -> dict[str, Any]:
        return {
            "id": new_id("ope"),
            "document_id": document_id,
            "operation_type": kind,
            "status": "success",
            "details": {
                "source": draft.source,
                "stored_path": draft.path,
                "document_type": draft.document_type,
                "size": draft.staged.size,
                "checksum": draft.staged.checksum,
            },
            "created_at": moment,
            "completed_at": moment,
            "user_id": self._db.user_id,
        }

    def _event(self, kind: str, document_id: str, data: dict[str, Any], moment: datetime) -> dict[str, Any]:
        return {
            "id": new_id("evt"),
            "basket_id": self._basket_id,
            "document_id": document_id,
            "event_type": kind,
            "event_timestamp": moment,
            "data": data,
            "source": "docex",
            "status": "PENDING",
            "created_at": moment,
            "updated_at": moment,
            "user_id": self._db.user_id,
            "attempts": 0,
        }

    def _audit(self, action: str, draft: Draft, document_id: str, moment: datetime) -> dict[str, Any]:
        details = {"name": draft.name, "source": draft.source, "checksum": draft.staged.checksum}
        return audit.row(
            self._db, action, basket_id=self._basket_id, document_id=document_id, details=details, moment=moment
        )

    def _details(self, draft: Draft, moment: datetime) -> Details:
        return Details(
            draft.id,
            draft.name,
            draft.path,
            draft.content_type,
            draft.document_type,
            draft.staged.size,
            draft.staged.checksum,
            RECEIVED,
            moment,
            moment,
        )


class Prepared(NamedTuple):
    """Drafts whose contents are stored and whose rows are not written yet."""

    drafts: list[Draft]
    intake: Intake  # of the time when the contents were stored: the basket may be moved in between
    storage: Storage
