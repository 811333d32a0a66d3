"""What a storage that scripts use by themselves can do: contents under paths, read and written by name.

This is for a script's own files. What documents are made of is kept by :mod:`docex.storage.base`, once per content;
the storages here know nothing of it.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, BinaryIO

Content = bytes | str | Mapping[str, Any] | BinaryIO


class AbstractStorage(ABC):
    """Contents under paths such as ``invoices/2024/a.pdf``."""

    @abstractmethod
    def save(self, path: str, content: Content) -> None:
        """Keep a content under a path, whole or not at all; what was there is replaced. A mapping is kept as JSON."""

    @abstractmethod
    def load(self, path: str) -> BinaryIO | None:
        """The content of a path as a stream, or None; close it when done."""

    @abstractmethod
    def delete(self, path: str) -> bool:
        """Remove a content; tells whether there was one."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether something is kept under the path, or below it."""

    @abstractmethod
    def create_directory(self, path: str) -> bool:
        """Make a directory with those above it; one that is there is left as it is."""

    @abstractmethod
    def list_directory(self, path: str) -> list[str]:
        """The paths right below a path, in order; nothing if it is not there."""

    @abstractmethod
    def get_metadata(self, path: str) -> dict[str, Any]:
        """``size`` in bytes, ``modified_at`` and what :meth:`set_metadata` set. :raises FileNotFoundError: none."""

    @abstractmethod
    def set_metadata(self, path: str, metadata: Mapping[str, Any]) -> bool:
        """Keep values beside a content until it is replaced; tells whether there is such a content."""

    @abstractmethod
    def get_url(self, path: str, expires_in: int | None = None) -> str:
        """An address of a content, good for so many seconds where addresses expire."""

    @abstractmethod
    def copy(self, source_path: str, dest_path: str) -> bool:
        """Keep a content under another path too; tells whether there was one."""

    @abstractmethod
    def move(self, source_path: str, dest_path: str) -> bool:
        """Keep a content under another path instead; tells whether there was one."""

    @abstractmethod
    def store(self, source_path: str, document_path: str) -> str:
        """Keep a local file under a path, which is returned. :raises FileNotFoundError: there is no such file."""

    def retrieve(self, path: str) -> BinaryIO | None:
        """The same as :meth:`load`."""
        return self.load(path)

    def ensure_storage_exists(self) -> None:
        """Make what must be there before the first content is kept."""
        return None

    def cleanup(self, prefix: str) -> None:
        """Remove a path and everything below it."""
        for path in self.list_directory(prefix):
            self.cleanup(path)
        self.delete(prefix)


def stream_of(content: Content) -> BinaryIO:
    """A content as it is to be kept."""
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, Mapping):
        content = json.dumps(dict(content)).encode()
    if isinstance(content, bytes | bytearray | memoryview):
        return io.BytesIO(content)
    return content
