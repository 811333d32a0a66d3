"""One document of a basket."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from docex.errors import ContentMissing, DocumentNotFound, StorageError
from docex.models.records import DocumentRecord
from docex.services.details import moment, number, unpacked

if TYPE_CHECKING:
    from docex.docbasket import DocBasket
    from docex.services.details import Packed, Row


@dataclass(frozen=True)
class RecordedOperation:
    """An operation that was recorded with :meth:`Document.create_operation`."""

    id: str
    operation_type: str
    status: str
    details: Mapping[str, Any] | None


class Document:
    """A document as it was when it was read; ``get_...`` methods look at its present state.

    Made by the methods of :class:`~docex.docbasket.DocBasket` only.
    """

    __slots__ = ("_basket", "_known")

    def __init__(self, basket: DocBasket, details: Row) -> None:
        self._basket = basket
        self._known: Sequence[Any] = details  # unpacked when it is asked for: of thousands, most never are

    def _values(self) -> Sequence[Any]:
        known = self._known
        if len(known) == 3:
            row = cast("Packed", known)
            known = self._known = unpacked(row) or self._basket.documents.by_columns(row)
        return known

    @property
    def id(self) -> str:
        """Its id: 36 characters."""
        value: str = self._known[0]
        return value

    @property
    def name(self) -> str:
        """The name of the file that was added."""
        value: str = self._known[1]
        return value

    @property
    def path(self) -> str:
        """The readable name of its content in its basket."""
        value: str = self._values()[2]
        return value

    @property
    def content_type(self) -> str | None:
        """Its media type."""
        value: str | None = self._values()[3]
        return value

    @property
    def document_type(self) -> str:
        """What it was added as, such as ``file``."""
        value: str = self._values()[4]
        return value

    @property
    def size(self) -> int:
        """Of its content, in bytes."""
        value: int = number(self._values()[5])
        return value

    @property
    def checksum(self) -> str:
        """SHA-256 of its content, hexadecimal."""
        value: str = self._values()[6]
        return value

    @property
    def status(self) -> str:
        """Where its work stands, such as ``RECEIVED``."""
        value: str = self._values()[7]
        return value

    @status.setter
    def status(self, status: str) -> None:
        """What this object tells from now on; see :meth:`set_status`."""
        values = self._values()
        self._known = (*values[:7], status, *values[8:])

    @property
    def created_at(self) -> datetime:
        """When it was added, in UTC."""
        return moment(self._values()[8])

    @property
    def updated_at(self) -> datetime:
        """When it was changed last, in UTC."""
        return moment(self._values()[9])

    def __repr__(self) -> str:
        return f"<Document {self.id} {self.name!r}>"

    @property
    def basket(self) -> DocBasket:
        """The basket that holds it."""
        return self._basket

    @property
    def basket_id(self) -> str:
        """The id of the basket that holds it."""
        return self._basket.id

    @property
    def model(self) -> DocumentRecord:
        """The same as :meth:`get_details`."""
        return self.get_details()

    def get_details(self) -> DocumentRecord:
        """The document's present details. :raises DocumentNotFound: it was removed."""
        row = self._basket.documents.row(self.id)
        if row is None:
            raise DocumentNotFound(self.id)
        return DocumentRecord.model_validate(row)

    def open(self, version: int | None = None, start: int = 0) -> BinaryIO:
        """The content as a stream, from byte ``start`` on; close it when done.

        ``version``: an earlier content, counted from 1 as :meth:`get_versions` lists them.

        :raises ContentMissing: the file is gone from the storage; it is a FileNotFoundError.
        :raises ValueError: there is no such version.
        """
        found = self._basket.documents.version(self.id, version)
        key = self._basket.content_key(self.id, found)
        try:
            return self._basket.storage.open(key, start, found.size)
        except StorageError:
            raise
        except FileNotFoundError as error:
            # A power failure may have cut the file of a text that was added just before; the row has it whole. A file
            # that is not there at all was removed, or is put back by fsck.
            cut = self._basket.storage.exists(key)
            text = self._basket.documents.content_in_row(self.id, found.checksum) if cut else None
            if text is None:
                raise ContentMissing(self.id, found.path) from error
            file = io.BytesIO(text)
            file.seek(start)
            return file

    def get_content(self, mode: str = "bytes", *, version: int | None = None) -> Any:
        """The content: ``bytes`` as they were added, ``text`` (UTF-8), or ``json`` (parsed).

        :raises ValueError: another mode, no such version, or a content that is no text or JSON.
        :raises ContentMissing: the file is gone from the storage; it is a FileNotFoundError.
        """
        if mode not in ("bytes", "text", "json"):
            raise ValueError(f"mode must be 'bytes', 'text' or 'json', not {mode!r}")
        with self.open(version) as file:
            content = file.read()
        if mode == "bytes":
            return content
        text = content.decode("utf-8")
        return text if mode == "text" else json.loads(text)

    def get_url(self, expires_in: int = 3600) -> str:
        """An address from which anyone may read the content for so many seconds.

        :raises StorageError: the basket's storage has none.
        """
        found = self._basket.documents.version(self.id)
        return self._basket.storage.url(self._basket.content_key(self.id, found), expires_in)

    def get_versions(self) -> list[dict[str, Any]]:
        """Every content the document has had, oldest first: ``original_path``, ``internal_path``, ``created_at``,
        ``version``, ``size``, ``checksum``, ``user_id``.
        """
        return self._basket.documents.versions(self.id)

    def get_metadata(self) -> dict[str, Any]:
        """All metadata keys with their values."""
        return self._basket.metadata.get_metadata(self.id)

    def get_metadata_dict(self) -> dict[str, Any]:
        """The same as :meth:`get_metadata`."""
        return self.get_metadata()

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Set the given keys; others stay as they are.

        :raises MetadataRejected: a value has no JSON form. :raises DocumentNotFound: the document was removed.
        """
        self._basket.metadata.update_metadata(self.id, metadata)

    def delete_metadata(self, keys: Sequence[str]) -> int:
        """Remove the given keys; returns how many were there."""
        return self._basket.metadata.delete_metadata(self.id, keys)

    def set_status(self, status: str) -> None:
        """Give the document another status; an event tells of it."""
        self._basket.documents.set_status(self.id, status)
        self.status = status

    def create_operation(
        self, operation_type: str, status: str, details: Mapping[str, Any] | None = None, error: str | None = None
    ) -> RecordedOperation:
        """Record something that was done with the document, just now."""
        made = self._basket.documents.create_operation(self.id, operation_type, status, details, error)
        return RecordedOperation(made, operation_type, status, details)

    def get_operations(self) -> list[dict[str, Any]]:
        """What was done with the document, oldest first."""
        return self._basket.documents.operations(self.id)

    def get_route_operations(self) -> list[dict[str, Any]]:
        """How the document was sent or fetched, oldest first."""
        return self._basket.documents.route_operations(self.id)

    def remove_from_basket(self) -> None:
        """Remove the document, all its versions included."""
        self._basket.delete_document(self.id)
