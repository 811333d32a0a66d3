"""The rows of one basket's documents: looking at them, their versions and operations, and removing them.

Documents of other baskets do not exist here. What comes in is written by :mod:`docex.services.intake`.
"""

from __future__ import annotations

import builtins
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, or_, select, update

from docex import access
from docex.contents import searchable
from docex.database import Database
from docex.errors import BasketNotFound, DocumentError, DocumentNotFound, QueryRejected
from docex.models.tables import (
    BasketRow,
    DocumentRow,
    EventRow,
    FileHistoryRow,
    MetadataRow,
    OperationRow,
    RouteOperationRow,
    new_id,
    now,
    table_of,
)
from docex.services import audit, content_service, cursors, texts, usage_service
from docex.services.asking import ORDERS, asked, in_basket
from docex.services.details import DETAILS, Details, Packed, Row, by_columns, read, read_some
from docex.services.duplicates import Duplicates
from docex.services.listing import checked, paged
from docex.services.metadata_service import Sought
from docex.services.statements import Made
from docex.services.telling import told

DELETED = "DOCUMENT_DELETED"  # type of the event that tells of a removed document
STATUS_CHANGED = "STATUS_CHANGED"  # type of the event that tells of another status
LONGEST_STATUS = 50  # characters
CHUNK = 400  # documents that one transaction removes
MANY = 500  # documents that meet a condition, from which on a page of them is looked for in its order
WALKED = 5_000  # documents that are walked through for it
WALKED_ORDERS = ("created_at", "updated_at", "name")  # that an index of the basket serves

_document = table_of(DocumentRow)
_history = table_of(FileHistoryRow)
_event = table_of(EventRow)


@dataclass(frozen=True)
class Version:
    """One content a document has had, and where its bytes are."""

    number: int  # counted from 1
    source: str | None
    path: str  # its readable name in the basket
    place: str | None  # None: kept by revision 0001, under its readable name
    key: str | None
    size: int | None  # bytes
    checksum: str | None


@dataclass(frozen=True)
class Removed:
    """What the removal of documents leaves to be taken out of the storage."""

    idle: tuple[tuple[str, str], ...]  # places and checksums that nothing counts any more
    paths: tuple[str, ...]  # readable names in the basket


