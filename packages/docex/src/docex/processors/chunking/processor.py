"""Text -> chunks: a text document's chunks become a JSON document beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docex.processors.base import ProcessingResult
from docex.processors.derived import keep, where
from docex.processors.extracting import ExtractingProcessor

if TYPE_CHECKING:
    from docex.document import Document


class TextChunkingProcessor(ExtractingProcessor):
    """Cut a text into chunks, as a JSON document.

    Configuration: ``strategy`` (auto, fixed_size, recursive, document_based, hierarchical), ``chunk_size``,
    ``chunk_overlap``, ``min_chunk_size`` in characters. The result's content is where the JSON lies.
    """

    function = "text_to_chunks"
    suffixes = (".txt", ".md", ".markdown", ".rst")

    def process(self, document: Document) -> ProcessingResult:
        """Make the JSON document, or a new version of it."""
        return self.extract(document)

    def finish(self, document: Document, target: Path, metadata: dict[str, Any]) -> ProcessingResult:
        """See :class:`ExtractingProcessor`."""
        kept = keep(document, type(self).__name__, target, ".chunks.json")
        return ProcessingResult(True, where(kept), {**metadata, "document_id": kept.id})
