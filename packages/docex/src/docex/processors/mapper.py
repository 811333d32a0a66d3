"""Which processor works on which document, for all tenants of this process: rules in their order.

A rule is a function that takes a document and returns a processor's class, or None if it has nothing to say. Rules of
one tenant's own are rows of its database: see :class:`~docex.services.processor_service.ProcessorService`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docex.document import Document
    from docex.processors.base import BaseProcessor

Rule = Callable[["Document"], "type[BaseProcessor] | None"]


class ProcessorMapper:
    """The rules; put yours before the others with ``rules.insert(0, rule)``."""

    def __init__(self) -> None:
        self.rules: list[Rule] = [_by_suffix]

    def get_processor(self, document: Document) -> type[BaseProcessor] | None:
        """The class that the first rule with an answer names."""
        for rule in self.rules:
            found = rule(document)
            if found is not None:
                return found
        return None


def _by_suffix(document: Document) -> type[BaseProcessor] | None:
    """The built-in processor for a file's kind."""
    from docex.processors.csv_to_json import CSVToJSONProcessor
    from docex.processors.pdf_to_text import MatchingInvoiceToPOProcessor
    from docex.processors.word_to_text import WordToTextProcessor

    for kind in (CSVToJSONProcessor, MatchingInvoiceToPOProcessor, WordToTextProcessor):
        if document.name.lower().endswith(kind.suffixes):
            return kind
    return None
