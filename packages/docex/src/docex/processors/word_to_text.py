"""Word (.docx) -> text: the text becomes a document beside the original, and is found by full-text search."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docex.processors.base import ProcessingResult
from docex.processors.derived import keep, where
from docex.processors.extracting import ExtractingProcessor

if TYPE_CHECKING:
    from docex.document import Document


class WordToTextProcessor(ExtractingProcessor):
    """Make a text document of a Word file (.docx).

    Configuration: ``encoding`` of the text, ``preserve_formatting`` (line breaks and blanks), ``extract_tables``.

    The result's content is where the text lies; its metadata names the document that holds it. The older format .doc
    is not taken.
    """

    function = "word_to_text"
    suffixes = (".docx",)

    async def process(self, document: Document) -> ProcessingResult:
        """Make the text document, or a new version of it."""
        return await asyncio.to_thread(self.extract, document)

    def finish(self, document: Document, target: Path, metadata: dict[str, Any]) -> ProcessingResult:
        """See :class:`ExtractingProcessor`."""
        text = target.read_bytes().decode(self.config.get("encoding", "utf-8"))
        document.basket.documents.set_extracted_text(document.id, text)
        kept = keep(document, type(self).__name__, target, ".txt")
        return ProcessingResult(True, where(kept), {**metadata, "document_id": kept.id})
