"""The file that holds one saved tenant: a tar of zstd members, written and read as a stream.

``tar`` and ``zstd`` open it without this package. The last member names every other with its size and SHA-256, so a
file that was cut, or in which a bit has changed, is told from a whole one by reading it once, before anything is made
of it. That proves that nothing was lost, not who wrote it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from tenantry.errors import ArchiveDamaged, ArchiveForeign

BLOCK = tarfile.BLOCKSIZE  # bytes; what tar pads to
CHUNK = 1 << 18  # bytes in memory at once
LEVEL = 3  # of zstd: a third of the size at several hundred MB a second
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
MAX_MANIFEST = 1 << 26  # bytes; far above that of a tenant of ten thousand tables
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,99}")


class Member:
    """One member while it is written: what goes in is hashed, counted and compressed."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = 0  # bytes before compression
        self.stored = 0  # bytes in the file
        self._digest = hashlib.sha256()
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()

    def write(self, data: bytes) -> int:
        """Add these bytes."""
        self.size += len(data)
        self._digest.update(data)
        self._store(self._compressor.compress(data))
        return len(data)

    def close(self) -> None:
        """Write what is left."""
        self._store(self._compressor.flush())

    def _store(self, data: bytes) -> None:
        self.stored += len(data)
        self._file.write(data)

    @property
    def sha256(self) -> str:
        """The hash of what went in."""
        return self._digest.hexdigest()


class Writer:
    """Writes members one after the other into an open file that can seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @contextmanager
    def member(self, name: str) -> Iterator[Member]:
        """A member that is complete at the end of the block."""
        start = self._file.tell()
        self._file.write(b"\0" * BLOCK)  # its size is known only later
        member = Member(self._file)
        yield member
        member.close()
        self._end(start, name, member.stored)

    def finish(self, manifest: bytes) -> None:
        """Write the manifest, its hash and the end of the file."""
        self._plain(MANIFEST, manifest)
        self._plain(SUMS, f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode())
        self._file.write(b"\0" * (2 * BLOCK))

    def _plain(self, name: str, content: bytes) -> None:
        start = self._file.tell()
        self._file.write(b"\0" * BLOCK)
        self._file.write(content)
        self._end(start, name, len(content))

    def _end(self, start: int, name: str, stored: int) -> None:
        self._file.write(b"\0" * (-stored % BLOCK))
        end = self._file.tell()
        info = tarfile.TarInfo(name)
        info.size, info.mode = stored, 0o600
        self._file.seek(start)
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end)


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A new file at that path, readable by its owner alone, that is there whole at the end of the block or not at all.

    :raises FileExistsError: there is one already; it is never written over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f".{path.name}.partial")
    descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    try:
        with os.fdopen(descriptor, "r+b") as file:
            yield Writer(file)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, it fails where a file is
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Reader:
    """A saved tenant's file, opened for reading. Its outline is checked at once, its content as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, tuple[int, int]] = {}
        self._file = path.open("rb")
        try:
            self._outline()
            self.manifest = self._checked_manifest()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def names(self) -> frozenset[str]:
        """The members beside the manifest and its hash."""
        return frozenset(self._members) - {MANIFEST, SUMS}

    def stored(self, name: str) -> int:
        """The bytes that a member takes in the file."""
        return self._members[name][1]

    def _outline(self) -> None:
        end = os.fstat(self._file.fileno()).st_size
        at = 0
        while True:
            self._file.seek(at)
            header = self._file.read(BLOCK)
            if header == b"\0" * BLOCK and at > 0:
                if self._file.read() != b"\0" * BLOCK:
                    raise ArchiveDamaged(str(self.path), "something other than its end stands at its end")
                return
            try:
                info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError) as error:
                if at == 0:
                    raise ArchiveForeign(str(self.path)) from error
                cut = at + BLOCK > end
                raise ArchiveDamaged(str(self.path), "it was cut" if cut else f"byte {at} begins no member") from error
            if not info.isreg() or not _NAME.fullmatch(info.name) or info.name in self._members:
                raise ArchiveForeign(str(self.path))
            self._members[info.name] = (at + BLOCK, info.size)
            after = at + BLOCK + info.size
            at = after + -info.size % BLOCK
            if at > end:
                raise ArchiveDamaged(str(self.path), "it was cut")
            self._file.seek(after)
            if self._file.read(at - after).strip(b"\0"):
                raise ArchiveDamaged(str(self.path), f"there are bytes between members, at {after}")

    def _checked_manifest(self) -> bytes:
        if MANIFEST not in self._members or SUMS not in self._members:
            raise ArchiveForeign(str(self.path))
        if max(self.stored(MANIFEST), self.stored(SUMS)) > MAX_MANIFEST:
            raise ArchiveForeign(str(self.path))
        content = self._raw(MANIFEST)
        if self._raw(SUMS) != f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode():
            raise ArchiveDamaged(str(self.path), f"{MANIFEST} is not what was written")
        return content

    def _raw(self, name: str) -> bytes:
        offset, size = self._members[name]
        self._file.seek(offset)
        return self._file.read(size)

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member's content, a piece at a time. :raises ArchiveDamaged: it cannot be decompressed."""
        offset, size = self._members[name]
        window = io.BufferedReader(_Window(self.path, offset, size), CHUNK)
        with window, zstandard.ZstdDecompressor().stream_reader(window) as stream:
            while True:
                try:
                    piece = stream.read(CHUNK)
                except zstandard.ZstdError as error:
                    raise ArchiveDamaged(str(self.path), f"{name} cannot be decompressed") from error
                if not piece:
                    return
                yield piece


class _Window(io.RawIOBase):
    """A part of a file as a file of its own, so that two members can be read at the same time."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)
        self._left = size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a RawIOBase is handed this
        """Read into the buffer, up to the end of the part."""
        wanted = min(len(buffer), self._left)
        count = self._file.readinto(buffer[:wanted]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        """Close the file below."""
        self._file.close()
        super().close()
