"""The processors of a DocEX object: which there are, which documents go to them, and running them.

Every run happens in a child process with limits of time and memory; how it ended is returned and recorded. A document
that breaks its reader costs one failed run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docex import access
from docex.config.settings import Settings
from docex.context import UserContext
from docex.database import Database
from docex.errors import DocexError, DocumentNotFound, ProcessorNotFound, ProcessorRejected
from docex.services.processor_service import CUSTOM, ProcessorRecord, ProcessorService, RuleRecord

if TYPE_CHECKING:
    from docex.document import Document
    from docex.processors.base import BaseProcessor, ProcessingResult


class Processing:
    """What :class:`~docex.application.DocEX` does with processors."""

    db: Database
    user_context: UserContext | None
    _settings: Settings

    if TYPE_CHECKING:

        def get_document(
            self, document_id: str, basket_id: str | None = None, basket_name: str | None = None
        ) -> Document | None: ...

    @property
    def processing_timeout(self) -> float:
        """Seconds that one run may take."""
        return self._settings.processing.timeout

    def register_processor(
        self,
        name: str,
        processor_type: str = CUSTOM,
        description: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        enabled: bool = True,
    ) -> ProcessorRecord:
        """Make a processor known to the tenant with its configuration, or change the one of that name.

        :raises ProcessorNotFound: no class of that name is known here; see :mod:`docex.processors.factory`.
        """
        from docex.processors.factory import factory

        access.check(self.db, access.ADMIN)
        factory.class_of(name, self._settings.processing.processors)
        return ProcessorService(self.db).register(name, processor_type, description, config, enabled=enabled)

    def list_processors(self) -> list[ProcessorRecord]:
        """The tenant's processors by name."""
        return ProcessorService(self.db).list()

    def enable_processor(self, name: str, *, enabled: bool = True) -> None:
        """Let a processor be used, or not. :raises ProcessorNotFound: the tenant has none of that name."""
        ProcessorService(self.db).set_enabled(name, enabled)

    def add_processing_rule(
        self,
        processor: str,
        *,
        name_pattern: str | None = None,
        content_type: str | None = None,
        document_type: str | None = None,
        basket_id: str | None = None,
        priority: int = 0,
    ) -> RuleRecord:
        """Have the worker give new and changed documents that meet every condition to a processor.

        ``name_pattern`` is as a shell's (``*.pdf``). See :meth:`ProcessorService.add_rule` for what is raised.
        """
        return ProcessorService(self.db).add_rule(
            processor,
            name_pattern=name_pattern,
            content_type=content_type,
            document_type=document_type,
            basket_id=basket_id,
            priority=priority,
        )

    def list_processing_rules(self) -> list[RuleRecord]:
        """The tenant's rules, those of higher priority first."""
        return ProcessorService(self.db).rules()

    def remove_processing_rule(self, rule_id: str) -> bool:
        """Remove a rule. False: there was none."""
        return ProcessorService(self.db).remove_rule(rule_id)

    def list_processing_operations(
        self,
        document_id: str | None = None,
        processor: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """What processors did with one document, what one of them did, or all; newest first."""
        return ProcessorService(self.db).operations(
            document_id=document_id, processor=processor, limit=limit, offset=offset
        )

    def process_document(self, document_id: str, processor: str | None = None) -> ProcessingResult:
        """Run a processor on a document: the one named, else the first that the tenant's rules, or else those of this
        process, give the document to. A failure is returned, and recorded like a success.

        :raises DocumentNotFound: there is no such document.
        :raises ProcessorNotFound: there is no such processor, it is disabled, or nothing gives the document to one.
        """
        from docex.processors.factory import factory

        access.check(self.db, access.WRITE)
        document = self.get_document(document_id)
        if document is None:
            raise DocumentNotFound(document_id)
        if processor is not None:
            return self.run_processor(processor, document)
        for name in ProcessorService(self.db).matching(document):
            return self.run_processor(name, document)
        kind = factory.map_document_to_processor(document)
        if kind is None:
            raise ProcessorNotFound("", f"no rule gives {document.name} to one; name it.")
        return run(kind, self._configured(kind.__name__), document, self.user_context)

    def run_processor(self, name: str, document: Document) -> ProcessingResult:
        """Run one of the tenant's processors as it is configured now. See :meth:`process_document`."""
        from docex.processors.factory import factory

        config = self._configured(name)
        kind = factory.class_of(name, self._settings.processing.processors)
        return run(kind, config, document, self.user_context)

    def _configured(self, name: str) -> Mapping[str, Any]:
        """The tenant's configuration of a processor, if it has one. :raises ProcessorNotFound: it is disabled."""
        row = ProcessorService(self.db).get(name)
        if row is not None and not row.enabled:
            raise ProcessorNotFound(name, f"it is disabled. Run: docex process enable --name {name}")
        return {} if row is None else row.config


def run(
    kind: type[BaseProcessor], config: Mapping[str, Any], document: Document, user: UserContext | None
) -> ProcessingResult:
    """Run a processor in a child process and record how it ended.

    :raises ProcessorRejected: a child could not import the class.
    """
    from docex.processors.extracting import ExtractingProcessor

    db = document.basket.db
    if issubclass(kind, ExtractingProcessor):
        return kind(config, db).extract(document)
    result = _of_the_application(kind, config, document, user)
    ProcessorService(db).record(
        kind.__name__,
        document.id,
        "success" if result.success else "failed",
        input_metadata={"name": document.name, "checksum": document.checksum, "size": document.size},
        output_metadata=result.metadata or None,
        error=result.error,
    )
    return result


def _of_the_application(
    kind: type[BaseProcessor], config: Mapping[str, Any], document: Document, user: UserContext | None
) -> ProcessingResult:
    from docex.config.docex_config import config_path
    from docex.processors import sandbox
    from docex.processors.base import ProcessingResult
    from docex.processors.extracting import limits_of

    name = kind.__name__
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise ProcessorRejected(
            name, "a child process cannot import it from there. Move it into a module of its own, at the top level."
        )
    acting = user or UserContext(user_id="docex", tenant_id=document.basket.db.tenant_id)
    job = {
        "kind": "process",
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "config": dict(config),
        "paths": [path or "." for path in sys.path],
        "config_file": str(config_path().absolute()),
        "user": vars(acting),
        "document_id": document.id,
    }
    try:
        with sandbox.workplace() as directory:
            answer = sandbox.run(name, directory, job, limits_of(document), isolated=False)
    except DocexError as error:
        return ProcessingResult(False, error=str(error))
    return ProcessingResult(
        bool(answer["success"]), answer.get("content"), answer.get("metadata") or {}, answer.get("error")
    )
