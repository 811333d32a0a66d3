"""PDF -> text, and the purchase order that an invoice names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docex.processors.base import ProcessingResult
from docex.processors.extracting import ExtractingProcessor

if TYPE_CHECKING:
    from docex.document import Document

PURCHASE_ORDER = "cus_PO"  # metadata key


class MatchingInvoiceToPOProcessor(ExtractingProcessor):
    """Take the text out of a PDF, and the purchase order that an invoice names.

    The result's content is the text. A number after ``PO`` becomes the document's metadata ``cus_PO``; the text is
    found by full-text search from then on.
    """

    function = "pdf_to_text"
    suffixes = (".pdf",)

    def process(self, document: Document) -> ProcessingResult:
        """Take the text out."""
        return self.extract(document)

    def finish(self, document: Document, target: Path, metadata: dict[str, Any]) -> ProcessingResult:
        """See :class:`ExtractingProcessor`."""
        text = target.read_text("utf-8")
        document.basket.documents.set_extracted_text(document.id, text)
        if PURCHASE_ORDER in metadata:
            document.update_metadata({PURCHASE_ORDER: metadata[PURCHASE_ORDER]})
        return ProcessingResult(True, text, metadata)
