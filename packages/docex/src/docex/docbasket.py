"""A basket: a named collection of documents with a storage of its own for their contents."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement

from docex.contents import content_type, is_binary, text_of
from docex.database import Database
from docex.document import Document
from docex.errors import ConfigurationError, DocexError, DocumentError, DocumentNotFound, DocumentRejected
from docex.models.metadata_keys import MetadataKey
from docex.models.tables import DocumentRow, new_id
from docex.names import sanitise, sanitise_suffix
from docex.services.docbasket_service import Basket, DocBasketService
from docex.services.document_service import DocumentService, Draft
from docex.services.metadata_service import MetadataService, encoded, having
from docex.storage.filesystem import FilesystemStorage, Staged

LARGEST = 2**31 - 1  # bytes; document.size is an INTEGER
LONGEST_TYPE = 50  # characters


class DocBasket:
    """A basket as it was when it was read. Made by the methods of :class:`~docex.application.DocEX` only."""

    def __init__(self, db: Database, storage_base: Path, basket: Basket) -> None:
        self.id: str = basket.id
        self.name: str = basket.name
        self.description: str | None = basket.description
        self.status: str = basket.status
        self.storage_config: dict[str, Any] = dict(basket.storage_config)
        self.created_at: datetime = basket.created_at
        self.updated_at: datetime = basket.updated_at
        self.documents = DocumentService(db, basket.id)
        self.metadata = MetadataService(db)
        self.storage = _storage(self.storage_config, storage_base, db.tenant_id)
        self._rows = DocBasketService(db)

    def __repr__(self) -> str:
        return f"<DocBasket {self.id} {self.name!r}>"

    @property
    def storage_type(self) -> str:
        """What keeps the contents; fixed when the basket is made."""
        return str(self.storage_config["type"])

    def get_basket_path(self) -> str:
        """The directory of the contents."""
        return str(self.storage.root)

    # -- documents -----------------------------------------------------------------------------------------------------

    def add(
        self, file_path: str | os.PathLike[str], document_type: str = "file", metadata: Mapping[str, Any] | None = None
    ) -> Document:
        """Add a file as a document; its bytes are kept exactly.

        A file with the same content that was added from the same path before gives that document again, and an event.

        :raises DocumentRejected: the file is missing (then it is a FileNotFoundError too) or cannot be read.
        :raises MetadataRejected: a metadata value has no JSON form. :raises StorageError: the content cannot be kept.
        """
        if not 0 < len(document_type) <= LONGEST_TYPE:
            raise DocumentError(f"document_type must be text of 1 to {LONGEST_TYPE} characters")
        path, given = Path(file_path), dict(metadata or {})
        original = str(given.setdefault(MetadataKey.ORIGINAL_FILENAME.value, _storable(path.name)))
        kept = encoded(given)
        with self.storage.receive(path) as staged:
            _refuse_oversize(path, staged)
            source = _storable(os.fspath(file_path))
            known = self.documents.duplicate(source, staged.checksum)
            if known is not None:
                return Document(self, known)
            stem, suffix = sanitise(Path(original).stem), sanitise_suffix(path.suffix or Path(original).suffix)
            document_id = new_id("doc")
            draft = Draft(
                id=document_id,
                name=f"{stem}{suffix}",
                source=source,
                path=f"{stem}_{document_id[-6:]}{suffix}",
                content_type=content_type(suffix),
                document_type=document_type,
                text=_text(suffix, staged),
                size=staged.size,
                checksum=staged.checksum,
                metadata=kept,
            )
            self.storage.publish(staged, draft.path)
            try:
                record = self.documents.create(draft)
            except BaseException:
                self._discard(document_id, draft.path)
                raise
            if record.id != document_id:  # another process added the same file in between
                self.storage.delete(draft.path)
            return Document(self, record)

    def update_document(self, document_id: str, file_path: str | os.PathLike[str]) -> Document:
        """Give a document the content of another file. The earlier content stays, as a version.

        :raises DocumentNotFound: this basket holds no such document. :raises the errors of :meth:`add`.
        """
        path = Path(file_path)
        present = self.documents.get(document_id)
        if present is None:
            raise DocumentNotFound(document_id)
        with self.storage.receive(path) as staged:
            _refuse_oversize(path, staged)
            stem, suffix = sanitise(path.stem), sanitise_suffix(path.suffix)
            text = _text(suffix, staged)
            draft = Draft(
                name=f"{stem}{suffix}",
                source=_storable(os.fspath(file_path)),
                # The last part tells versions apart; which is the how-manyeth is said by the history.
                path=f"{stem}_{document_id[-6:]}_{new_id('fhi')[-8:]}{suffix}",
                content_type=content_type(suffix),
                document_type=present.document_type,
                text=text,
                size=staged.size,
                checksum=staged.checksum,
                metadata=encoded(_description(path, suffix, staged, text)),
            )
            self.storage.publish(staged, draft.path)
            try:
                return Document(self, self.documents.replace(document_id, draft))
            except BaseException:
                self._discard(document_id, draft.path)
                raise

    def get_document(self, document_id: str) -> Document | None:
        """The document of an id, if this basket holds it."""
        record = self.documents.get(document_id)
        return None if record is None else Document(self, record)

    def list_documents(
        self,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
        status: str | None = None,
        document_type: str | None = None,
    ) -> list[Document]:
        """Documents, newest first; ``order_by``: created_at, updated_at, name, size or status."""
        records = self.documents.list(
            *_filters(status, document_type), limit=limit, offset=offset, order_by=order_by, order_desc=order_desc
        )
        return [Document(self, record) for record in records]

    def count_documents(self, status: str | None = None, document_type: str | None = None) -> int:
        """How many documents the basket holds."""
        return self.documents.count(*_filters(status, document_type))

    def find_documents_by_metadata(
        self,
        metadata: Mapping[str, Any] | str,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> list[Document]:
        """Documents that carry all the given values (``777`` is not ``"777"``), or a text under any key.

        No condition finds nothing.
        """
        if not metadata:
            return []
        records = self.documents.list(
            having(metadata), limit=limit, offset=offset, order_by=order_by, order_desc=order_desc
        )
        return [Document(self, record) for record in records]

    def count_documents_by_metadata(self, metadata: Mapping[str, Any] | str) -> int:
        """How many documents :meth:`find_documents_by_metadata` would find."""
        return self.documents.count(having(metadata)) if metadata else 0

    def delete_document(self, document_id: str) -> None:
        """Remove a document, all its versions included.

        :raises DocumentNotFound: this basket holds no such document.
        """
        # The rows first: were it cut in between, a file would be left over, and no document would lack its content.
        for key in self.documents.delete(document_id):
            self.storage.delete(key)

    # -- the basket ----------------------------------------------------------------------------------------------------

    def delete(self) -> None:
        """Remove the basket with its documents and their contents. :raises BasketNotFound: it was removed before."""
        for key in self._rows.delete(self.id):
            self.storage.delete(key)
        self.storage.remove()

    def get_stats(self) -> dict[str, Any]:
        """The basket's details with ``document_counts`` (by status) and ``type_counts``."""
        by_status, by_type = self._rows.counts(self.id)
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "status": self.status,
            "document_counts": by_status,
            "type_counts": by_type,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    def _discard(self, document_id: str, key: str) -> None:
        """Remove a content whose rows were not written.

        When the connection broke during COMMIT nobody knows whether they were: then it stays, since a file too many
        is harmless and a document without its content is not.
        """
        with suppress(DocexError):
            record = self.documents.get(document_id)
            if record is None or record.path != key:
                self.storage.delete(key)


