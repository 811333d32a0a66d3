"""What every processor is: told by a document whether it can work on it, and doing so.

A processor of an application's own derives from :class:`BaseProcessor`; its module must be importable, as it is run in
a child process. Called directly, ``process`` runs where it is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from docex.models.tables import now

if TYPE_CHECKING:
    from docex.database import Database
    from docex.document import Document


@dataclass(frozen=True)
class ProcessingResult:
    """What came out of one run. ``bool(result)`` tells whether it succeeded."""

    success: bool
    content: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    timestamp: datetime = field(default_factory=now)  # UTC

    def __bool__(self) -> bool:
        return self.success

    def metadata_dict(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return dict(self.metadata or {})


class BaseProcessor(ABC):
    """Base of all processors."""

    def __init__(self, config: Mapping[str, Any] | None = None, db: Database | None = None) -> None:
        self.config: dict[str, Any] = dict(config or {})
        self.db = db

    @abstractmethod
    def can_process(self, document: Document) -> bool:
        """Whether the document is of a kind that this processor works on."""

    @abstractmethod
    def process(self, document: Document) -> ProcessingResult | Awaitable[ProcessingResult]:
        """Work on the document. May be written as ``async def``."""

    def get_document_bytes(self, document: Document) -> bytes:
        """The document's content."""
        content: bytes = document.get_content("bytes")
        return content

    def get_document_text(self, document: Document) -> str:
        """The document's content as text. :raises ValueError: it is none."""
        text: str = document.get_content("text")
        return text

    def get_document_json(self, document: Document) -> Any:
        """The document's content as JSON. :raises ValueError: it is none."""
        return document.get_content("json")

    def get_document_content(self, document: Document, mode: str = "text") -> Any:
        """The document's content as ``bytes``, ``text`` or ``json``."""
        return document.get_content(mode)

    def _record_operation(
        self,
        document: Document,
        status: str,
        input_metadata: Mapping[str, Any] | None = None,
        output_metadata: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Write a run of this processor into ``processing_operations``; its row is made if it has none."""
        from docex.services.processor_service import ProcessorService

        ProcessorService(self.db or document.basket.db).record(
            type(self).__name__,
            document.id,
            status,
            input_metadata=input_metadata,
            output_metadata=output_metadata,
            error=error,
        )
