"""The details of documents as they are listed: without their text, and quick to read by thousands.

Most of them are read as one text, which is unpacked when somebody asks for what it holds: ten values take a driver and
a server much longer. SQLite has an index that holds the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Column, Connection, Select, Text, literal_column, select

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
_MANY = len(DETAILS)

Packed = tuple[str, str, str]  # the id, the name, and the others in one text
Row = Details | tuple[Any, ...]  # what a driver gives: a Packed, or the values of Details
_SEPARATOR = "\x1f"  # ASCII's own between the units of a record


def _shown(column: Column[Any], separator: str) -> str:
    # A missing value counts as two, so that nothing a row holds can be taken for something else.
    return f"coalesce(CAST({column} AS TEXT), {separator})" if column.nullable else str(column)


def _text(dialect: str) -> str:
    if dialect == "sqlite":  # as the index of revision 0004 has it: otherwise the rows are read
        return " || char(31) || ".join(_shown(column, "char(31)") for column in DETAILS[2:])
    return f"concat_ws(chr(31), {', '.join(_shown(column, 'chr(31)') for column in DETAILS[2:])})"


# The columns of a Packed, by dialect.
PACKED = {name: (*DETAILS[:2], literal_column(_text(name), Text)) for name in ("sqlite", "postgresql")}


def packs(connection: Connection) -> bool:
    """Whether the times in a text are as ISO 8601 has them; a server may be set to write them otherwise."""
    if connection.dialect.name == "sqlite":
        return True
    style: bytes | None = cast(Any, connection.connection.driver_connection).pgconn.parameter_status(b"DateStyle")
    return style is not None and style.startswith(b"ISO")


def unpacked(row: Packed) -> Sequence[Any] | None:
    """The values of a row in the order of :class:`Details`, size and times as texts; None if one is
    missing or holds a separator: :func:`by_columns` reads those.
    """
    values = [row[0], row[1], *row[2].split(_SEPARATOR)]
    return values if len(values) == _MANY else None


def by_columns(connection: Connection, row: Packed) -> Sequence[Any] | None:
    """The values of a row as they are now; None if the document was removed."""
    return connection.execute(select(*DETAILS).where(_columns.id == row[0])).one_or_none()


def read(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[Details]:
    """The documents of a query for :data:`DETAILS`."""
    return [
        Details._make((*values[:5], number(values[5]), *values[6:8], moment(values[8]), moment(values[9])))
        for values in _read(connection, query, Details._fields)
    ]


def read_some(connection: Connection, query: Select[*tuple[Any, ...]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The same with some of the details only; times as ISO 8601 text."""
    made: Mapping[str, Callable[[Any], Any]] = {"size": number, "created_at": _iso, "updated_at": _iso}
    shown = [(at, name, made.get(name)) for at, name in enumerate(names)]
    return [
        {name: values[at] if make is None else make(values[at]) for at, name, make in shown}
        for values in _read(connection, query, names)
    ]


def _read(connection: Connection, query: Select[*tuple[Any, ...]], names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """The named details of each document."""
    sqlite = connection.dialect.name == "sqlite"
    wanted = PACKED["sqlite"] if sqlite else [_columns[name] for name in names]
    result = connection.execute(query.with_only_columns(*wanted))
    try:
        # Straight from the driver: of thousands, SQLAlchemy's own rows take longer than reading them.
        rows = list(cast("Iterable[Any]", result.cursor))
    finally:
        result.close()
    if not sqlite:
        return rows
    pick = itemgetter(*map(Details._fields.index, names), 0)  # of one name alone it would make no tuple
    found = (unpacked(row) or by_columns(connection, row) for row in rows)
    return (pick(values) for values in found if values is not None)


def number(told: Any) -> Any:
    """A size as such; None where it is missing."""
    return told if told is None else int(told)


def moment(told: datetime | str) -> datetime:
    """A time as such, whether it was read so or as a text."""
    return told if isinstance(told, datetime) else datetime.fromisoformat(told)


def _iso(told: datetime | str) -> str:
    return moment(told).isoformat()
