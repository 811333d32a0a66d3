"""One document of a basket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from docex.errors import ContentMissing, DocumentNotFound, StorageError
from docex.models.records import DocumentRecord

if TYPE_CHECKING:
    from docex.docbasket import DocBasket


class Document:
    """A document as it was when it was read; ``get_...`` methods look at its present state.

    Made by the methods of :class:`~docex.docbasket.DocBasket` only.
    """

    def __init__(self, basket: DocBasket, record: DocumentRecord) -> None:
        self._basket = basket
        self.id: str = record.id
        self.name: str = record.name
        self.path: str = record.path
        self.content_type: str | None = record.content_type
        self.document_type: str = record.document_type
        self.size: int = record.size
        self.checksum: str = record.checksum
        self.status: str = record.status
        self.created_at: datetime = record.created_at
        self.updated_at: datetime = record.updated_at

    def __repr__(self) -> str:
        return f"<Document {self.id} {self.name!r}>"

    def get_details(self) -> DocumentRecord:
        """The document's present details. :raises DocumentNotFound: it was removed."""
        record = self._basket.documents.get(self.id)
        if record is None:
            raise DocumentNotFound(self.id)
        return record

    def get_content(self, mode: str = "bytes", *, version: int | None = None) -> Any:
        """The content: ``bytes`` as they were added, ``text`` (UTF-8), or ``json`` (parsed).

        ``version``: an earlier content, counted from 1 as :meth:`get_versions` lists them.

        :raises ValueError: another mode, no such version, or a content that is no text or JSON.
        :raises ContentMissing: the file is gone from the storage; it is a FileNotFoundError.
        """
        if mode not in ("bytes", "text", "json"):
            raise ValueError(f"mode must be 'bytes', 'text' or 'json', not {mode!r}")
        key = self.get_details().path if version is None else self._version_key(version)
        try:
            content = self._basket.storage.load(key)
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise ContentMissing(self.id, key) from error
        if mode == "bytes":
            return content
        text = content.decode("utf-8")
        return text if mode == "text" else json.loads(text)

    def get_versions(self) -> list[dict[str, Any]]:
        """Every content the document has had, oldest first: ``original_path``, ``internal_path``, ``created_at``."""
        return self._basket.documents.history(self.id)

    def get_metadata(self) -> dict[str, Any]:
        """All metadata keys with their values."""
        return self._basket.metadata.get_metadata(self.id)

    def get_metadata_dict(self) -> dict[str, Any]:
        """The same as :meth:`get_metadata`."""
        return self.get_metadata()

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Set the given keys; others stay as they are. :raises MetadataRejected: a value has no JSON form."""
        self.get_details()
        self._basket.metadata.update_metadata(self.id, metadata)

    def get_operations(self) -> list[dict[str, Any]]:
        """What was done with the document, oldest first."""
        return self._basket.documents.operations(self.id)

    def _version_key(self, version: int) -> str:
        versions = self.get_versions()
        if not 1 <= version <= len(versions):
            raise ValueError(f"document {self.id} has versions 1 to {len(versions)}, not {version}")
        return str(versions[version - 1]["internal_path"])
