"""What a storage of contents promises, and how a content is received before it has a name.

A storage keeps bytes under keys for one tenant. It knows nothing of documents: which key belongs to what is said by
the table ``content``. A key that is there holds a whole content, whatever was killed while it was written.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from docex.errors import StorageError

CHUNK = 1024 * 1024  # bytes read at a time; what is not longer stays in memory
SAMPLE = 1024  # bytes from the start of a content, by which text is told from binary


@dataclass(frozen=True)
class Staged:
    """A content that was received whole and that no key names yet: in memory, or in a temporary file."""

    size: int  # bytes
    checksum: str  # SHA-256, hexadecimal
    sample: bytes  # its first bytes
    data: bytes | None = None
    file: Path | None = None

    def open(self) -> BinaryIO:
        """The content from its start."""
        return io.BytesIO(self.data or b"") if self.file is None else open(self.file, "rb")


@dataclass(frozen=True)
class StoredContent:
    """A content that was found in a storage."""

    key: str
    size: int  # bytes
    modified: float  # seconds since 1970


class Storage(Protocol):
    """Where the contents of one tenant's baskets are kept."""

    kind: str  # "filesystem", "s3": what a basket's storage_config names as its type
    place: str  # tells this storage from every other of the tenant; stable, at most 255 characters, no secret in it

    @property
    def links_paths(self) -> bool:
        """Whether readable paths stand beside the contents."""

    def receive(self, reader: BinaryIO, name: str) -> AbstractContextManager[Staged]:
        """Read a content to its end. What was received is gone at the end of the block, published or not.

        :raises StorageError: it cannot be kept here; ``name`` says in the text what was being received.
        """

    def content_key(self, checksum: str, readable: str) -> str:
        """Under which key a content that is not there yet is to be kept. ``readable`` names it for people."""

    def publish(self, contents: Sequence[tuple[Staged, str]], *, durable: bool = True) -> None:
        """Keep contents under keys, each whole or not at all, and safe from a power failure when this returns.

        A key that is taken holds the same content, or the rest of a broken write: it is replaced. ``durable`` is False
        for contents that can be had from elsewhere after a power failure; they need not be safe from one yet.
        """

    def exists(self, key: str) -> bool:
        """Whether there is a content under the key."""

    def secure(self, key: str, size: int) -> bool:
        """Make a content that is there safe from a power failure; False if there is none of so many bytes."""

    def open(self, key: str, start: int = 0, size: int | None = None) -> BinaryIO:
        """A content from byte ``start`` on.

        :raises FileNotFoundError: there is none, or not one of ``size`` bytes: what a power failure can leave.
        """

    def delete(self, key: str) -> None:
        """Remove a content; one that is not there is passed over."""

    def link(self, key: str, readable: str) -> bool:
        """Let people find a content under a readable path too; False where that cannot be.

        :raises FileExistsError: the path is taken. :raises FileNotFoundError: there is no such content.
        """

    def unlink(self, readable: str) -> None:
        """Take a readable path back; one that is not there is passed over."""

    def contents(self) -> Iterator[StoredContent]:
        """Everything that is kept here."""

    def links(self, folder: str) -> Iterator[str]:
        """The readable paths in a basket's folder."""

    def sweep(self, older_than: float) -> list[str]:
        """Remove what broken writes left that are older than so many seconds; tells what was removed."""

    def location(self, folder: str) -> str:
        """Where people find a basket's folder."""

    def remove_folder(self, folder: str) -> None:
        """Remove a basket's folder if nothing is in it any more."""

    def url(self, key: str, expires_in: int) -> str:
        """An address from which anyone may read the content for so many seconds.

        :raises StorageError: this kind of storage has none.
        """


@contextmanager
def staged(reader: BinaryIO, name: str, where: object, temporary: Callable[[], Path]) -> Iterator[Staged]:
    """Receive a content: a small one into memory, a larger one into the file that ``temporary`` names.

    ``where`` stands in the text of an error. The file is gone at the end of the block.
    """
    first = _read_full(reader, CHUNK)
    digest = hashlib.sha256(first)
    following = reader.read(CHUNK) if len(first) == CHUNK else b""
    if not following:
        yield Staged(len(first), digest.hexdigest(), first[:SAMPLE], data=first)
        return
    file = temporary()
    size = len(first)
    try:
        try:
            with open(file, "xb") as writer:
                writer.write(first)
                while following:
                    digest.update(following)
                    size += len(following)
                    writer.write(following)
                    following = reader.read(CHUNK)
        except OSError as error:
            raise StorageError(where, f"{name} cannot be copied here: {error.strerror}.") from error
        yield Staged(size, digest.hexdigest(), first[:SAMPLE], file=file)
    finally:
        with suppress(OSError):
            os.unlink(file)


def _read_full(reader: BinaryIO, size: int) -> bytes:
    """So many bytes, or all there are: a pipe or socket gives fewer at a time."""
    parts = [reader.read(size)]
    got = len(parts[0])
    while got < size and parts[-1]:
        parts.append(reader.read(size - got))
        got += len(parts[-1])
    return parts[0] if len(parts) <= 2 and not parts[-1] else b"".join(parts)


def linked(storage: Storage, key: str, readable: str, publish: Callable[[], object]) -> None:
    """Link a content that was stored or found just before. ``publish`` stores it again: whoever removes its last holder
    may have taken it away since.

    :raises FileExistsError: the path is taken. :raises StorageError: it is taken away again and again.
    """
    for last in (False, False, False, True):
        try:
            storage.link(key, readable)
            return
        except FileNotFoundError as error:
            if last:
                raise StorageError(key, "it was removed again and again while it was added.") from error
            publish()
