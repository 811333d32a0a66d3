"""The rows of new documents, written as each database takes them most quickly.

A server gets all rows of any number of documents as one statement, for every message takes its time; SQLite gets them
past SQLAlchemy, whose work on each row would be most of the time. What is written is said by the caller:
:mod:`docex.services.intake`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Double,
    Integer,
    Table,
    bindparam,
    select,
)

from docex.contents import searchable
from docex.models.holdings import USAGE_ID, AuditRow
from docex.models.tables import (
    DocumentRow,
    EventRow,
    FileHistoryRow,
    MetadataRow,
    OperationRow,
    now,
    table_of,
)
from docex.services import usage_service
from docex.services.details import DETAILS, Details

LOOKED_UP = 400  # documents that are looked up by one statement

_document = table_of(DocumentRow)

# What is not named has its default.
_COLUMNS: dict[str, tuple[Table, str]] = {
    "document": (
        _document,
        "id basket_id name source path content_type document_type content raw_content size checksum status"
        " created_at updated_at created_by updated_by place dedup_key",
    ),
    "history": (
        table_of(FileHistoryRow),
        "id document_id original_path internal_path created_at version place checksum size user_id",
    ),
    "operation": (
        table_of(OperationRow),
        "id document_id operation_type status details created_at completed_at user_id",
    ),
    "metadata": (
        table_of(MetadataRow),
        "id document_id key value created_at updated_at updated_by number word",
    ),
    "event": (
        table_of(EventRow),
        "id basket_id document_id event_type event_timestamp data created_at updated_at user_id",
    ),
    "audit": (
        table_of(AuditRow),
        "id happened_at action basket_id document_id user_id user_email attributes details",
    ),
}


class Collision(Exception):
    """Another transaction added the same document at the same moment, or the basket is gone."""


class Content(NamedTuple):
    """A content that new documents hold so many times."""

    checksum: str
    key: str
    size: int  # bytes
    times: int


@dataclass(frozen=True)
class Rows:
    """The rows of one document, each by the names of its columns."""

    document: Mapping[str, Any]
    history: Mapping[str, Any]
    operation: Mapping[str, Any]
    event: Mapping[str, Any]
    audit: Mapping[str, Any]
    metadata: Sequence[Mapping[str, Any]]
    text: str | None  # what can be searched, where the document's row has no text
    search: str | None  # what can be searched, wherever it is kept

    def of(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """The rows of a table."""
        return self.metadata if kind == "metadata" else (getattr(self, kind),)


# -- what is there -----------------------------------------------------------------------------------------------------

_MANY = select(_document.c.dedup_key, *DETAILS).where(
    _document.c.basket_id == bindparam("basket"), _document.c.dedup_key.in_(bindparam("keys", expanding=True))
)

# One look into the unique index per key: the LIMIT keeps the server from joining, and no index on baskets serves (see
# docex.services.asking.in_basket). Without statistics, or with old ones, it may think that to read all is quicker.
_HERE = "coalesce(basket_id, '') = %(basket)s"
_KNOWN = (
    "SELECT d.* FROM unnest(%(keys)s::text[]) AS k CROSS JOIN LATERAL"
    f" (SELECT dedup_key, {', '.join(Details._fields)} FROM document"
    f" WHERE dedup_key = k AND {_HERE} LIMIT 1) AS d"
)


def known_of(connection: Connection, basket_id: str, keys: Sequence[str]) -> dict[str, Details]:
    """The documents that a basket holds under dedup keys."""
    found: dict[str, Details] = {}
    if connection.dialect.name == "postgresql":
        # Planned anew for each list: what was planned while there were few documents would read them all for each key.
        rows = _asked(connection, _KNOWN, {"basket": basket_id, "keys": list(keys)}, prepare=False)
        return {key: Details(*details) for key, *details in rows}
    for start in range(0, len(keys), LOOKED_UP):
        given = {"basket": basket_id, "keys": keys[start : start + LOOKED_UP]}
        found |= {row.dedup_key: Details(*row[1:]) for row in connection.execute(_MANY, given)}
    return found


# -- writing -----------------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of one new document."""

    status: str | None  # of the basket; None if it is gone
    storage: Any = None  # where the basket keeps contents: its storage_config
    known: Details | None = None  # the document that was there already
    fits: bool = True  # within the tenant's limits; otherwise nothing may be committed
    new: Sequence[Content] = ()  # its content, if nothing counted that before


def add(
    connection: Connection,
    basket_id: str,
    key: str,
    place: str,
    content: Content,
    made: Callable[[], Rows],
    refused: str,
) -> Outcome:
    """Write the rows of one new document, count its content, and charge the tenant for it.

    Nothing is written where the basket is gone, has the status ``refused``, or holds a document under the dedup key.
    """
    if connection.dialect.name == "sqlite":
        return _add_sqlite(connection, basket_id, key, place, content, made, refused)
    given = {
        "basket": basket_id,
        "key": key,
        "place": place,
        "refused": refused,
        "size": content.size,
        **_packed([made()], [content]),
    }
    found = _asked(connection, _statement(alone=True), given)
    if not found:
        return Outcome(None)
    status, storage, held_as, refs, fits, *known = found[0]
    if known[0] is not None:
        return Outcome(status, storage, Details(*known))
    if refs is None:
        return Outcome(status, storage)
    return Outcome(status, storage, None, fits, [content._replace(key=held_as)] if refs == content.times else [])


