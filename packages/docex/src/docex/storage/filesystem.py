"""Contents as files below one directory.

A content appears under its key whole or not at all: it is written under a temporary name, synced, and moved into
place by one rename. A key that exists is never overwritten. Keys that leave the directory, and symbolic links in it,
are refused. Nothing is touched before the first content is written: a basket that is only listed needs no directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from docex.errors import DocumentRejected, FileMissing, KeyRejected, StorageError

CHUNK = 1024 * 1024  # bytes read at a time
SAMPLE = 1024  # bytes from the start of a file, by which text is told from binary
TEMPORARY = ".incoming-"  # no key starts so

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_ALLOWED = "use A-Z, a-z, 0-9, '_', '.' and '-', not starting with a dot."


@dataclass(frozen=True)
class Staged:
    """A content that was received whole and synced, and that no key names yet."""

    file: Path
    size: int  # bytes
    checksum: str  # SHA-256, hexadecimal
    sample: bytes  # its first bytes


class FilesystemStorage:
    """The contents of one basket, in ``folder`` below ``base``. Making this object touches nothing.

    ``base`` may be a symbolic link that an administrator chose; below it every directory is DocEX's own, and a link
    there is refused.
    """

    def __init__(self, base: Path, folder: str) -> None:
        self._base = Path(os.path.abspath(base))
        self._folder = PurePosixPath(folder)
        if not folder or not all(_KEY.fullmatch(part) for part in self._folder.parts):
            raise KeyRejected(folder, _ALLOWED)
        self.root = self._base / self._folder

    def __repr__(self) -> str:
        return f"FilesystemStorage({str(self.root)!r})"

    @contextmanager
    def receive(self, source: Path) -> Iterator[Staged]:
        """Copy a file next to the contents. At the end of the block the copy is gone unless it was published.

        The checksum is that of the copy: a file that changes while it is read cannot give a content that differs from
        it.

        :raises FileMissing: there is no such file.
        :raises DocumentRejected: it is not a plain file, or cannot be read.
        :raises StorageError: the copy cannot be written.
        """
        with self._opened(source) as reader:
            staged = self._copy(reader, source)
        try:
            yield staged
        finally:
            with suppress(FileNotFoundError):
                staged.file.unlink()
                # The copy was the first file here, or others keep the directory.
                with suppress(OSError):
                    self.root.rmdir()

    def publish(self, staged: Staged, key: str) -> None:
        """Give a received content its key.

        :raises KeyRejected: the key is not allowed.
        :raises StorageError: the key is taken, or the directory cannot be written.
        """
        target = self._path(key)
        try:
            # Claims the name: a rename alone would silently replace what another process put there.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StorageError(target, f"{error.strerror}.") from error
        try:
            os.replace(staged.file, target)
            _sync(self.root)
        except OSError as error:
            with suppress(OSError):
                target.unlink()
            raise StorageError(target, f"{error.strerror}.") from error

    def load(self, key: str) -> bytes:
        """The content of a key. :raises FileNotFoundError: there is none."""
        path = self._path(key)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise KeyRejected(key, "it is a symbolic link.") from error
            raise StorageError(path, f"{error.strerror}.") from error

    def delete(self, key: str) -> None:
        """Remove a content; one that is not there is passed over."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(path, f"{error.strerror}.") from error

    def remove(self) -> None:
        """Remove the directory, with what broken transfers left. Files that were not put here by DocEX keep it in
        place.
        """
        for left in self.root.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                left.unlink()
        with suppress(OSError):
            self.root.rmdir()

    @contextmanager
    def _opened(self, source: Path) -> Iterator[int]:
        try:
            # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
            descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise FileMissing(source, "there is no such file.") from error
        except (OSError, ValueError) as error:
            raise DocumentRejected(source, f"{getattr(error, 'strerror', None) or error}.") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DocumentRejected(source, "it is not a plain file.")
            yield descriptor
        finally:
            os.close(descriptor)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(self.root, f"{error.strerror}.") from error
        self._refuse_links()

    def _copy(self, reader: int, source: Path) -> Staged:
        digest, size, sample = hashlib.sha256(), 0, b""
        file = self.root / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            with self._created(file) as writer:
                while chunk := os.read(reader, CHUNK):
                    sample = sample or chunk[:SAMPLE]
                    digest.update(chunk)
                    size += len(chunk)
                    writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
        except BaseException as error:
            with suppress(OSError):
                file.unlink()
            if isinstance(error, OSError):
                raise StorageError(self.root, f"{source} cannot be copied here: {error.strerror}.") from error
            raise
        return Staged(file, size, digest.hexdigest(), sample)

    def _created(self, file: Path) -> BinaryIO:
        self._make_root()
        try:
            return open(file, "xb")
        except FileNotFoundError:  # another process found the directory empty and removed it in between
            self._make_root()
            return open(file, "xb")

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise KeyRejected(key, _ALLOWED)
        self._refuse_links()
        return self.root / key

    def _refuse_links(self) -> None:
        directory = self._base
        for part in self._folder.parts:
            directory = directory / part
            if directory.is_symlink():
                raise KeyRejected(str(directory), "a symbolic link would lead out of the storage.")


def probe(directory: Path, *, keep: bool) -> None:
    """Try whether files can be written in a directory, which is made if need be.

    Without ``keep`` nothing is left of what this made. :raises StorageError: they cannot.
    """
    made = [] if keep else [parent for parent in (directory, *directory.parents) if not parent.exists()]
    file = directory / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"probe")
        file.unlink()
    except OSError as error:
        raise StorageError(directory, f"cannot be written: {error.strerror}.") from error
    finally:
        for parent in made:
            with suppress(OSError):  # another process may have begun to use it
                parent.rmdir()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
