"""Write the rows of documents that come in, and of contents that replace others, in one transaction each.

The bytes are stored by the caller before, and are looked at again here once their row is locked: see
:mod:`docex.services.content_service`. One file that comes again is known by the unique ``dedup_key`` of its document.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, bindparam, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from docex.contents import searchable
from docex.database import Database
from docex.errors import BasketInactive, BasketNotFound, DocumentNotFound
from docex.models.tables import BasketRow, DocumentRow, EventRow, FileHistoryRow, OperationRow, new_id, now, table_of
from docex.services import audit, content_service, metadata_service, texts, usage_service
from docex.services.details import DETAILS, Details
from docex.storage.base import Staged, Storage

INACTIVE = "inactive"  # the status of a basket that takes nothing in
RECEIVED = "RECEIVED"  # the status of a new document
DUPLICATE = "DUPLICATE"  # the type of the event that tells of a file that was there already
ADDED, UPDATED = "DOCUMENT_ADDED", "DOCUMENT_UPDATED"  # types of events
ATTEMPTS = 5  # at one document that others add at the same moment
LOOKED_UP = 400  # documents that are looked up by one statement

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

    @property
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


class _Collision(Exception):
    """Another transaction added the same document at the same moment, or the basket is gone."""


class Intake:
    """Writes the documents of one basket."""

    def __init__(self, db: Database, basket_id: str, storage: Storage) -> None:
        self._db = db
        self._basket_id = basket_id
        self._storage = storage

    def add(
        self, drafts: Sequence[Draft], publish: Callable[[Sequence[tuple[Staged, str]]], None]
    ) -> list[tuple[Details, bool]]:
        """Write new documents; of each tells the details, and whether it is new or was there already.

        ``publish`` stores a content whose bytes turn out to be missing once nobody else can remove them.

        :raises BasketNotFound: the basket was removed. :raises QuotaExceeded: nothing of it is kept.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._db.session(write=True) as session:
                    return self._add(session.connection(), drafts, publish)
            except _Collision as collision:
                if attempt == ATTEMPTS:
                    raise collision.__cause__ or collision from None
        raise AssertionError("unreachable")

    def replace(
        self, document_id: str, draft: Draft, publish: Callable[[Sequence[tuple[Staged, str]]], None]
    ) -> Details:
        """Give a document another content; the earlier one stays as a version.

        :raises DocumentNotFound: this basket holds no such document.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._db.session(write=True) as session:
                    return self._replace(session.connection(), document_id, draft, publish)
            except _Collision as collision:
                if attempt == ATTEMPTS:
                    raise collision.__cause__ or collision from None
        raise AssertionError("unreachable")

    # -- adding --------------------------------------------------------------------------------------------------------

    def _add(
        self,
        connection: Connection,
        drafts: Sequence[Draft],
        publish: Callable[[Sequence[tuple[Staged, str]]], None],
    ) -> list[tuple[Details, bool]]:
        moment = now()
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
            try:
                if len(new) == 1:
                    self._write_one(connection, new[0], moment, publish)
                else:
                    self._write(connection, new, moment, publish)
            except (IntegrityError, sqlite3.IntegrityError) as error:
                raise _Collision from error
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

    def _known(self, connection: Connection, drafts: Sequence[Draft]) -> dict[str, Details]:
        """The documents that the basket holds already, by their dedup keys. :raises BasketNotFound: it is gone."""
        found: dict[str, Details] = {}
        if len(drafts) == 1:
            rows = connection.execute(_ONE, {"basket": self._basket_id, "key": drafts[0].dedup_key}).all()
            self._open(rows[0].basket_status if rows else None)
            return {row.dedup_key: Details(*row[2:]) for row in rows if row.dedup_key is not None}
        status = select(_basket.c.status).where(_basket.c.id == self._basket_id)
        status = status.with_for_update(read=True, key_share=True)
        self._open(connection.execute(status).scalar_one_or_none())
        keys = [draft.dedup_key for draft in drafts]
        for start in range(0, len(keys), LOOKED_UP):
            given = {"basket": self._basket_id, "keys": keys[start : start + LOOKED_UP]}
            found |= {row.dedup_key: Details(*row[1:]) for row in connection.execute(_MANY, given)}
        return found

    def _open(self, status: str | None) -> None:
        if status is None:
            raise BasketNotFound(self._basket_id)
        if status == INACTIVE:
            raise BasketInactive(self._basket_id)

    def _hold(
        self,
        connection: Connection,
        drafts: Sequence[Draft],
        publish: Callable[[Sequence[tuple[Staged, str]]], None],
    ) -> None:
        """Count the drafts' contents, and see to it that their bytes are there."""
        contents = {draft.staged.checksum: draft for draft in drafts}
        times = Counter(draft.staged.checksum for draft in drafts)
        missing = []
        for checksum, draft in sorted(contents.items()):  # one order for all, so that nobody waits in a circle
            staged = draft.staged
            given = self._storage.content_key(checksum, draft.path)
            key, new = content_service.hold(
                connection, self._storage.place, checksum, given, staged.size, times[checksum]
            )
            if new and not self._storage.exists(key):
                missing.append((staged, key))
        if missing:
            publish(missing)

    def _write(
        self,
        connection: Connection,
        drafts: Sequence[Draft],
        moment: datetime,
        publish: Callable[[Sequence[tuple[Staged, str]]], None],
    ) -> None:
        self._hold(connection, drafts, publish)
        connection.execute(insert(_document), [self._document(draft, moment) for draft in drafts])
        connection.execute(insert(_history), [self._version(draft, draft.id, 1, moment) for draft in drafts])
        connection.execute(insert(_operation), [self._operation(draft, draft.id, "ADD", moment) for draft in drafts])
        metadata = [row for d in drafts for row in metadata_service.rows(d.id, d.metadata, self._db.user_id, moment)]
        if metadata:
            connection.execute(metadata_service.INSERT, metadata)
        texts.index(connection, [(draft.id, draft.text, draft.text_for_search) for draft in drafts])
        events = [self._event(ADDED, draft.id, {"name": draft.name}, moment) for draft in drafts]
        connection.execute(insert(_event), events)
        connection.execute(
            insert(audit.TABLE), [self._audit("document.add", draft, draft.id, moment) for draft in drafts]
        )

    def _write_one(
        self,
        connection: Connection,
        draft: Draft,
        moment: datetime,
        publish: Callable[[Sequence[tuple[Staged, str]]], None],
    ) -> None:
        """The same as :meth:`_write` for one document: as one statement to a server, where every message takes its
        time, and past SQLAlchemy to SQLite, where that is most of the time.
        """
        metadata = list(metadata_service.rows(draft.id, draft.metadata, self._db.user_id, moment))
        body = draft.text if draft.text is not None else draft.text_for_search
        given: dict[str, Any] = {
            f"{prefix}_{name}": json.dumps(value) if isinstance(value, dict) else value
            for prefix, row in (
                ("d", self._document(draft, moment)),
                ("h", self._version(draft, draft.id, 1, moment)),
                ("o", self._operation(draft, draft.id, "ADD", moment)),
                ("e", self._event(ADDED, draft.id, {"name": draft.name}, moment)),
                ("a", self._audit("document.add", draft, draft.id, moment)),
            )
            for name, value in row.items()
        }
        given |= {
            "user_id": self._db.user_id,
            "c_key": self._storage.content_key(draft.staged.checksum, draft.path),
            "t_body": draft.text_for_search if draft.text is None else None,
            "t_search": None if body is None else searchable(body),
        }
        if connection.dialect.name == "postgresql":
            given |= {f"m_{name}": [row[name] for row in metadata] for name in _METADATA}
            row = connection.execute(_ADD, given).one()
            refs, key = row.refs, row.key
        else:
            refs, key = _insert(connection, given, metadata)
        if refs == 1 and not self._storage.exists(key):
            publish([(draft.staged, key)])

    # -- replacing -----------------------------------------------------------------------------------------------------

    def _replace(
        self,
        connection: Connection,
        document_id: str,
        draft: Draft,
        publish: Callable[[Sequence[tuple[Staged, str]]], None],
    ) -> Details:
        moment = now()
        of_basket = _document.c.basket_id == self._basket_id
        one = select(_document.c.version).where(_document.c.id == document_id, of_basket).with_for_update()
        version = connection.execute(one).scalar_one_or_none()
        if version is None:
            raise DocumentNotFound(document_id)
        self._hold(connection, [draft], publish)
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
            raise _Collision from error
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

    def _document(self, draft: Draft, moment: datetime) -> dict[str, Any]:
        return {
            **draft.columns(),
            "id": draft.id,
            "basket_id": self._basket_id,
            "document_type": draft.document_type,
            "status": RECEIVED,
            "processing_attempts": 0,
            "created_at": moment,
            "updated_at": moment,
            "created_by": self._db.user_id,
            "updated_by": self._db.user_id,
            "version": 1,
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


_BASKET_AND_KEY = _document.c.basket_id == bindparam("basket")
_ONE = (
    select(_basket.c.status.label("basket_status"), _document.c.dedup_key, *DETAILS)
    .select_from(_basket.outerjoin(_document, _BASKET_AND_KEY & (_document.c.dedup_key == bindparam("key"))))
    .where(_basket.c.id == bindparam("basket"))
    # Before its contents are locked: whoever removes the basket locks in this order too.
    .with_for_update(read=True, key_share=True, of=_basket)
)
_MANY = select(_document.c.dedup_key, *DETAILS).where(
    _BASKET_AND_KEY, _document.c.dedup_key.in_(bindparam("keys", expanding=True))
)

_METADATA = ("id", "key", "value", "number", "word")
_COLUMNS = {
    "document": "id basket_id name source path content_type document_type content raw_content size checksum status"
    " processing_attempts created_at updated_at created_by updated_by version place dedup_key",
    "file_history": "id document_id original_path internal_path created_at version place checksum size user_id",
    "operations": "id document_id operation_type status details created_at completed_at user_id",
    "doc_events": "id basket_id document_id event_type event_timestamp data source status created_at updated_at user_id"
    " attempts",
    "audit_trail": "id happened_at action basket_id document_id user_id user_email attributes details",
}
_JSON = {"content", "details", "data", "attributes"}


def _inserted(table: str, *, cast: bool) -> str:
    names, prefix = _COLUMNS[table].split(), "e" if table == "doc_events" else "h" if table[0] == "f" else table[0]
    marks = (f"CAST(:{prefix}_{name} AS json)" if cast and name in _JSON else f":{prefix}_{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(marks)})"


_HOLD = (
    "INSERT INTO content (place, checksum, key, size, refs, created_at)"
    " VALUES (:d_place, :d_checksum, :c_key, :d_size, 1, :d_created_at)"
    " ON CONFLICT (place, checksum) DO UPDATE SET refs = content.refs + 1 RETURNING refs, key"
)
# Rows of one statement may point at each other: PostgreSQL checks foreign keys at its end.
_ADD = text(
    f"WITH held AS ({_HOLD}), "
    + ", ".join(f"new_{table} AS ({_inserted(table, cast=True)})" for table in _COLUMNS)
    + ", m AS (INSERT INTO document_metadata"
    " (id, document_id, key, value, metadata_type, created_at, updated_at, updated_by, number, word)"
    " SELECT id, :d_id, key, value, 'custom', :d_created_at, :d_created_at, :user_id, number, word"
    " FROM unnest(CAST(:m_id AS varchar[]), CAST(:m_key AS varchar[]), CAST(:m_value AS text[]),"
    " CAST(:m_number AS double precision[]), CAST(:m_word AS varchar[])) AS given (id, key, value, number, word)"
    "), t AS (INSERT INTO document_text (document_id, body, search)"
    " SELECT :d_id, :t_body, to_tsvector('simple', CAST(:t_search AS text))"
    " WHERE CAST(:t_search AS text) IS NOT NULL)"
    " SELECT refs, key FROM held"
)
_INSERTS = tuple(_inserted(table, cast=False) for table in _COLUMNS)
_INSERT_METADATA = (
    "INSERT INTO document_metadata"
    " (id, document_id, key, value, metadata_type, created_at, updated_at, updated_by, number, word)"
    " VALUES (:id, :document_id, :key, :value, 'custom', :created_at, :created_at, :updated_by, :number, :word)"
)
_INSERT_TEXT = "INSERT INTO document_text (document_id, body) VALUES (:d_id, :t_body)"
_INSERT_WORDS = "INSERT INTO document_fts (rowid, body) VALUES (?, ?)"


def _insert(connection: Connection, given: dict[str, Any], metadata: list[dict[str, Any]]) -> tuple[int, str]:
    """Write one document's rows into SQLite; returns how often its content is held, and its key."""
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    for row in (given, *metadata):
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.isoformat(" ", "microseconds")
    refs, key = driver.execute(_HOLD, given).fetchone()
    for statement in _INSERTS:
        driver.execute(statement, given)
    driver.executemany(_INSERT_METADATA, metadata)
    if given["t_search"] is not None:
        made = driver.execute(_INSERT_TEXT, given).lastrowid
        driver.execute(_INSERT_WORDS, (made, given["t_search"]))
    return refs, key
