"""A directory of tab-separated tables: which files are there, and their rows with the numbers of their lines.

A file's header names its columns; columns that are not asked for are passed over, and an optional one that is missing
reads as empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from beak_lims.errors import TableRejected


@dataclass(frozen=True)
class Rejected:
    """A row that was left out, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Line:
    """A row of a file."""

    number: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")


@dataclass
class Source:
    """One file: where it lies, and what came of its rows."""

    path: Path
    read: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        self.rejected.append(Rejected(self.path.name, line, reason))

    def lines(self, required: Sequence[str]) -> Iterator[Line]:
        """The rows, in order; one whose fields do not fit the header is rejected here.

        :raises TableRejected: the file cannot be read, or lacks a required column.
        """
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise TableRejected(str(self.path), f"it is not UTF-8 text (byte {error.start}).") from None
        except OSError as error:
            raise TableRejected(str(self.path), f"it cannot be read ({error.strerror}).") from None
        # Only line feeds end a row: str.splitlines would also cut at characters that names may hold.
        first, *rest = text.split("\n")
        header = [name.strip() for name in first.rstrip("\r").split("\t")]
        missing = [column for column in required if column not in header]
        if missing:
            raise TableRejected(str(self.path), f"its first line names no column {', '.join(missing)}.")
        for number, row in enumerate(rest, 2):
            if not row.strip():
                continue
            self.read += 1
            fields = row.rstrip("\r").split("\t")
            if len(fields) != len(header):
                self.reject(number, f"it has {len(fields)} fields, and the header {len(header)}.")
                continue
            if "\0" in row:
                self.reject(number, "it holds a null character.")
                continue
            yield Line(number, dict(zip(header, map(str.strip, fields), strict=True)))


def find(directory: Path, patterns: Mapping[str, str]) -> dict[str, Path]:
    """The file of each table, of those that are there; ``patterns`` are regular expressions of whole file names.

    :raises TableRejected: the directory cannot be read, holds none of the tables, or one of them twice.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir() if entry.is_file())
    except OSError as error:
        raise TableRejected(str(directory), f"it cannot be read as a directory ({error.strerror}).") from None
    found: dict[str, Path] = {}
    for table, pattern in patterns.items():
        matching = [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)]
        if len(matching) > 1:
            raise TableRejected(str(directory), f"it holds {' and '.join(matching)}; leave the one that is to be read.")
        if matching:
            found[table] = directory / matching[0]
    if not found:
        raise TableRejected(str(directory), "it holds none of WHONET's tables (Breakpoints.txt, Organisms.txt, ...).")
    return found
