"""The metadata of documents: keys with JSON values, and the conditions by which documents are found.

A value is kept as JSON text. Beside it stand its number, or the start of its text, so that ranges and prefixes are
found through an index; a value is found by equality through the start of its JSON text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal_column,
    not_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from docex import access
from docex.database import Database
from docex.errors import DocumentNotFound, MetadataRejected, QueryRejected
from docex.models.tables import INDEXED_VALUE, DocumentRow, MetadataRow, new_id, now, table_of
from docex.services import audit

LONGEST_KEY = 255  # characters
LARGEST_VALUE = 1024 * 1024  # characters of JSON; larger ones belong into a document's content
_COMPARED = ("<", "<=", ">", ">=")
OPERATORS = ("=", "!=", *_COMPARED, "prefix", "exists")

_table = table_of(MetadataRow)
INSERT = insert(_table)
_UPSERT = {
    name: statement.on_conflict_do_update(
        index_elements=["document_id", "key"],
        set_={column: statement.excluded[column] for column in ("value", "number", "word", "updated_at", "updated_by")},
    )
    for name, statement in (("postgresql", postgresql.insert(_table)), ("sqlite", sqlite.insert(_table)))
}

# With its numbers written out: given as parameters, they make it another expression than the index has.
_indexed = func.substr(_table.c.value, literal_column("1"), literal_column(str(INDEXED_VALUE)))

Condition = tuple[str, str, Any]  # key, operator, value


class Value(NamedTuple):
    """A value as the table keeps it."""

    json: str  # equal values give equal text, whatever the order of keys inside them
    number: float | None
    word: str | None


def encoded(metadata: Mapping[str, Any]) -> dict[str, Value]:
    """The values as the table keeps them.

    :raises MetadataRejected: a key is no text of 1 to 255 characters, or a value has no JSON form or is too large.
    """
    return {_key(key): _value(key, value) for key, value in metadata.items()}


def _key(key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not _plain(key):
        raise MetadataRejected(key, f"a key is text of 1 to {LONGEST_KEY} characters, without NUL.")
    return key


def _plain(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\0" not in text


def _value(key: str, value: object) -> Value:
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataRejected(key, f"its value has no JSON form: {error}.") from error
    if len(text) > LARGEST_VALUE:
        reason = f"its value has {len(text)} characters of JSON; at most {LARGEST_VALUE}. Add it as a document instead."
        raise MetadataRejected(key, reason)
    return Value(text, _number(value), _word(value))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _word(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # What PostgreSQL's text cannot hold is left out; it is in the JSON text as an escape.
    return value[:INDEXED_VALUE].replace("\0", " ").encode("utf-8", "replace").decode()


def rows(
    document_id: str, values: Mapping[str, Value], user_id: str | None, moment: datetime
) -> Iterator[dict[str, Any]]:
    """The rows of a document's keys, in one order for all, so that two writers cannot wait for each other."""
    for key, value in sorted(values.items()):
        yield {
            "id": new_id("dmt"),
            "document_id": document_id,
            "key": key,
            "value": value.json,
            "number": value.number,
            "word": value.word,
            "metadata_type": "custom",
            "created_at": moment,
            "updated_at": moment,
            "updated_by": user_id,
        }


def write(connection: Connection, document_id: str, values: Mapping[str, Value], user_id: str | None) -> None:
    """Set a document's keys; two writers of one key at once leave one of their values."""
    if values:
        connection.execute(_UPSERT[connection.dialect.name], list(rows(document_id, values, user_id, now())))


class Sought(NamedTuple):
    """The condition that documents meet conditions on their metadata, in two ways that mean the same."""

    met: ColumnElement[bool]  # looks the documents up through the metadata: for what few documents have
    near: ColumnElement[bool]  # looks at the metadata of a document that is at hand: for what many have
    rows: Sequence[Select[tuple[str]]]  # ids of the documents that meet each, as far as an index finds them


def _sought(rows: Sequence[Select[tuple[str]]], *others: ColumnElement[bool]) -> Sought:
    at_hand = (query.where(_table.c.document_id == DocumentRow.id).exists() for query in rows)
    return Sought(
        and_(true(), *(DocumentRow.id.in_(query) for query in rows), *others), and_(true(), *at_hand, *others), rows
    )


def having(metadata: Mapping[str, Any] | str) -> Sought:
    """That a document carries all these values, each under its key; of a text: under any key."""
    if isinstance(metadata, str):
        text = json.dumps(metadata)
        return _sought([equal(None, text[:INDEXED_VALUE], text)])
    return _sought([equal(key, value.json[:INDEXED_VALUE], value.json) for key, value in encoded(metadata).items()])


def equal(key: Any, start: Any, value: Any) -> Select[tuple[str]]:
    """The documents that have a value under a key, or under any; ``start``: as much of it as the index holds."""
    query = select(_table.c.document_id).where(
        # Both: the first part is what the index holds, the second is the truth.
        _indexed == start,
        # Not of the bare column: SQLite would put its value into the condition above, which the index then does not
        # serve.
        func.coalesce(_table.c.value, "") == value,
    )
    return query if key is None else query.where(_table.c.key == key)


