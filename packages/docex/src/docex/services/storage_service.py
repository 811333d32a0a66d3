"""Files of a script's own in a storage of its configuration; documents are kept by their baskets, not through this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from docex.errors import FileMissing
from docex.storage.filesystem_storage import FileSystemStorage
from docex.storage.storage_factory import StorageFactory


class StorageService:
    """Keeps local files under paths of one storage."""

    def __init__(self, storage_config: Mapping[str, Any]) -> None:
        """``storage_config``: what :class:`~docex.storage.storage_factory.StorageFactory` makes a storage of."""
        self.storage = StorageFactory.create_storage(storage_config)

    def store_document(self, source_path: str, full_document_path: str) -> str:
        """Keep a local file under a path, which is returned. :raises FileNotFoundError: there is no such file."""
        return self.storage.store(source_path, full_document_path)

    def retrieve_document(self, full_document_path: str) -> BinaryIO:
        """The content of a path as a stream. :raises FileMissing: there is none; it is a FileNotFoundError."""
        found = self.storage.retrieve(full_document_path)
        if found is None:
            raise FileMissing(full_document_path, "there is no such content in the storage.")
        return found

    def delete_document(self, full_document_path: str) -> None:
        """Remove a content; one that is not there is passed over."""
        self.storage.delete(full_document_path)

    def get_storage_path(self) -> str:
        """Where the storage is."""
        return str(self.storage.base_path) if isinstance(self.storage, FileSystemStorage) else repr(self.storage)

    def ensure_storage_exists(self) -> None:
        """Make what must be there before the first content is kept."""
        self.storage.ensure_storage_exists()

    def cleanup(self, prefix: str) -> None:
        """Remove a path and everything below it."""
        self.storage.cleanup(prefix)
