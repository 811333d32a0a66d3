"""Rows as lines of bytes, and the values of one database as those of the other.

A line of PostgreSQL is what COPY writes in its text format; a line of SQLite is of the same form, with a letter in
front of every value for its storage class, because a column of SQLite holds values of any. Nothing is converted
silently: a value that has no equal is an error that names its table and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from tenantry.errors import ArchiveUnfit

Value = int | float | str | bytes | None
Convert = Callable[[Any], Any]

_ESCAPED = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\b": b"\\b", b"\f": b"\\f", b"\v": b"\\v"}
_PLAIN = {escape[1:]: plain for plain, escape in _ESCAPED.items()}
_TO_ESCAPE = re.compile(rb"[\\\t\n\r\b\f\v]")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LENGTH = re.compile(r"\(.*?\)")
NULL = b"\\N"


def escape(data: bytes) -> bytes:
    """Bytes as they stand between two tabs of a line."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0]], data)


def unescape(data: bytes) -> bytes:
    """The bytes that :func:`escape`, or PostgreSQL's COPY, made into this."""
    return _ESCAPE.sub(lambda found: _PLAIN.get(found[1], found[1]), data) if b"\\" in data else data


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, without their ends, from pieces cut anywhere."""
    left = b""
    for chunk in chunks:
        pieces = (left + chunk).split(b"\n")
        left = pieces.pop()
        yield from pieces
    if left:
        yield left


def batched(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of about that size."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    if held:
        yield b"".join(held)


# -- SQLite's own values


def tagged(value: Value) -> bytes:
    """A value of SQLite with its storage class; text is given as the bytes that are stored, a blob as a memoryview."""
    if value is None:
        return NULL
    if isinstance(value, int):
        return b"i%d" % value
    if isinstance(value, float):
        return b"r" + repr(value).encode()
    if isinstance(value, str):
        return b"t" + escape(value.encode())
    return b"b" + value.hex().encode()


def untagged(field: bytes) -> Value:
    """The value that :func:`tagged` was given."""
    if field == NULL:
        return None
    kind, rest = field[:1], field[1:]
    if kind == b"i":
        return int(rest)
    if kind == b"r":
        return float(rest)
    if kind == b"t":
        return unescape(rest).decode()
    if kind == b"b":
        return bytes.fromhex(rest.decode())
    raise ValueError(f"no value begins with {kind!r}")


# -- what a column means


def postgres_kind(base: str) -> str | None:
    """What values of a PostgreSQL type are; None when SQLite has no equal."""
    return _POSTGRES_KINDS.get(_LENGTH.sub("", base).strip())


_POSTGRES_KINDS = {
    "boolean": "bool",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "real": "float",
    "double precision": "float",
    "numeric": "numeric",
    "character varying": "text",
    "character": "text",
    "text": "text",
    "name": "text",
    "citext": "text",
    "bytea": "blob",
    "date": "date",
    "time without time zone": "time",
    "timestamp without time zone": "datetime",
    "timestamp with time zone": "instant",
    "uuid": "uuid",
    "json": "json",
    "jsonb": "json",
}


def sqlite_kind(declared: str) -> str:
    """What SQLAlchemy keeps in a column that was declared so."""
    word = _LENGTH.sub("", declared).strip().upper()
    if word.startswith(("DATETIME", "TIMESTAMP")):
        return "datetime"
    for start, kind in (("DATE", "date"), ("TIME", "time"), ("JSON", "json"), ("BOOL", "bool")):
        if word.startswith(start):
            return kind
    for part, kind in (("INT", "int"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "blob")):
        if part in word:
            return kind
    if any(part in word for part in ("REAL", "FLOA", "DOUB")):
        return "float"
    return "numeric" if word else "any"


# -- one way: PostgreSQL's text into SQLite


def to_sqlite(base: str, declared: str) -> Convert | None:
    """How a value of this PostgreSQL type, as COPY's text, is kept in that column; None when it does not fit."""
    source, target = postgres_kind(base), sqlite_kind(declared)
    if source == "uuid" and target == "text":
        short = "32" in declared
        return lambda text: text.replace("-", "") if short else text
    return _TO_SQLITE.get((source, target))


def _exact(text: str) -> float | int:
    value = Decimal(text)
    if value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    found = float(value)
    if Decimal(repr(found)) != value:
        raise ValueError("SQLite keeps 15 digits of it")
    return found


def _float(text: str) -> float:
    found = float(text)
    if found != found:
        raise ValueError("SQLite knows no NaN")
    return found