def meeting(conditions: Iterable[Condition]) -> Sought:
    """That a document meets all of these. See :meth:`docex.docbasket.DocBasket.find_documents_where`.

    :raises QueryRejected: an operator is not known, or cannot compare such a value.
    """
    rows: list[Select[tuple[str]]] = []
    others: list[ColumnElement[bool]] = []
    ranges: dict[
        tuple[str, str], list[ColumnElement[bool]]
    ] = {}  # of one key and kind of value, to be looked up at once
    for key, operator, value in conditions:
        if operator in _COMPARED:
            column = _compared(key, operator, value)
            ranges.setdefault((key, column.name), []).append(column.op(operator)(_bound(value)))
        elif operator == "=":
            rows += having({key: value}).rows
        elif operator == "prefix":
            rows.append(_beginning(key, value))
        else:
            others.append(_met(key, operator, value))
    for (key, _), bounds in ranges.items():
        rows.append(_of_key(key, *bounds))
    return _sought(rows, *others)


def _of_key(key: str, *bounds: ColumnElement[bool]) -> Select[tuple[str]]:
    return select(_table.c.document_id).where(_table.c.key == key, *bounds)


def _compared(key: str, operator: str, value: Any) -> Column[Any]:
    """The column that holds values of this kind in order."""
    _key(key)
    if _number(value) is None and _word(value) is None:
        reason = "only numbers and texts can be compared."
        raise QueryRejected(f"{key} {operator} {json.dumps(value, default=str)}", reason)
    return _table.c.number if _number(value) is not None else _table.c.word


def _bound(value: Any) -> float | str | None:
    number = _number(value)
    return number if number is not None else _word(value)


def _met(key: str, operator: str, value: Any) -> ColumnElement[bool]:
    if operator not in OPERATORS:
        raise QueryRejected(f"{key} {operator}", f"the operators are {', '.join(OPERATORS)}.")
    _key(key)
    of_document = exists().where(_table.c.document_id == DocumentRow.id, _table.c.key == key)
    if operator == "exists":
        return of_document if value or value is None else not_(of_document)
    return and_(of_document, not_(having({key: value}).met))


def _beginning(key: str, value: Any) -> Select[tuple[str]]:
    _key(key)
    if not isinstance(value, str) or not 0 < len(value) <= INDEXED_VALUE:
        raise QueryRejected(f"{key} prefix {value!r}", f"a prefix is text of 1 to {INDEXED_VALUE} characters.")
    prefix = _word(value) or ""
    bounds = [_table.c.word >= prefix]
    end = _after(prefix)
    if end is not None:
        bounds.append(_table.c.word < end)
    return _of_key(key, *bounds)


def _after(prefix: str) -> str | None:
    """The first text, in the order of code points, behind all that begin with the prefix."""
    for index in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[index]) + 1
        if 0xD800 <= following <= 0xDFFF:
            following = 0xE000
        if following <= 0x10FFFF:
            return prefix[:index] + chr(following)
    return None


class MetadataService:
    """Reads and changes the metadata of single documents."""

    def __init__(self, db: Database | None = None) -> None:
        """``db``: the ``db`` of a DocEX object. Without one, that of the configuration, which must have no tenants."""
        from docex.db.connection import Database as Configured  # which imports this module's neighbours

        self._db: Database = Configured() if db is None else db

    def get_metadata(self, document_id: str) -> dict[str, Any]:
        """All keys with their values."""
        access.check(self._db, access.READ)
        query = select(_table.c.key, _table.c.value).where(_table.c.document_id == document_id)
        with self._db.session() as session:
            return {key: json.loads(value) for key, value in session.execute(query.order_by(_table.c.key))}

    def update_metadata(self, document_id: str, metadata: Mapping[str, Any]) -> None:
        """Set the given keys; others stay as they are.

        :raises MetadataRejected: see :func:`encoded`. :raises DocumentNotFound: the document was removed.
        """
        access.check(self._db, access.WRITE)
        values = encoded(metadata)
        with self._db.session(write=True) as session:
            connection = session.connection()
            self._touch(connection, document_id)
            write(connection, document_id, values, self._db.user_id)
            audit.record(
                connection, self._db, "metadata.update", document_id=document_id, details={"keys": sorted(values)}
            )

    def delete_metadata(self, document_id: str, keys: Sequence[str]) -> int:
        """Remove the given keys; those that are not there are passed over. Returns how many were removed."""
        access.check(self._db, access.WRITE)
        with self._db.session(write=True) as session:
            connection = session.connection()
            self._touch(connection, document_id)
            where = (_table.c.document_id == document_id, _table.c.key.in_(list(keys)))
            removed = connection.execute(delete(_table).where(*where)).rowcount
            audit.record(
                connection, self._db, "metadata.delete", document_id=document_id, details={"keys": sorted(keys)}
            )
            return removed

    @staticmethod
    def _touch(connection: Connection, document_id: str) -> None:
        """Lock the document, so that it is not removed in between. :raises DocumentNotFound: it is gone."""
        query = select(DocumentRow.id).where(DocumentRow.id == document_id).with_for_update(read=True)
        if connection.execute(query).one_or_none() is None:
            raise DocumentNotFound(document_id)
