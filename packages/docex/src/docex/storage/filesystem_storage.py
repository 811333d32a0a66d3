"""Files below one directory, for scripts that keep something of their own beside their documents.

A file appears whole or not at all. Paths that leave the directory, and symbolic links in it, are refused.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from docex.errors import FileMissing, KeyRejected, StorageError
from docex.storage.abstract_storage import AbstractStorage, Content, stream_of

TEMPORARY = ".incoming-"  # what no path below the directory may begin with
BESIDE = ".metadata-"  # before the name of a file: the values that were set for it
_ALLOWED = "use names separated by '/', none of them empty, '.', '..' or beginning with '.incoming-' or '.metadata-'."


class FileSystemStorage(AbstractStorage):
    """Contents as files; ``config``: ``{"path": directory}``, or ``{"filesystem": {"path": directory}}``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Touches nothing yet."""
        given = config.get("path") or config.get("filesystem", {}).get("path") or "storage"
        self.config = dict(config)
        self.base_path = Path(given).expanduser().absolute()

    def get_path(self, key: str) -> Path:
        """Where the file of a path is, or would be. :raises KeyRejected: the path leaves the directory."""
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part or part.startswith((TEMPORARY, BESIDE)) for part in parts):
            raise KeyRejected(key, _ALLOWED)
        path = self.base_path
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise KeyRejected(key, f"{path} is a symbolic link, which could lead out of the storage.")
        return path

    def save(self, path: str, content: Content) -> None:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. :raises StorageError: it cannot be written."""
        target = self.get_path(path)
        temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                shutil.copyfileobj(stream_of(content), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            self._beside(target).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(target, f"it cannot be written: {error.strerror or error}.") from error
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, path: str) -> BinaryIO | None:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        try:
            return os.fdopen(os.open(self.get_path(path), os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except (FileNotFoundError, IsADirectoryError):
            return None

    def delete(self, path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. A directory goes when it is empty."""
        target = self.get_path(path)
        try:
            target.rmdir() if target.is_dir() else target.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(target, f"it cannot be removed: {error.strerror}.") from error
        self._beside(target).unlink(missing_ok=True)
        return True

    def exists(self, path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        return self.get_path(path).exists()

    def create_directory(self, path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        self.get_path(path).mkdir(parents=True, exist_ok=True)
        return True

    def list_directory(self, path: str) -> list[str]:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. ``""`` is the storage itself."""
        directory = self.get_path(path) if path else self.base_path
        if not directory.is_dir():
            return []
        shown = [found for found in directory.iterdir() if not found.name.startswith((TEMPORARY, BESIDE))]
        return sorted(found.relative_to(self.base_path).as_posix() for found in shown)

    def get_metadata(self, path: str) -> dict[str, Any]:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`, and what kind it is."""
        target = self.get_path(path)
        try:
            found = target.stat()
        except FileNotFoundError as error:
            raise FileMissing(path, "there is no such file in the storage.") from error
        own: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            own = json.loads(self._beside(target).read_text())
        return {
            **own,
            "size": found.st_size,
            "created_at": datetime.fromtimestamp(found.st_ctime, UTC),
            "modified_at": datetime.fromtimestamp(found.st_mtime, UTC),
            "is_file": target.is_file(),
            "is_dir": target.is_dir(),
        }

    def set_metadata(self, path: str, metadata: Mapping[str, Any]) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. Kept in a hidden file beside it."""
        target = self.get_path(path)
        if not target.is_file():
            return False
        self._beside(target).write_text(json.dumps(dict(metadata)))
        return True

    def get_url(self, path: str, expires_in: int | None = None) -> str:
        """The ``file:`` address of a file, which never expires."""
        return self.get_path(path).as_uri()

    def copy(self, source_path: str, dest_path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        file = self.load(source_path)
        if file is None:
            return False
        with file:
            self.save(dest_path, file)
        return True

    def move(self, source_path: str, dest_path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        source, target = self.get_path(source_path), self.get_path(dest_path)
        if not source.is_file():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        with suppress(FileNotFoundError):
            self._beside(source).replace(self._beside(target))
        return True

    def store(self, source_path: str, document_path: str) -> str:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        with open(source_path, "rb") as file:
            self.save(document_path, file)
        return document_path

    def ensure_storage_exists(self) -> None:
        """Make the directory."""
        self.base_path.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def _beside(path: Path) -> Path:
        return path.with_name(f"{BESIDE}{path.name}")