def _stamp(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0")


def _instant(text: str) -> str:
    return _stamp(datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat())


_TO_SQLITE: dict[tuple[str | None, str], Convert] = {
    ("bool", "bool"): lambda text: int(text == "t"),
    ("bool", "int"): lambda text: int(text == "t"),
    ("int", "int"): int,
    ("int", "numeric"): int,
    ("float", "float"): _float,
    ("float", "numeric"): _float,
    ("numeric", "numeric"): _exact,
    ("numeric", "float"): lambda text: float(_exact(text)),
    ("text", "text"): str,
    ("blob", "blob"): lambda text: bytes.fromhex(text[2:]),
    ("date", "date"): lambda text: date.fromisoformat(text).isoformat(),
    ("time", "time"): lambda text: time.fromisoformat(text).strftime("%H:%M:%S.%f"),
    ("datetime", "datetime"): _stamp,
    ("instant", "datetime"): _instant,
    ("json", "json"): str,
    ("json", "text"): str,
}


# -- the other way: SQLite's values into COPY's text


def to_postgres(declared: str, base: str) -> Convert | None:
    """How a value of this SQLite column is written for COPY into that type; None when it does not fit."""
    source, target = sqlite_kind(declared), postgres_kind(base)
    if target == "uuid" and source == "text":
        return _uuid
    return _TO_POSTGRES.get((source, target))


def _of(kind: type[Any] | tuple[type[Any], ...], write: Convert) -> Convert:
    def convert(value: Any) -> str:
        if not isinstance(value, kind):
            raise ValueError(f"it is kept as {type(value).__name__}")
        return str(write(value))

    return convert


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("PostgreSQL's text holds no NUL")
    return value


def _truth(value: int) -> str:
    if value not in (0, 1):
        raise ValueError("it is neither 0 nor 1")
    return "t" if value else "f"


def _digits(value: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F-]{36}", value) is None:
        raise ValueError("it is no UUID")
    return value


_uuid = _of(str, _digits)
# A document that is a number alone is kept as one by a column declared JSON, which to SQLite is a numeric one.
_json = _of((str, int, float), lambda value: _text(value) if isinstance(value, str) else repr(value))
_TO_POSTGRES: dict[tuple[str, str | None], Convert] = {
    ("bool", "bool"): _of(int, _truth),
    ("int", "bool"): _of(int, _truth),
    ("int", "int"): _of(int, str),
    ("numeric", "int"): _of(int, str),
    ("float", "float"): _of((int, float), repr),
    ("numeric", "float"): _of((int, float), repr),
    ("numeric", "numeric"): _of((int, float), repr),
    ("float", "numeric"): _of((int, float), repr),
    ("text", "text"): _of(str, _text),
    ("blob", "blob"): _of(bytes, lambda value: "\\x" + value.hex()),
    ("date", "date"): _of(str, lambda value: date.fromisoformat(value).isoformat()),
    ("time", "time"): _of(str, lambda value: time.fromisoformat(value).isoformat()),
    ("datetime", "datetime"): _of(str, lambda value: datetime.fromisoformat(value).isoformat(" ")),
    ("datetime", "instant"): _of(str, lambda value: datetime.fromisoformat(value).isoformat(" ") + "+00"),
    ("json", "json"): _json,
    ("text", "json"): _json,
}


class Converter:
    """Turns the lines of one table into those of the other database, naming what does not fit."""

    def __init__(self, table: str, columns: Iterable[tuple[str, Convert]]) -> None:
        self._table = table
        self._columns = list(columns)

    def values(self, chunks: Iterable[bytes]) -> Iterator[tuple[Value, ...]]:
        """PostgreSQL's lines as SQLite's rows."""
        for line in lines(chunks):
            fields = line.split(b"\t")
            yield tuple(
                None if field == NULL else self._turn(name, convert, unescape(field).decode())
                for field, (name, convert) in zip(fields, self._columns, strict=True)
            )

    def copied(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """SQLite's lines as PostgreSQL's."""
        for line in lines(chunks):
            fields = line.split(b"\t")
            turned = [
                NULL if field == NULL else escape(self._turn(name, convert, untagged(field)).encode())
                for field, (name, convert) in zip(fields, self._columns, strict=True)
            ]
            yield b"\t".join(turned) + b"\n"

    def _turn(self, name: str, convert: Convert, value: Any) -> Any:
        try:
            return convert(value)
        except (ValueError, ArithmeticError) as error:
            # Not the value itself, which may be a secret.
            raise ArchiveUnfit(self._table, [f"a value of {self._table}.{name}: {error}"]) from None
