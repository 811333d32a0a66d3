"""Processors by name: the built-in ones, those registered in this process, those of installed packages (entry points
of the group ``docex.processors``) and those that the configuration lists.

Which of them a tenant uses, and how configured, is in the tenant's own table ``processors`` and read each time: nothing
of one tenant is kept for another. A tenant's table can only name a class that is known here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from docex.errors import ProcessorNotFound, ProcessorRejected
from docex.processors.base import BaseProcessor
from docex.processors.mapper import ProcessorMapper

if TYPE_CHECKING:
    from docex.database import Database
    from docex.document import Document

logger = logging.getLogger(__name__)

GROUP = "docex.processors"
BUILT_IN = {
    "CSVToJSONProcessor": "docex.processors.csv_to_json",
    "MatchingInvoiceToPOProcessor": "docex.processors.pdf_to_text",
    "TextChunkingProcessor": "docex.processors.chunking.processor",
    "WordToTextProcessor": "docex.processors.word_to_text",
}


class ProcessorFactory:
    """See the module; there is one for a process, :data:`factory`."""

    def __init__(self) -> None:
        self.mapper = ProcessorMapper()
        self._registered: dict[str, type[BaseProcessor]] = {}

    def register(self, processor_class: object) -> None:
        """Make a class known in this process by its name. :raises ProcessorRejected: it is no processor."""
        if not isinstance(processor_class, type) or not issubclass(processor_class, BaseProcessor):
            name = getattr(processor_class, "__name__", repr(processor_class))
            raise ProcessorRejected(name, "it does not derive from BaseProcessor.")
        self._registered[processor_class.__name__] = processor_class

    def list_processors(self, configured: Iterable[str] = ()) -> dict[str, type[BaseProcessor]]:
        """All known classes by name; ``configured``: those that the configuration lists, as ``module:Class``.

        One that cannot be loaded is left out; a warning tells of it.
        """
        known, broken = self.look(configured)
        for error in broken.values():
            logger.warning("%s", error)
        return known

    def look(
        self, configured: Iterable[str] = ()
    ) -> tuple[dict[str, type[BaseProcessor]], dict[str, ProcessorRejected]]:
        """All known classes by name, and of those that cannot be loaded, why."""
        paths = {name: f"{module}:{name}" for name, module in BUILT_IN.items()}
        paths |= {point.name: point.value for point in entry_points(group=GROUP)}
        paths |= {path.rpartition(":")[2]: path for path in configured}
        known, broken = dict(self._registered), {}
        for name, path in paths.items():
            if name not in known:
                try:
                    known[name] = _loaded(name, path)
                except ProcessorRejected as error:
                    broken[name] = error
        return known, broken

    def class_of(self, name: str, configured: Iterable[str] = ()) -> type[BaseProcessor]:
        """The class of a name. :raises ProcessorNotFound: none is known."""
        if name in self._registered:
            return self._registered[name]
        for path in configured:
            if path.rpartition(":")[2] == name:
                return _loaded(name, path)
        for point in entry_points(group=GROUP, name=name):
            return _loaded(name, point.value)
        if name in BUILT_IN:
            return _loaded(name, f"{BUILT_IN[name]}:{name}")
        raise ProcessorNotFound(
            name,
            f"list it under processing.processors in the configuration as module:{name}, or install a package that "
            f"brings it as an entry point of {GROUP!r}.",
        )

    def get_processor(self, name: str, db: Database | None = None) -> BaseProcessor | None:
        """A processor as the tenant has it configured; None if the tenant has none of that name enabled.

        Without ``db`` one without configuration.
        """
        if db is None:
            return self.class_of(name)({}, None)
        from docex.services.processor_service import ProcessorService

        row = ProcessorService(db).get(name)
        return None if row is None or not row.enabled else self.class_of(name)(row.config, db)

    def map_document_to_processor(self, document: Document, db: Database | None = None) -> type[BaseProcessor] | None:
        """The class that the rules of this process name for a document."""
        return self.mapper.get_processor(document)


def _loaded(name: str, path: str) -> type[BaseProcessor]:
    module, _, attribute = path.partition(":")
    try:
        found: Any = getattr(import_module(module), attribute)
    except Exception as error:  # what a module of somebody else's raises while it is loaded can be anything
        raise ProcessorRejected(name, f"{path!r} cannot be loaded: {type(error).__name__}: {error}.") from error
    if not isinstance(found, type) or not issubclass(found, BaseProcessor):
        raise ProcessorRejected(name, f"{path!r} does not derive from BaseProcessor.")
    return found


factory = ProcessorFactory()
