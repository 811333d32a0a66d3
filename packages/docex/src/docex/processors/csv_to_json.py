"""CSV -> JSON: the file becomes a JSON document beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docex.processors.base import ProcessingResult
from docex.processors.derived import keep, where
from docex.processors.extracting import ExtractingProcessor

if TYPE_CHECKING:
    from docex.document import Document


class CSVToJSONProcessor(ExtractingProcessor):
    """Make a JSON document of a CSV file.

    Configuration: ``delimiter``, ``quotechar``, ``encoding``, ``include_header``, ``output_format`` (``records`` or
    ``columns``). The result's content is where the JSON lies; its metadata names the document that holds it.
    """

    function = "csv_to_json"
    suffixes = (".csv",)

    def process(self, document: Document) -> ProcessingResult:
        """Make the JSON document, or a new version of it."""
        return self.extract(document)

    def finish(self, document: Document, target: Path, metadata: dict[str, Any]) -> ProcessingResult:
        """See :class:`ExtractingProcessor`."""
        kept = keep(document, type(self).__name__, target, ".json")
        return ProcessingResult(True, where(kept), {**metadata, "document_id": kept.id})
