"""The built-in processors' common part: the reading of the file happens in a child process, see
:mod:`docex.processors.sandbox`; what comes out is kept and recorded here.
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docex import access
from docex.errors import DocexError
from docex.processors.base import BaseProcessor, ProcessingResult
from docex.processors.sandbox import Limits, run, workplace

if TYPE_CHECKING:
    from docex.document import Document

SOURCE, TARGET = "source", "target"  # files in the child's directory


class ExtractingProcessor(BaseProcessor):
    """Takes something out of a file with a function of :mod:`docex.processors.extraction`."""

    function: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]  # of the files it takes, in small letters

    def can_process(self, document: Document) -> bool:
        """Whether the document's name ends as such files do."""
        return document.name.lower().endswith(self.suffixes)

    def extract(self, document: Document) -> ProcessingResult:
        """Do the work and write into ``processing_operations`` how it ended. A failure is returned, not raised."""
        access.check(document.basket.db, access.WRITE)
        name = type(self).__name__
        given = {"name": document.name, "checksum": document.checksum, "size": document.size}
        try:
            if not self.can_process(document):
                raise DocexError(f"{name} takes files that end with {', '.join(self.suffixes)}, not {document.name}.")
            with workplace() as directory:
                with document.open() as reader, open(directory / SOURCE, "wb") as writer:
                    shutil.copyfileobj(reader, writer)
                job = {
                    "kind": "extract",
                    "function": f"docex.processors.extraction:{self.function}",
                    "source": SOURCE,
                    "target": TARGET,
                    "config": self.config,
                }
                metadata = run(name, directory, job, limits_of(document), isolated=True)["metadata"]
                result = self.finish(document, directory / TARGET, metadata)
        except DocexError as error:
            result = ProcessingResult(False, error=str(error))
        self._record_operation(
            document, "success" if result.success else "failed", given, result.metadata or None, result.error
        )
        return result

    @abstractmethod
    def finish(self, document: Document, target: Path, metadata: dict[str, Any]) -> ProcessingResult:
        """Keep what lies in ``target``."""


def limits_of(document: Document) -> Limits:
    """What one run may take, as the configuration says."""
    settings = document.basket.settings.processing
    return Limits(settings.timeout, settings.memory, settings.output)