def write(connection: Connection, place: str, contents: Iterable[Content], documents: Sequence[Rows]) -> list[Content]:
    """Write the rows of new documents and count the contents that they hold, with the keys that those have.

    Returns the contents that nothing counted before. All are locked until the transaction ends.
    """
    held = sorted(contents)  # one order for all, so that nobody waits in a circle
    if connection.dialect.name == "sqlite":
        return _write_sqlite(connection, place, held, documents)
    given = {"place": place, **_packed(documents, held)}
    found = {checksum: (key, refs) for checksum, key, refs in _asked(connection, _statement(), given)}
    return [one._replace(key=found[one.checksum][0]) for one in held if found[one.checksum][1] == one.times]


def _asked(
    connection: Connection, statement: str, given: Mapping[str, Any], prepare: bool | None = None
) -> list[tuple[Any, ...]]:
    """What a server answers."""
    import psycopg  # loaded by whoever made the connection

    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor:
            return cursor.execute(statement, given, prepare=prepare).fetchall()
    except psycopg.IntegrityError as error:
        raise Collision from error


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)


@lru_cache(maxsize=8)  # all rows of one transaction have the same
def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(" ", "microseconds")


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _converted(kind: str) -> list[tuple[str, Callable[[Any], Any] | None]]:
    """The columns of a table, each with what makes of a value what SQLite keeps."""
    table, names = _COLUMNS[kind]
    kinds = {name: table.c[name].type for name in names.split()}
    return [
        (name, _time if isinstance(kind, DateTime) else _json if isinstance(kind, JSON) else None)
        for name, kind in kinds.items()
    ]


def _inserted(kind: str) -> str:
    table, names = _COLUMNS[kind]
    marks = ", ".join("?" * len(names.split()))
    return f"INSERT INTO {table.name} ({', '.join(names.split())}) VALUES ({marks})"


_HOLD_SQLITE = (
    "INSERT INTO content (place, checksum, key, size, refs, created_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (place, checksum) DO UPDATE SET refs = content.refs + excluded.refs RETURNING key, refs"
)
_INSERTS = tuple((kind, _converted(kind), _inserted(kind)) for kind in _COLUMNS)
_INSERT_TEXT = "INSERT INTO document_text (id, document_id, body) VALUES (?, ?, ?)"
_INSERT_WORDS = "INSERT INTO document_fts (rowid, body) VALUES (?, ?)"


_ONE_SQLITE = (
    f"SELECT b.status, b.storage_config, {', '.join(f'd.{name}' for name in Details._fields)} FROM docbasket b"
    " LEFT JOIN document d ON d.basket_id = b.id AND d.dedup_key = ? WHERE b.id = ?"
)


def _add_sqlite(
    connection: Connection,
    basket_id: str,
    key: str,
    place: str,
    content: Content,
    made: Callable[[], Rows],
    refused: str,
) -> Outcome:
    row = _driver(connection).execute(_ONE_SQLITE, (key, basket_id)).fetchone()
    if row is None:
        return Outcome(None)
    status, storage = row[0], json.loads(row[1])
    if row[2] is not None:
        return Outcome(status, storage, Details(*row[2:-2], *map(datetime.fromisoformat, row[-2:])))
    if status == refused:
        return Outcome(status, storage)
    new = _write_sqlite(connection, place, [content], [made()])
    return Outcome(status, storage, None, usage_service.charged(connection, 1, content.size), new)


def _write_sqlite(
    connection: Connection, place: str, held: Sequence[Content], documents: Sequence[Rows]
) -> list[Content]:
    try:
        return _insert_sqlite(_driver(connection), place, held, documents)
    except sqlite3.IntegrityError as error:
        raise Collision from error


def _insert_sqlite(
    driver: sqlite3.Connection, place: str, held: Sequence[Content], documents: Sequence[Rows]
) -> list[Content]:
    new, moment = [], _time(now())
    for one in held:
        counted = (place, one.checksum, one.key, one.size, one.times, moment)
        key, refs = driver.execute(_HOLD_SQLITE, counted).fetchone()
        if refs == one.times:
            new.append(one._replace(key=key))
    for kind, columns, statement in _INSERTS:
        given = [
            [row[name] if convert is None else convert(row[name]) for name, convert in columns]
            for rows in documents
            for row in rows.of(kind)
        ]
        driver.executemany(statement, given)
    texts = [(rows.document["id"], rows.text, rows.search) for rows in documents if rows.search is not None]
    if texts:
        first = driver.execute("SELECT coalesce(max(id), 0) + 1 FROM document_text").fetchone()[0]
        driver.executemany(_INSERT_TEXT, [(first + at, row[0], row[1]) for at, row in enumerate(texts)])
        driver.executemany(_INSERT_WORDS, [(first + at, searchable(row[2])) for at, row in enumerate(texts)])
    return new