class DocumentService(Duplicates):
    """Works on the documents of one basket."""

    def __init__(self, db: Database, basket_id: str) -> None:
        self.db = self._db = db
        self._basket_id = basket_id

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, document_id: str) -> Details | None:
        """The document of an id."""
        access.check(self._db, access.READ)
        with self._db.connection() as connection:
            found = read(connection, self._query(_document.c.id == document_id))
        return found[0] if found else None

    def row(self, document_id: str) -> dict[str, Any] | None:
        """The document of an id with its source, version and users."""
        access.check(self._db, access.READ)
        further = (_document.c.source, _document.c.version, _document.c.created_by, _document.c.updated_by)
        query = select(*DETAILS, *further).where(self._here(few=True), _document.c.id == document_id)
        with self._db.session() as session:
            row = session.connection().execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

    def list(
        self,
        *where: ColumnElement[bool],
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
        few: bool = False,
    ) -> list[Details]:
        """Documents that meet all conditions, newest first unless another order is asked for.

        ``few``: the conditions name few documents of the basket, so look at those.
        """
        access.check(self._db, access.READ)
        query = paged(
            self._query(*where, few=few),
            ORDERS,
            order_by=order_by,
            order_desc=order_desc,
            limit=limit,
            offset=offset,
            last=DocumentRow.id,
        )
        with self._db.connection() as connection:
            return read(connection, query)

    def found(
        self,
        sought: Sought,
        *,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> builtins.list[Details]:
        """The same as :meth:`list` for conditions on metadata; a page of what many documents share is found quickly."""
        access.check(self._db, access.READ)
        checked(limit, offset)
        if limit and limit + (offset or 0) < WALKED and order_by in (None, *WALKED_ORDERS):
            with self._db.connection() as connection:
                walked = self._walked(connection, sought, order_by, order_desc, limit, offset or 0)
            if walked is not None:
                return walked
        return self.list(
            sought.met, limit=limit, offset=offset, order_by=order_by, order_desc=order_desc, few=bool(sought.rows)
        )

    def _walked(
        self,
        connection: Connection,
        sought: Sought,
        order_by: str | None,
        order_desc: bool,
        limit: int,
        offset: int,
    ) -> builtins.list[Details] | None:
        """A page of documents that meet conditions which many do, without looking at all of them; None if not found so.

        The first documents of the basket in the order that is asked for are walked through: when a page's number of
        them meet the conditions, it is the page, whatever comes behind them.
        """
        for rows in sought.rows:
            counted = select(func.count()).select_from(rows.limit(MANY).subquery())
            if connection.execute(counted).scalar_one() < MANY:
                return None
        if order_by is None:
            order_by, order_desc = "created_at", True
        column = _document.c[order_by]
        ordered = column.desc() if order_desc else column.asc()
        here = self._here(few=False)
        end = connection.execute(select(column).where(here).order_by(ordered).offset(WALKED).limit(1)).scalar()
        near = () if end is None else (column >= end if order_desc else column <= end,)
        query = paged(
            self._query(*near, sought.near),
            ORDERS,
            order_by=order_by,
            order_desc=order_desc,
            limit=offset + limit,
            offset=None,
            last=DocumentRow.id,
        )
        found = read(connection, query)
        return found[offset:] if end is None or len(found) == offset + limit else None

    def asked(
        self,
        equal: Mapping[str, Any],
        metadata: Mapping[str, Any] | str | None,
        make: Callable[[Row], Made],
        *,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> builtins.list[Made]:
        """The same as :meth:`list` for the questions that are asked most often, each document in the form that ``make``
        gives to its row: see :mod:`docex.services.asking`.
        """
        access.check(self._db, access.READ)
        with self._db.connection() as connection:
            return asked(
                connection,
                self._basket_id,
                equal,
                metadata,
                make,
                order_by=order_by,
                order_desc=order_desc,
                limit=limit,
                offset=offset,
            )

    def by_columns(self, row: Packed) -> Sequence[Any]:
        """The details of a document whose row :meth:`asked` gave, where that row cannot tell them.

        :raises DocumentNotFound: it was removed.
        """
        with self._db.connection() as connection:
            values = by_columns(connection, row)
        if values is None:
            raise DocumentNotFound(row[0])
        return values

    def page(
        self,
        *where: ColumnElement[bool],
        size: int,
        after: str | None = None,
        order_by: str = "created_at",
        order_desc: bool = True,
    ) -> tuple[builtins.list[Details], str | None]:
        """Documents that follow a cursor, and the cursor of the next page; None at the end.

        A page costs the same however far behind it is, and documents that come or go meanwhile shift nothing.

        :raises QueryRejected: the order or the cursor is not known.
        """
        access.check(self._db, access.READ)
        if order_by not in ORDERS:
            raise QueryRejected(f"order_by={order_by}", f"documents are ordered by {', '.join(ORDERS)}.")
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        column = ORDERS[order_by]
        query = self._query(*where)
        if after is not None:
            value, last = cursors.read(after, order_by, order_desc, like=column.type.python_type)
            further = column < value if order_desc else column > value
            beyond = DocumentRow.id < last if order_desc else DocumentRow.id > last
            query = query.where(or_(further, and_(column == value, beyond)))
        query = paged(
            query, ORDERS, order_by=order_by, order_desc=order_desc, limit=size + 1, offset=None, last=DocumentRow.id
        )
        with self._db.connection() as connection:
            found = read(connection, query)
        if len(found) <= size:
            return found, None
        shown = found[:size]
        return shown, cursors.made(getattr(shown[-1], order_by), shown[-1].id, order_by, order_desc)

    def columns(
        self,
        names: Sequence[str],
        *where: ColumnElement[bool],
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
        few: bool = False,
    ) -> builtins.list[dict[str, Any]]:
        """The same as :meth:`list` with some columns only; times as ISO 8601 text."""
        access.check(self._db, access.READ)
        query = paged(
            self._query(*where, few=few),
            ORDERS,
            order_by=order_by,
            order_desc=order_desc,
            limit=limit,
            offset=offset,
            last=DocumentRow.id,
        )
        with self._db.connection() as connection:
            return read_some(connection, query, names)

    def count(self, *where: ColumnElement[bool], few: bool = False) -> int:
        """How many of the basket's documents meet the conditions."""
        access.check(self._db, access.READ)
        query = select(func.count()).select_from(_document).where(self._here(few), *where)
        with self._db.connection() as connection:
            return int(connection.execute(query).scalar_one())

    def versions(self, document_id: str) -> builtins.list[dict[str, Any]]:
        """The document's contents, oldest first."""
        access.check(self._db, access.READ)
        query = (
            select(
                _history.c.original_path,
                _history.c.internal_path,
                _history.c.created_at,
                _history.c.version,
                _history.c.size,
                _history.c.checksum,
                _history.c.user_id,
            )
            .where(_history.c.document_id == document_id)
            .order_by(_history.c.created_at, _history.c.id)
        )
        with self._db.session() as session:
            return [dict(row) for row in session.connection().execute(query).mappings()]

    def version(self, document_id: str, number: int | None = None) -> Version:
        """One content of a document, by default the present one.

        :raises DocumentNotFound: it was removed. :raises ValueError: it has no such version.
        """
        access.check(self._db, access.READ)
        with self._db.session() as session:
            return self._version(session.connection(), document_id, number)

    def content_in_row(self, document_id: str, checksum: str | None) -> bytes | None:
        """The content of this checksum from the document's own row; None unless it is a text that is kept there."""
        access.check(self._db, access.READ)
        query = select(_document.c.raw_content).where(
            _document.c.id == document_id, self._here(few=True), _document.c.checksum == checksum
        )
        with self._db.session() as session:
            text = session.connection().execute(query).scalar_one_or_none()
        return None if text is None else whole(text, checksum)

    def operations(self, document_id: str) -> builtins.list[dict[str, Any]]:
        """What was done with the document, oldest first."""
        return self._log(OperationRow, document_id)

    def route_operations(self, document_id: str) -> builtins.list[dict[str, Any]]:
        """How the document was sent or fetched, oldest first."""
        return self._log(RouteOperationRow, document_id)

    # -- changing ------------------------------------------------------------------------------------------------------

    def set_status(self, document_id: str, status: str, **details: Any) -> None:
        """Give a document another status; an event tells of it. :raises DocumentNotFound: it is not in this basket."""
        access.check(self._db, access.WRITE)
        if not 0 < len(status) <= LONGEST_STATUS:
            raise DocumentError(f"a status is text of 1 to {LONGEST_STATUS} characters, not {status!r}")
        moment = now()
        with self._db.session(write=True) as session:
            connection = session.connection()
            values = {"status": status, "updated_at": moment, "updated_by": self._db.user_id}
            where = (_document.c.id == document_id, self._here(few=True))
            if connection.execute(update(_document).where(*where).values(values)).rowcount == 0:
                raise DocumentNotFound(document_id)
            self._tell(connection, STATUS_CHANGED, document_id, {"status": status, **details})
            given = {"basket_id": self._basket_id, "document_id": document_id, "details": {"status": status, **details}}
            audit.record(connection, self._db, "document.status", **given)

    def set_extracted_text(self, document_id: str, text: str) -> None:
        """Make a document found by a text that was taken out of it. :raises DocumentNotFound: it was removed."""
        access.check(self._db, access.WRITE)
        with self._db.session(write=True) as session:
            connection = session.connection()
            one = select(_document.c.raw_content).where(_document.c.id == document_id, self._here(few=True))
            if connection.execute(one.with_for_update()).one_or_none() is None:
                raise DocumentNotFound(document_id)
            texts.forget(connection, [document_id])
            texts.index(connection, [(document_id, None, searchable(text.replace("\0", " ")))])

    def create_operation(
        self, document_id: str, kind: str, status: str, details: Mapping[str, Any] | None, error: str | None
    ) -> str:
        """Record something that was done with a document; returns the operation's id."""
        access.check(self._db, access.WRITE)
        moment = now()
        row = {
            "id": new_id("ope"),
            "document_id": document_id,
            "operation_type": kind,
            "status": status,
            "details": None if details is None else dict(details),
            "error": error,
            "created_at": moment,
            "completed_at": moment,
            "user_id": self._db.user_id,
        }
        with self._db.session(write=True) as session:
            connection = session.connection()
            self._require(connection, document_id)
            connection.execute(insert(table_of(OperationRow)), row)
        return str(row["id"])

    def delete(self, document_ids: Sequence[str]) -> Removed:
        """Remove documents with all their versions.

        :raises DocumentNotFound: one of them is not in this basket; then none is removed.
        """
        access.check(self._db, access.WRITE)
        with self._db.session(write=True) as session:
            stripped = Stripped()
            strip(session.connection(), self._db, self._basket_id, document_ids, stripped)
            return give_back(session.connection(), stripped)

    def _require(self, connection: Connection, document_id: str) -> None:
        one = select(_document.c.id).where(_document.c.id == document_id, self._here(few=True))
        if connection.execute(one.with_for_update(read=True)).one_or_none() is None:
            raise DocumentNotFound(document_id)

    def _tell(self, connection: Connection, kind: str, document_id: str | None, data: dict[str, Any]) -> None:
        connection.execute(insert(_event), told(self._db, self._basket_id, kind, document_id, data))

    def _query(self, *where: ColumnElement[bool], few: bool = False) -> Select[*tuple[Any, ...]]:
        return select(*DETAILS).where(self._here(few), *where)

    def _here(self, few: bool) -> ColumnElement[bool]:
        return in_basket(self._basket_id, few=few)

    def _version(self, connection: Connection, document_id: str, number: int | None) -> Version:
        one = select(_document.c.version, _document.c.path).where(_document.c.id == document_id, self._here(few=True))
        document = connection.execute(one).one_or_none()
        if document is None:
            raise DocumentNotFound(document_id)
        query = (
            select(
                _history.c.original_path,
                _history.c.internal_path,
                _history.c.place,
                _history.c.size,
                _history.c.checksum,
                content_service.KEY,
            )
            .outerjoin(content_service.TABLE, content_service.of(_history.c.place, _history.c.checksum))
            .where(_history.c.document_id == document_id)
            .order_by(_history.c.created_at, _history.c.id)
        )
        rows = connection.execute(query).all()
        if number is None:
            number = len(rows)
        if not 1 <= number <= len(rows):
            raise ValueError(f"document {document_id} has versions 1 to {len(rows)}, not {number}")
        row = rows[number - 1]
        return Version(number, row.original_path, row.internal_path, row.place, row.key, row.size, row.checksum)

    def _log(
        self, table: type[OperationRow] | type[RouteOperationRow], document_id: str
    ) -> builtins.list[dict[str, Any]]:
        access.check(self._db, access.READ)
        query = (
            select(
                table.operation_type.label("type"),
                table.status,
                table.created_at,
                table.completed_at,
                table.error,
                table.details,
            )
            .where(table.document_id == document_id)
            .order_by(table.created_at, table.id)
        )
        with self._db.session() as session:
            return [dict(row) for row in session.execute(query).mappings()]


def whole(text: str, checksum: str | None) -> bytes | None:
    """The bytes of a text that a row keeps, if they are those of the checksum."""
    content = text.encode("utf-8", "surrogatepass")
    return content if hashlib.sha256(content).hexdigest() == checksum else None


def lock_basket(connection: Connection, basket_id: str) -> None:
    """Keep others from changing what the basket holds until the transaction ends. :raises BasketNotFound: it is gone.

    SQLite ignores FOR UPDATE; there the write lock taken at BEGIN does it.
    """
    query = select(BasketRow.id).where(BasketRow.id == basket_id).with_for_update()
    if connection.execute(query).one_or_none() is None:
        raise BasketNotFound(basket_id)


@dataclass
class Stripped:
    """What removed documents held: to be given back at the end of the transaction, by :func:`give_back`."""

    held: Counter[tuple[str, str]] = field(default_factory=Counter)  # places and checksums
    documents: int = 0
    size: int = 0  # bytes, of every version
    paths: list[str] = field(default_factory=list)


def strip(connection: Connection, db: Database, basket_id: str, document_ids: Iterable[str], into: Stripped) -> None:
    """Remove the rows of documents of a basket; what happened stays on record.

    :raises DocumentNotFound: one of them is not in this basket.
    """
    ids = sorted(set(document_ids))
    locked = (
        select(_document.c.id, _document.c.name, _document.c.size, _document.c.place)
        .where(_document.c.id.in_(ids), in_basket(basket_id, few=True))
        .order_by(_document.c.id)
        .with_for_update()
    )
    rows = {row.id: row for row in connection.execute(locked)}
    for document_id in ids:
        if document_id not in rows:
            raise DocumentNotFound(document_id)
    versions = connection.execute(
        select(_history.c.internal_path, _history.c.place, _history.c.checksum, _history.c.size).where(
            _history.c.document_id.in_(ids)
        )
    ).all()
    into.held.update((v.place, v.checksum) for v in versions if v.place is not None and v.checksum is not None)
    into.documents += len(ids)
    into.size += sum(version.size or 0 for version in versions)
    into.size += sum(row.size or 0 for row in rows.values() if row.place is None)  # of revision 0001
    into.paths += [version.internal_path for version in versions if version.internal_path]
    texts.forget(connection, ids)
    # What happened stays on record; it points at no document any more.
    connection.execute(update(_event).where(_event.c.document_id.in_(ids)).values(document_id=None))
    for table in (table_of(MetadataRow), _history):
        connection.execute(delete(table).where(table.c.document_id.in_(ids)))
    connection.execute(delete(_document).where(_document.c.id.in_(ids)))
    if not ids:
        return
    data = [{"document_id": row.id, "name": row.name} for row in rows.values()]
    connection.execute(insert(_event), [told(db, basket_id, DELETED, None, one) for one in data])
    connection.execute(
        insert(audit.TABLE),
        [
            audit.row(db, "document.delete", basket_id=basket_id, document_id=row.id, details={"name": row.name})
            for row in rows.values()
        ],
    )


def give_back(connection: Connection, stripped: Stripped) -> Removed:
    """Count what removed documents held less. The last thing in a transaction.

    Contents are locked after documents and usage after contents, by everyone: who locked in another order could wait
    for somebody that waits for them.
    """
    idle = content_service.release(connection, stripped.held)
    usage_service.charge(connection, -stripped.documents, -stripped.size)
    return Removed(tuple(idle), tuple(stripped.paths))
