"""Contents as files below one directory, each once, and readable paths to them.

A content lies at ``content/ab/abcd...``, named by its SHA-256; ``{basket}_{id}/{name}_{id}.pdf`` is a hard link to it,
made for people: DocEX itself reads by checksum. A file appears whole or not at all: it is written under a temporary
name and gets its own in one step. Keys that leave the directory, and symbolic links in it, are refused. Nothing
is touched before the first content is written.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

from docex.errors import KeyRejected, StorageError
from docex.storage.base import CHUNK, Staged, StoredContent, staged

CONTENT = "content"  # the folder of the contents; a basket's folder ends with its id, so none is called so
TEMPORARY = ".incoming-"  # no key starts so
FEW = 4  # up to so many files are synced one by one

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_ALLOWED = "use A-Z, a-z, 0-9, '_', '.' and '-', not starting with a dot."
# A file system that has no hard links, or no more of them for this file.
_NO_LINK = {errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV}


class FilesystemStorage:
    """The contents of one tenant, in ``folder`` below ``base``. Making this object touches nothing.

    ``base`` may be a symbolic link that an administrator chose; below it every directory is DocEX's own, and a link
    there is refused.
    """

    kind = "filesystem"
    links_paths = True

    def __init__(self, base: Path, folder: str | None, place: str = "filesystem") -> None:
        self.place = place
        self._base = os.path.abspath(base)
        parts = _parts(folder) if folder is not None else ()
        self.root = Path(self._base, *parts)
        self._root = str(self.root)
        self._above = [os.path.join(self._base, *parts[: index + 1]) for index in range(len(parts))]

    def __repr__(self) -> str:
        return f"FilesystemStorage({self._root!r})"

    def receive(self, reader: BinaryIO, name: str) -> AbstractContextManager[Staged]:
        """See :class:`~docex.storage.base.Storage`."""
        return staged(reader, name, self._root, self._temporary)

    def content_key(self, checksum: str, readable: str) -> str:
        """See :class:`~docex.storage.base.Storage`."""
        return f"{CONTENT}/{checksum[:2]}/{checksum}"

    def publish(self, contents: Sequence[tuple[Staged, str]], *, durable: bool = True) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        one_by_one = durable and len(contents) <= FEW
        try:
            for content, key in contents:
                self._place(content, self._path(key), sync=one_by_one, durable=durable)
            if durable and not one_by_one:
                _sync_all([self._path(key) for _, key in contents])
        except OSError as error:
            raise StorageError(self._root, f"a content cannot be kept: {error.strerror}.") from error

    def exists(self, key: str) -> bool:
        """See :class:`~docex.storage.base.Storage`. Links on the way are refused by what reads or writes."""
        return os.path.isfile("/".join((self._root, *_parts(key))))

    def secure(self, key: str, size: int) -> bool:
        """See :class:`~docex.storage.base.Storage`."""
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _refused(key, path, error) from error
        try:
            if os.fstat(descriptor).st_size != size:
                return False
            os.fsync(descriptor)
        except OSError as error:
            raise StorageError(path, f"{error.strerror}.") from error
        finally:
            os.close(descriptor)
        return True

    def open(self, key: str, start: int = 0, size: int | None = None) -> BinaryIO:
        """See :class:`~docex.storage.base.Storage`."""
        path = self._path(key)
        try:
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _refused(key, path, error) from error
        if size is not None and os.fstat(file.fileno()).st_size != size:
            file.close()
            raise FileNotFoundError(errno.ENOENT, "the file is not whole", path)
        file.seek(start)
        return file

    def delete(self, key: str) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        _remove(self._path(key))

    def link(self, key: str, readable: str) -> bool:
        """See :class:`~docex.storage.base.Storage`."""
        target = self._path(readable)
        try:
            try:
                os.link(self._path(key), target)
            except FileNotFoundError:
                # Another process may take the folder away again while nothing is in it.
                for _ in range(3):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with suppress(FileNotFoundError):
                        os.link(self._path(key), target)
                        return True
                raise
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            if isinstance(error, FileNotFoundError) and not os.path.lexists(self._path(key)):
                raise  # the content, and not the folder
            raise StorageError(target, f"{error.strerror}.") from error
        return True

    def unlink(self, readable: str) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        _remove(self._path(readable))

    def contents(self) -> Iterator[StoredContent]:
        """See :class:`~docex.storage.base.Storage`."""
        for folder in _scan(os.path.join(self._root, CONTENT)):
            for entry in _scan(folder.path) if folder.is_dir(follow_symlinks=False) else ():
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield StoredContent(f"{CONTENT}/{folder.name}/{entry.name}", found.st_size, found.st_mtime)

    def links(self, folder: str) -> Iterator[str]:
        """See :class:`~docex.storage.base.Storage`."""
        for entry in _scan(self._path(folder)):
            # Under another name people may have put something there.
            if _KEY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield f"{folder}/{entry.name}"

    def sweep(self, older_than: float) -> list[str]:
        """See :class:`~docex.storage.base.Storage`."""
        before, swept = time.time() - older_than, []
        content = os.path.join(self._root, CONTENT)
        folders = [content, *(entry.path for entry in _scan(content) if entry.is_dir(follow_symlinks=False))]
        for entry in (entry for folder in folders for entry in _scan(folder) if entry.name.startswith(TEMPORARY)):
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)
                    swept.append(entry.path)
        return swept

    def location(self, folder: str) -> str:
        """See :class:`~docex.storage.base.Storage`."""
        return os.path.join(self._root, *_parts(folder))

    def remove_folder(self, folder: str) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        with suppress(OSError):  # it holds files that were not put there by DocEX, or was never made
            os.rmdir(self._path(folder))

    def url(self, key: str, expires_in: int) -> str:
        """:raises StorageError: files have no address."""
        raise StorageError(self._root, "files have no address that others could read from; use a storage of type 's3'.")

    def _temporary(self) -> Path:
        folder = os.path.join(self._root, CONTENT)
        self._make(folder, durable=True)
        return Path(folder, f"{TEMPORARY}{secrets.token_hex(8)}")

    def _place(self, content: Staged, target: str, *, sync: bool, durable: bool) -> None:
        if os.path.lexists(target) and _holds(target, content):
            if sync:
                _sync(target)
            return
        folder = os.path.dirname(target)
        temporary = os.path.join(folder, f"{TEMPORARY}{secrets.token_hex(8)}")
        try:
            try:
                descriptor = self._copied(content, temporary)
            except FileNotFoundError:
                self._make(folder, durable=durable)
                descriptor = self._copied(content, temporary)
            try:
                self._name(temporary, target, content)
                if sync:
                    # After the file has its name: on Linux's journaling file systems this makes the name safe as well.
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    @staticmethod
    def _name(temporary: str, target: str, content: Staged) -> None:
        """Not by a rename while another may be linking to the same content: that would pull it from under the link."""
        try:
            os.link(temporary, target)
        except FileExistsError:
            if not _holds(target, content):  # the rest of a write that a power failure broke
                os.rename(temporary, target)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            os.rename(temporary, target)

    @staticmethod
    def _copied(content: Staged, temporary: str) -> int:
        if content.file is not None:
            try:
                os.link(content.file, temporary)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                shutil.copyfile(content.file, temporary)
            return os.open(temporary, os.O_RDWR)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            rest = memoryview(content.data or b"")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make(self, folder: str, *, durable: bool) -> None:
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        try:
            for directory in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(directory)
                if durable:
                    _sync(os.path.dirname(directory))
        except OSError as error:
            raise StorageError(self._root, f"{error.strerror}.") from error
        self._refuse_links(os.path.join(self._root, CONTENT))

    def _path(self, key: str) -> str:
        *folders, name = _parts(key)
        path, below = self._root, []
        for folder in folders:
            path = f"{path}/{folder}"
            below.append(path)
        self._refuse_links(*below)
        return f"{path}/{name}"

    def _refuse_links(self, *below: str) -> None:
        for directory in (*self._above, *below):
            if os.path.islink(directory):
                raise KeyRejected(directory, "a symbolic link would lead out of the storage.")


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


def _refused(key: str, path: str, error: OSError) -> KeyRejected | StorageError:
    if error.errno == errno.ELOOP:
        return KeyRejected(key, "it is a symbolic link.")
    return StorageError(path, f"{error.strerror}.")


def _parts(key: str) -> tuple[str, ...]:
    parts = tuple(key.split("/"))
    if not all(_KEY.fullmatch(part) for part in parts):
        raise KeyRejected(key, _ALLOWED)
    return parts


def _scan(directory: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        yield from entries


def _holds(path: str, content: Staged) -> bool:
    """Whether the file has exactly this content."""
    try:
        with open(path, "rb") as present, content.open() as wanted:
            if os.fstat(present.fileno()).st_size != content.size:
                return False
            while part := wanted.read(CHUNK):
                if present.read(len(part)) != part:
                    return False
            return True
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(path, f"{error.strerror}.") from error


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(paths: Sequence[str]) -> None:
    """Many files at once: Linux can write a whole file system out, which for many small files is much quicker."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        for path in paths:
            _sync(path)
        return
    descriptor = os.open(paths[0], os.O_RDONLY)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
