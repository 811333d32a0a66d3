"""What a processor makes of a document is a document too, in the same basket.

So it is kept, counted, found, sent and removed like any other. It says in its metadata what it was made from
(``derived_from``) and by which processor (``derived_by``); made again it becomes a new version of itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docex.document import Document

DERIVED = "derived"  # the document_type
FROM, BY = "derived_from", "derived_by"  # metadata keys


def keep(document: Document, processor: str, file: Path, suffix: str) -> Document:
    """Keep a file as what the processor made of the document."""
    basket = document.basket
    # The id tells the outputs of two documents of one name apart.
    name = f"{document.id}/{document.name}{suffix}"
    marks = {FROM: document.id, BY: processor}
    found = basket.find_documents_by_metadata(marks, limit=1)
    with open(file, "rb") as reader:
        if not found:
            return basket.add(reader, DERIVED, marks, name=name)
        return basket.update_document(found[0].id, reader, name=name)


def where(document: Document) -> str:
    """Where people find a document's content."""
    return f"{document.basket.get_basket_path().rstrip('/')}/{document.path}"