def new_storage_config(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a new basket records about its storage: the type, and a path if one was given instead of the configured.

    :raises ConfigurationError: something else was given.
    """
    config = {"type": "filesystem", **(given or {})}
    if config["type"] != "filesystem":
        raise ConfigurationError("storage_config", f"type {config['type']!r} is not known; use 'filesystem'.")
    if set(config) - {"type", "path"} or not isinstance(config.get("path", ""), str):
        raise ConfigurationError("storage_config", "expected {'type': 'filesystem', 'path': '...'}.")
    return config


def _storage(config: Mapping[str, Any], base: Path, tenant_id: str | None) -> FilesystemStorage:
    parts = [part for part in (tenant_id, config["basket_path"]) if part is not None]
    return FilesystemStorage(Path(config.get("path") or base), "/".join(parts))


def _filters(status: str | None, document_type: str | None) -> list[ColumnElement[bool]]:
    pairs = ((DocumentRow.status, status), (DocumentRow.document_type, document_type))
    return [column == value for column, value in pairs if value is not None]


def _refuse_oversize(path: Path, staged: Staged) -> None:
    if staged.size > LARGEST:
        raise DocumentRejected(path, f"it has {staged.size} bytes; at most {LARGEST} can be recorded.")


def _text(suffix: str, staged: Staged) -> str | None:
    return None if is_binary(suffix, staged.sample) else text_of(suffix, staged.sample, staged.file.read_bytes())


def _storable(path: str) -> str:
    """A path as text that every database can hold: bytes that are not UTF-8 become escapes."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _description(path: Path, suffix: str, staged: Staged, text: str | None) -> dict[str, Any]:
    """The metadata that a new version sets."""
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return {
        MetadataKey.ORIGINAL_FILENAME.value: _storable(path.name),
        MetadataKey.ORIGINAL_PATH.value: _storable(str(path)),
        MetadataKey.FILE_TYPE.value: suffix.removeprefix("."),
        MetadataKey.FILE_SIZE.value: staged.size,
        MetadataKey.FILE_EXTENSION.value: suffix,
        MetadataKey.ORIGINAL_FILE_TIMESTAMP.value: changed.isoformat(),
        MetadataKey.CONTENT_CHECKSUM.value: staged.checksum,
        MetadataKey.CONTENT_LENGTH.value: staged.size if text is None else len(text),
        MetadataKey.CONTENT_TYPE.value: content_type(suffix),
    }
