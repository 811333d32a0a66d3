"""A tenant's tables for other programs: one SQLite file, or a directory of CSV or Parquet files.

For reading elsewhere, not for coming back: keys, indexes and defaults are left behind, and a type that the other format
does not know becomes text. ``tenant backup`` loses nothing.
"""

from __future__ import annotations

import importlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from tenantry.archive.rows import NULL, lines, postgres_kind, sqlite_kind, unescape, untagged
from tenantry.archive.sources import Source, reading
from tenantry.errors import ArchiveError, DeclarationError
from tenantry.migrations.catalog import Table, quote
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant

FORMATS = ("sqlite", "csv", "parquet")
BATCH = 10_000  # rows in memory at once
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Exported:
    """Where the tables went, and how many rows each has."""

    path: Path
    rows: dict[str, int]


def export(store: Store, tenant: Tenant, *, format: str, to: Path, version_table: str) -> Exported:
    """Write every table of the tenant as it stands at one moment.

    ``to``: a new file for ``sqlite``, a new directory for ``csv`` and ``parquet``.

    :raises ArchiveError: there is something of that name; it is never written over. :raises DeclarationError: the
    format is not known, or pyarrow is not installed.
    """
    if format not in FORMATS:
        raise DeclarationError(format, f"an export is one of {', '.join(FORMATS)}.")
    if to.exists():
        raise ArchiveError(str(to), "there is something of that name; it was not written over.")
    write = {"sqlite": _write_sqlite, "csv": _write_csv, "parquet": _write_parquet}[format]
    draft = to.with_name(f".{to.name}.partial")
    with reading(store, tenant, version_table) as source, faults(str(to)):
        to.parent.mkdir(parents=True, exist_ok=True)
        _discard(draft)
        try:
            rows = write(source, [table for table in source.shape.tables if not table.shadow], draft)
            os.rename(draft, to)
        finally:
            _discard(draft)
    return Exported(to, rows)


def _discard(draft: Path) -> None:
    if draft.is_dir():
        for file in draft.iterdir():
            file.unlink()
        draft.rmdir()
    else:
        draft.unlink(missing_ok=True)


def _rows(source: Source, table: Table) -> Iterator[Row]:
    """Rows as Python's values: numbers, text, bytes, dates."""
    if source.shape.dialect == "sqlite":
        for line in lines(source.rows(table)):
            yield tuple(untagged(field) for field in line.split(b"\t"))
        return
    readers = [_READERS.get(postgres_kind(column.base) or "", str) for column in table.columns]
    for line in lines(source.rows(table)):
        yield tuple(
            None if field == NULL else read(unescape(field).decode())
            for field, read in zip(line.split(b"\t"), readers, strict=True)
        )


def _moment(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # infinity, or before our era
        return text


def _day(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


_READERS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text == "t",
    "int": int,
    "float": float,
    "numeric": Decimal,
    "blob": lambda text: bytes.fromhex(text[2:]),
    "date": _day,
    "time": time.fromisoformat,
    "datetime": _moment,
    "instant": _moment,
}


# -- SQLite

_DECLARED = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "float": "FLOAT",
    "numeric": "NUMERIC",
    "blob": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "datetime": "DATETIME",
    "instant": "DATETIME",
    "json": "JSON",
}


def _write_sqlite(source: Source, tables: Sequence[Table], path: Path) -> dict[str, int]:
    on_sqlite = source.shape.dialect == "sqlite"
    found = {}
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        target.execute("BEGIN")
        for table in tables:
            declared = [
                f"{quote(c.name)} {c.type if on_sqlite else _DECLARED.get(postgres_kind(c.base) or '', 'TEXT')}"
                for c in table.columns
            ]
            target.execute(f"CREATE TABLE {quote(table.name)} ({', '.join(declared)})")
            insert = f"INSERT INTO {quote(table.name)} VALUES ({', '.join('?' * len(table.columns))})"
            rows, count = _rows(source, table), 0
            while batch := list(islice(rows, BATCH)):
                target.executemany(insert, (tuple(map(_plain, row)) for row in batch))
                count += len(batch)
            found[table.name] = count
        target.execute("COMMIT")
    return found


def _plain(value: Any) -> Any:
    """A value as SQLAlchemy keeps it in SQLite."""
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return naive.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.strftime("%H:%M:%S.%f")
    if isinstance(value, Decimal):
        # All its digits, as text, where a float would round it.
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    return value


# -- CSV


def _write_csv(source: Source, tables: Sequence[Table], path: Path) -> dict[str, int]:
    found = {}
    path.mkdir(mode=0o700)
    for table in tables:
        count = 0
        with _file(path, table, "csv").open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(_quoted(column.name) for column in table.columns) + "\r\n")
            for row in _rows(source, table):
                file.write(",".join(map(_cell, row)) + "\r\n")
                count += 1
        found[table.name] = count
    return found


def _cell(value: Any) -> str:
    """Text is always in quotes, so that nothing (NULL) differs from no characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# -- Parquet


def _write_parquet(source: Source, tables: Sequence[Table], path: Path) -> dict[str, int]:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise DeclarationError("parquet", "it needs pyarrow: pip install 'tenantry[parquet]'.") from error
    kinds = {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "blob": arrow.binary(),
        "date": arrow.date32(),
        "datetime": arrow.timestamp("us"),
        "instant": arrow.timestamp("us", tz="UTC"),
    }
    on_sqlite = source.shape.dialect == "sqlite"
    found = {}
    path.mkdir(mode=0o700)
    for table in tables:
        # SQLite's columns hold values of any type; what is declared is only meant.
        known = [
            None if on_sqlite and sqlite_kind(c.type) != "blob" else kinds.get(_kind(c.base, on_sqlite) or "")
            for c in table.columns
        ]
        schema = arrow.schema([(c.name, kind or arrow.string()) for c, kind in zip(table.columns, known, strict=True)])
        rows, count = _rows(source, table), 0
        with parquet.ParquetWriter(_file(path, table, "parquet"), schema, compression="zstd") as writer:
            while batch := list(islice(rows, BATCH)):
                columns = [
                    arrow.array([_fit(row[n], kind is None) for row in batch], type=schema.field(n).type)
                    for n, kind in enumerate(known)
                ]
                writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
                count += len(batch)
        found[table.name] = count
    return found


def _kind(base: str, on_sqlite: bool) -> str | None:
    return sqlite_kind(base) if on_sqlite else postgres_kind(base)


def _fit(value: Any, as_text: bool) -> Any:
    if value is None or not as_text:
        return value
    return value.isoformat() if isinstance(value, time) else value if isinstance(value, str) else str(value)


def _file(path: Path, table: Table, suffix: str) -> Path:
    return path / f"{_UNSAFE.sub('_', table.name)}.{suffix}"
