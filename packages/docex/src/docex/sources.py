"""What a document is made from: a file, bytes, or anything that can be read.

A file is opened so that nothing can make DocEX wait (a pipe without a writer) or take what is no file; one that
changes while it is read is refused, because half of the old and half of the new would be neither.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from docex.errors import DocumentRejected, FileMissing

Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
UNNAMED = "unnamed"


@dataclass(frozen=True)
class Source:
    """A content that can be read once, and what it is called."""

    reader: BinaryIO
    source: str  # the path that was given, or the name
    name: str  # the file's own name
    changed: float | None = None  # when the file was last changed, seconds since 1970


@contextmanager
def opened(given: Given, name: str | None) -> Iterator[Source]:
    """Open what was given. ``name`` says what bytes or a stream are called, and may call a file otherwise.

    :raises FileMissing: there is no such file. :raises DocumentRejected: it is not a plain file, cannot be read, or
        changed while it was read.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        called = storable(name or UNNAMED)
        yield Source(io.BytesIO(given), called, Path(called).name)
    elif hasattr(given, "read"):
        reader = cast("BinaryIO", given)
        found = getattr(reader, "name", None)
        called = storable(name or (found if isinstance(found, str) else UNNAMED))
        yield Source(cast("BinaryIO", _Checked(reader, called)), called, Path(called).name)
    else:
        yield from _file(os.fspath(given), name)


def storable(path: str) -> str:
    """A path as text that every database can hold: bytes that are not UTF-8 become escapes."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _file(path: str, name: str | None) -> Iterator[Source]:
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise FileMissing(path, "there is no such file.") from error
    except (OSError, ValueError) as error:
        raise DocumentRejected(path, f"{getattr(error, 'strerror', None) or error}.") from error
    try:
        before = os.fstat(descriptor)
        if stat.S_ISDIR(before.st_mode):
            raise DocumentRejected(path, "it is a directory, not a plain file. Use add_directory().")
        if not stat.S_ISREG(before.st_mode):
            raise DocumentRejected(path, "it is not a plain file.")
        yield Source(
            cast("BinaryIO", _File(descriptor, path, before)),
            storable(path),
            storable(name or os.path.basename(path)),
            before.st_mtime,
        )
    finally:
        os.close(descriptor)


class _File:
    """Reads a plain file to the end it had when it was opened."""

    def __init__(self, descriptor: int, path: str, before: os.stat_result) -> None:
        self._descriptor = descriptor
        self._path = path
        self._before = before
        self._left = before.st_size

    def read(self, size: int) -> bytes:
        """The next bytes. :raises DocumentRejected: the file cannot be read, or is not as it was."""
        try:
            # One byte more than there should be, which tells of a file that has grown.
            part = os.read(self._descriptor, min(size, max(self._left, 0) + 1))
        except OSError as error:
            raise DocumentRejected(self._path, f"{error.strerror}.") from error
        self._left -= len(part)
        if self._left < 0 or (not part and self._changed()):
            raise DocumentRejected(self._path, "it changed while it was read. Add it again when nobody writes to it.")
        return part

    def _changed(self) -> bool:
        now = os.fstat(self._descriptor)
        return self._left != 0 or now.st_mtime_ns != self._before.st_mtime_ns


class _Checked:
    """A stream that was given; one that gives text, or fails, is one clear error."""

    def __init__(self, reader: BinaryIO, name: str) -> None:
        self._reader = reader
        self._name = name

    def read(self, size: int) -> bytes:
        """The next bytes."""
        try:
            part = self._reader.read(size)
        except (OSError, ValueError) as error:
            raise DocumentRejected(self._name, f"it cannot be read: {error}.") from error
        if not isinstance(part, bytes):
            raise DocumentRejected(self._name, f"it gives {type(part).__name__}; open it in binary mode ('rb').")
        return part
