"""The rows of a tenant's processors, of the rules that give documents to them, and of what they did."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from docex import access
from docex.database import Database
from docex.errors import BasketNotFound, DocumentNotFound, ProcessorNotFound, ProcessorRejected
from docex.models.processing import RuleRow
from docex.models.tables import DocumentRow, ProcessingOperationRow, ProcessorRow, now
from docex.services import audit
from docex.services.listing import paged

if TYPE_CHECKING:
    from docex.document import Document

CUSTOM = "custom"  # the type of a processor that was registered by being run
LONGEST_NAME = 255  # characters
LONGEST_ERROR = 2000
REGISTER = "`docex process list` shows those that are known, `docex process register` makes one known to the tenant."


@dataclass(frozen=True)
class ProcessorRecord:
    """A processor of the tenant."""

    id: str
    name: str
    type: str
    description: str | None
    config: Mapping[str, Any]
    enabled: bool
    created_at: datetime  # UTC
    updated_at: datetime  # UTC


@dataclass(frozen=True)
class RuleRecord:
    """Documents that meet every condition that is set go to the processor."""

    id: str
    processor: str
    basket_id: str | None
    name_pattern: str | None
    content_type: str | None
    document_type: str | None
    priority: int

    def fits(self, document: Document) -> bool:
        """Whether the document meets the conditions."""
        pattern = self.name_pattern
        return (
            self.basket_id in (None, document.basket_id)
            and (pattern is None or fnmatch(document.name.lower(), pattern.lower()))
            and self.content_type in (None, document.content_type)
            and self.document_type in (None, document.document_type)
        )


class ProcessorService:
    """Works on one tenant's processors."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def register(
        self,
        name: str,
        processor_type: str = CUSTOM,
        description: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        enabled: bool = True,
    ) -> ProcessorRecord:
        """Make a processor known to the tenant, or change the one of that name."""
        access.check(self._db, access.ADMIN)
        if not 0 < len(name) <= LONGEST_NAME or not 0 < len(processor_type) <= 50:
            raise ProcessorRejected(name[:80], "name and type are texts of at most 255 and 50 characters.")
        with self._db.session(write=True) as session:
            row = self._row(session, name)
            if row is None:
                row = ProcessorRow(name=name, type=processor_type, config={})
                session.add(row)
            row.type, row.description = processor_type, description
            row.config, row.enabled, row.updated_at = dict(config or {}), enabled, now()
            session.flush()
            self._audit(session, "processor.register", name)
            return _processor(row)

    def get(self, name: str) -> ProcessorRecord | None:
        """The tenant's processor of that name."""
        access.check(self._db, access.READ)
        with self._db.session() as session:
            row = self._row(session, name)
            return None if row is None else _processor(row)

    def list(self, *, enabled: bool | None = None) -> builtins.list[ProcessorRecord]:
        """The tenant's processors by name."""
        access.check(self._db, access.READ)
        query = select(ProcessorRow).order_by(ProcessorRow.name)
        if enabled is not None:
            query = query.where(ProcessorRow.enabled == enabled)
        with self._db.session() as session:
            return [_processor(row) for row in session.scalars(query)]

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Let a processor be used, or not. :raises ProcessorNotFound: the tenant has none of that name."""
        access.check(self._db, access.ADMIN)
        with self._db.session(write=True) as session:
            row = self._required(session, name)
            row.enabled, row.updated_at = enabled, now()
            self._audit(session, "processor.enable" if enabled else "processor.disable", name)

    # -- rules ---------------------------------------------------------------------------------------------------------

    def add_rule(
        self,
        processor: str,
        *,
        name_pattern: str | None = None,
        content_type: str | None = None,
        document_type: str | None = None,
        basket_id: str | None = None,
        priority: int = 0,
    ) -> RuleRecord:
        """Give documents that meet every given condition to a processor.

        :raises ProcessorRejected: no condition was given, or one is too long. :raises ProcessorNotFound: the tenant has
            none of that name. :raises BasketNotFound: there is no such basket.
        """
        access.check(self._db, access.ADMIN)
        conditions = {"name_pattern": name_pattern, "content_type": content_type, "document_type": document_type}
        given = {name: value for name, value in conditions.items() if value is not None}
        if not given and basket_id is None:
            raise ProcessorRejected(processor, "a rule needs a condition: a name pattern, a type, or a basket.")
        for name, value in given.items():
            if not 0 < len(value) <= (255 if name == "name_pattern" else 50 if name == "document_type" else 100):
                raise ProcessorRejected(processor, f"{name} is empty or too long.")
        with self._db.session(write=True) as session:
            row = RuleRow(
                processor_id=self._required(session, processor).id, basket_id=basket_id, priority=priority, **given
            )
            session.add(row)
            try:
                session.flush()
            except IntegrityError as error:
                raise BasketNotFound(basket_id) from error
            self._audit(session, "rule.add", processor, rule_id=row.id)
            return _rule(row, processor)

    def rules(self, *, enabled_only: bool = False) -> builtins.list[RuleRecord]:
        """The tenant's rules, those of higher priority first."""
        access.check(self._db, access.READ)
        query = select(RuleRow, ProcessorRow.name).join(ProcessorRow, ProcessorRow.id == RuleRow.processor_id)
        if enabled_only:
            query = query.where(ProcessorRow.enabled)
        with self._db.session() as session:
            rows = session.execute(query.order_by(RuleRow.priority.desc(), RuleRow.created_at, RuleRow.id)).all()
            return [_rule(row, name) for row, name in rows]

    def remove_rule(self, rule_id: str) -> bool:
        """Remove a rule. False: there was none."""
        access.check(self._db, access.ADMIN)
        with self._db.session(write=True) as session:
            row = session.get(RuleRow, rule_id)
            if row is None:
                return False
            session.delete(row)
            self._audit(session, "rule.remove", None, rule_id=rule_id)
            return True

    def matching(self, document: Document) -> builtins.list[str]:
        """The names of the enabled processors that the rules give the document to, each once."""
        return builtins.list(
            dict.fromkeys(rule.processor for rule in self.rules(enabled_only=True) if rule.fits(document))
        )

    # -- runs ----------------------------------------------------------------------------------------------------------

    def record(
        self,
        processor: str,
        document_id: str,
        status: str,
        *,
        input_metadata: Mapping[str, Any] | None = None,
        output_metadata: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Write a run, and count it at the document. A processor that the tenant does not know yet becomes known.

        :raises DocumentNotFound: the document was removed meanwhile.
        """
        access.check(self._db, access.WRITE)
        moment = now()
        with self._db.session(write=True) as session:
            row = self._row(session, processor)
            if row is None:
                row = self._made(session, processor)
            counted = (
                update(DocumentRow)
                .where(DocumentRow.id == document_id)
                .values(processing_attempts=DocumentRow.processing_attempts + 1)
                .returning(DocumentRow.id)
                .execution_options(synchronize_session=False)
            )
            if not session.execute(counted).all():
                raise DocumentNotFound(document_id)
            session.add(
                ProcessingOperationRow(
                    document_id=document_id,
                    processor_id=row.id,
                    status=status,
                    input_metadata=None if input_metadata is None else dict(input_metadata),
                    output_metadata=None if output_metadata is None else dict(output_metadata),
                    error=None if error is None else error[:LONGEST_ERROR],
                    created_at=moment,
                    completed_at=moment,
                    user_id=self._db.user_id,
                )
            )

    def operations(
        self,
        *,
        document_id: str | None = None,
        processor: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> builtins.list[dict[str, Any]]:
        """What processors did with one document, what one of them did, or all; newest first."""
        access.check(self._db, access.READ)
        query = select(
            ProcessingOperationRow.id,
            ProcessorRow.name.label("processor"),
            ProcessingOperationRow.document_id,
            ProcessingOperationRow.status,
            ProcessingOperationRow.error,
            ProcessingOperationRow.input_metadata,
            ProcessingOperationRow.output_metadata,
            ProcessingOperationRow.created_at,
            ProcessingOperationRow.completed_at,
            ProcessingOperationRow.user_id,
        ).join(ProcessorRow, ProcessorRow.id == ProcessingOperationRow.processor_id)
        if document_id is not None:
            query = query.where(ProcessingOperationRow.document_id == document_id)
        if processor is not None:
            query = query.where(ProcessorRow.name == processor)
        query = paged(
            query,
            {"created_at": ProcessingOperationRow.created_at},
            order_by=None,
            order_desc=True,
            limit=limit,
            offset=offset,
            last=ProcessingOperationRow.id,
        )
        with self._db.session() as session:
            return [dict(row) for row in session.execute(query).mappings()]

    def _row(self, session: Session, name: str) -> ProcessorRow | None:
        return session.scalars(select(ProcessorRow).where(ProcessorRow.name == name)).one_or_none()

    def _made(self, session: Session, name: str) -> ProcessorRow:
        row = ProcessorRow(name=name, type=CUSTOM, config={})
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # another run made it at the same moment
            return self._required(session, name)
        return row

    def _required(self, session: Session, name: str) -> ProcessorRow:
        row = self._row(session, name)
        if row is None:
            raise ProcessorNotFound(name, REGISTER)
        return row

    def _audit(self, session: Session, action: str, processor: str | None, **details: Any) -> None:
        told = {"processor": processor, **details} if processor else details
        audit.record(session.connection(), self._db, action, details=told)


def _processor(row: ProcessorRow) -> ProcessorRecord:
    return ProcessorRecord(
        row.id, row.name, row.type, row.description, row.config, row.enabled, row.created_at, row.updated_at
    )


def _rule(row: RuleRow, processor: str) -> RuleRecord:
    return RuleRecord(
        row.id, processor, row.basket_id, row.name_pattern, row.content_type, row.document_type, row.priority
    )