def _packed(documents: Sequence[Rows], held: Sequence[Content]) -> dict[str, str]:
    """The rows of each table as one JSON text: the driver's work on some hundred values would be most of the time.

    One for each, and a text stands in them once, however many columns it is kept or searched in: the server reads each
    from end to end.
    """
    packed: dict[str, Any] = {
        kind: [
            {
                name: _handed(row[name]) if convert is None else convert(row[name])
                for name, convert in columns
                if name not in _MADE
            }
            for rows in documents
            for row in rows.of(kind)
        ]
        for kind, columns, _ in _INSERTS
    }
    packed["held"] = [one._asdict() for one in held]
    packed["texts"] = [
        {"document_id": rows.document["id"], "body": rows.text, "search": _beside(rows)}
        for rows in documents
        if rows.search is not None
    ]
    return {kind: json.dumps(rows) for kind, rows in packed.items()}


def _beside(rows: Rows) -> str | None:
    """What can be searched, unless it is all that the document's row holds."""
    text = searchable(rows.search or "")
    return None if text == rows.document["raw_content"] else text


def _handed(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value  # JSON has no infinity


# Columns that the server makes of others.
_MADE = {"content": "CASE WHEN raw_content IS NOT NULL THEN json_build_object('content', raw_content) END"}
_HELD = (
    "held AS (INSERT INTO content (place, checksum, key, size, refs, created_at)"
    " SELECT %(place)s, r.*, now() AT TIME ZONE 'UTC'"
    " FROM g, json_to_recordset(held) AS r (checksum text, key text, size int8, times int)"
    " ON CONFLICT (place, checksum) DO UPDATE SET refs = content.refs + excluded.refs RETURNING checksum, key, refs)"
)
_GIVEN = ", ".join(f"%({kind})s::json AS {kind}" for kind in (*_COLUMNS, "held", "texts"))
_ROWS = f"g AS (SELECT {_GIVEN})"
_ROWS_OF_NEW = (
    # Before its contents are locked: whoever removes the basket locks in this order too.
    "b AS (SELECT status, storage_config FROM docbasket WHERE id = %(basket)s FOR KEY SHARE),"
    f" d AS (SELECT {', '.join(Details._fields)} FROM document WHERE dedup_key = %(key)s AND {_HERE}),"
    f" g AS (SELECT {_GIVEN} FROM b WHERE status <> %(refused)s AND NOT EXISTS (SELECT FROM d))"
)
_CHARGED = (
    "u AS (UPDATE usage SET documents = documents + 1, bytes = bytes + %(size)s"
    " FROM (SELECT count(*) AS n FROM held) AS h"  # after the content: everyone locks in this order
    f" WHERE id = {USAGE_ID} AND n > 0 AND documents < coalesce(max_documents, documents + 1)"
    " AND (%(size)s = 0 OR bytes + %(size)s <= coalesce(max_bytes, bytes + %(size)s)) RETURNING id)"
)


@cache
def _statement(*, alone: bool = False) -> str:
    """All rows at once: PostgreSQL checks at a statement's end that what they point at is there.

    ``alone``: of one document, if it is new. With a tenant's id shorter than 4,096 characters: the driver reads a
    longer one anew every time.
    """
    parts = [f"WITH {_ROWS_OF_NEW if alone else _ROWS}", _HELD]
    for kind, (table, names) in _COLUMNS.items():
        columns = [table.c[name] for name in names.split()]
        taken = ", ".join(_MADE.get(c.name, f"{c.name}::json" if isinstance(c.type, JSON) else c.name) for c in columns)
        sent = [column for column in columns if column.name not in _MADE]
        types = ", ".join(f"{c.name} {_type(c.type)}" for c in sent)
        given = f"json_to_recordset({kind}) AS r ({types})"
        if all(not isinstance(column.type, JSON) for column in sent):  # then the table knows, which is shorter
            given = f"json_populate_recordset(NULL::{table.name}, {kind})"
        told = " RETURNING id, raw_content" if table is _document else ""
        parts.append(
            f"new_{kind} AS (INSERT INTO {table.name} ({', '.join(c.name for c in columns)})"
            f" SELECT {taken} FROM g, {given}{told})"
        )
    parts.append(
        "texts AS (INSERT INTO document_text (document_id, body, search)"
        " SELECT document_id, body, to_tsvector('simple', coalesce(search, raw_content))"
        " FROM g, json_to_recordset(texts) AS r (document_id text, body text, search text)"
        " JOIN new_document ON id = document_id)"
    )
    if not alone:
        return ", ".join(parts) + " SELECT checksum, key, refs FROM held"
    told = "b.status, storage_config, held.key, refs, EXISTS (SELECT FROM u), d.*"
    return ", ".join([*parts, _CHARGED]) + f" SELECT {told} FROM b LEFT JOIN held ON true LEFT JOIN d ON true"


def _type(kind: Any) -> str:
    """The type of a column's values as they are handed over."""
    for class_, name in ((DateTime, "timestamp"), (Double, "float8"), (BigInteger, "int8"), (Integer, "int")):
        if isinstance(kind, class_):
            return name
    return "text"
