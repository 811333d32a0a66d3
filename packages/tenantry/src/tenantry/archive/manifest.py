"""What a saved tenant's file says of itself: whose it is, how its schema is made, and what each member holds.

Plain values that are kept as JSON. A manifest that cannot be read in full is refused, never guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tenantry.errors import ArchiveForeign

FORMAT = "tenantry tenant"
VERSION = 1  # of the format; a reader refuses a newer one


@dataclass(frozen=True)
class TableEntry:
    """One table's rows: a line each, in the text format of PostgreSQL's COPY or in that of SQLite's values."""

    name: str
    member: str
    columns: tuple[tuple[str, str, str], ...]  # name, type, and what the type is made of
    rows: int
    size: int  # bytes before compression
    sha256: str  # of those bytes
    shadow: bool = False


@dataclass(frozen=True)
class SequenceEntry:
    """Where a sequence stood, and the column that it feeds."""

    name: str
    table: str | None
    column: str | None
    value: int
    called: bool  # whether the value was given out already


@dataclass(frozen=True)
class FilesEntry:
    """The files that an application keeps beside the tables: one tar."""

    provider: str
    member: str
    files: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The whole of it."""

    slug: str
    name: str
    status: str
    admin_email: str | None
    attributes: Mapping[str, Any]
    dialect: str  # SQLAlchemy's name of the database
    server: str  # its version
    made_at: str  # UTC, ISO 8601
    made_by: str
    revision: str | None
    version_table: str
    fingerprint: str
    objects: Mapping[str, str]  # each by its kind and name, with a short hash: what the fingerprint is of
    before_rows: tuple[str, ...]  # statements that make the schema
    after_rows: tuple[str, ...]
    tables: tuple[TableEntry, ...]
    sequences: tuple[SequenceEntry, ...] = ()
    files: tuple[FilesEntry, ...] = ()
    format: str = field(default=FORMAT)
    version: int = field(default=VERSION)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes, path: str) -> Manifest:
        """What :meth:`to_bytes` gave. :raises ArchiveForeign: it is of another program or of a newer release."""
        try:
            told = json.loads(content)
            if told["format"] != FORMAT or told["version"] > VERSION:
                raise ArchiveForeign(path)
            told["tables"] = tuple(
                TableEntry(**{**entry, "columns": tuple(tuple(column) for column in entry["columns"])})
                for entry in told["tables"]
            )
            told["sequences"] = tuple(SequenceEntry(**entry) for entry in told["sequences"])
            told["files"] = tuple(FilesEntry(**entry) for entry in told["files"])
            told["before_rows"], told["after_rows"] = tuple(told["before_rows"]), tuple(told["after_rows"])
            return cls(**told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArchiveForeign(path) from error
