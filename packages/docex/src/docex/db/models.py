"""The tables as classes for queries of a script's own, under the names of the public package.

They are the very classes that DocEX works with. What is written through them passes by roles, quotas and the audit
trail: prefer the methods of documents and baskets.
"""

from docex.models.tables import Base
from docex.models.tables import BasketRow as DocBasket
from docex.models.tables import DocumentRow as Document
from docex.models.tables import EventRow as DocEvent
from docex.models.tables import FileHistoryRow as FileHistory
from docex.models.tables import MetadataRow as DocumentMetadata
from docex.models.tables import OperationDependencyRow as OperationDependency
from docex.models.tables import OperationRow as Operation
from docex.models.tables import ProcessingOperationRow as ProcessingOperation
from docex.models.tables import ProcessorRow as Processor

__all__ = [
    "Base",
    "DocBasket",
    "DocEvent",
    "Document",
    "DocumentMetadata",
    "FileHistory",
    "Operation",
    "OperationDependency",
    "ProcessingOperation",
    "Processor",
]
