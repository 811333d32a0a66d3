"""The eleven tables of a tenant that the documents' rows live in, the same on PostgreSQL and SQLite.

Names are unqualified: the connection decides whose tables they are. Times are UTC in columns without a zone. The
migrations make these tables; a test keeps both equal.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# How much of a metadata value its index holds: PostgreSQL refuses index entries over 2,704 bytes, and values have no
# limit.
INDEXED_VALUE = 256  # characters


# SQLite has one kind of integer, of up to 64 bits.
Big = BigInteger().with_variant(Integer, "sqlite")
# Compared byte by byte, so that an index on it serves prefixes and ranges whatever language the database speaks.
Bytewise = String(INDEXED_VALUE).with_variant(String(INDEXED_VALUE, collation="C"), "postgresql")


def new_id(prefix: str) -> str:
    """A new identifier: three letters that name the table, and 32 hexadecimal digits.

    The first half is the time, so that new rows lie side by side in the index however many there are; the second half
    is random.
    """
    return f"{prefix}_{time.time_ns():016x}{os.urandom(8).hex()}"


def now() -> datetime:
    """The present time as the tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """Base of the tables of one tenant."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(), dict[str, Any]: JSON()}


def _identifier(prefix: str) -> Mapped[str]:
    return mapped_column(String(36), primary_key=True, default=_maker(prefix))


def _maker(prefix: str) -> Callable[[], str]:
    return lambda: new_id(prefix)


def _created() -> Mapped[datetime]:
    return mapped_column(DateTime(), default=now)


def _updated() -> Mapped[datetime]:
    return mapped_column(DateTime(), default=now, onupdate=now)


def _user() -> Mapped[str | None]:
    return mapped_column(String(255))


def _only(column: str) -> dict[str, Any]:
    """For an index of the rows in which a column has a value."""
    condition = text(f"{column} IS NOT NULL")
    return {"postgresql_where": condition, "sqlite_where": condition}


class BasketRow(Base):
    """A named collection of documents."""

    __tablename__ = "docbasket"

    id: Mapped[str] = _identifier("bas")
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    storage_config: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(50), default="active", server_default="active")
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()
    created_by: Mapped[str | None] = _user()
    updated_by: Mapped[str | None] = _user()

    __table_args__ = (
        UniqueConstraint("name"),
        Index("ix_docbasket_status", "status"),
        Index("ix_docbasket_created_at", created_at.desc()),
    )


class DocumentRow(Base):
    """A document: where it came from, where its content lies, and its text if it has any."""

    __tablename__ = "document"

    id: Mapped[str] = _identifier("doc")
    basket_id: Mapped[str] = mapped_column(String(36), ForeignKey("docbasket.id"))
    name: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str | None] = mapped_column(String(100))
    document_type: Mapped[str] = mapped_column(String(50), default="file", server_default="file")
    content: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    raw_content: Mapped[str | None] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(Big)
    checksum: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(50), default="active", server_default="active")
    processing_attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()
    created_by: Mapped[str | None] = _user()
    updated_by: Mapped[str | None] = _user()
    version: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    # Which storage keeps the content; see ContentRow. None: a release before 0002 keeps it under `path` itself.
    place: Mapped[str | None] = mapped_column(String(255))
    # A hash of checksum and source, by which a file that comes again is known; None when another document has it.
    dedup_key: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        Index("ix_document_basket_id", "basket_id"),
        Index("ix_document_document_type", "document_type"),
        Index("ix_document_status", "status"),
        Index("ix_document_basket_id_status", "basket_id", "status"),
        Index("ix_document_basket_id_document_type", "basket_id", "document_type"),
        Index("ix_document_basket_id_created_at", "basket_id", created_at.desc()),
        Index("ix_document_basket_id_updated_at", "basket_id", updated_at.desc()),
        Index("ix_document_basket_id_name", "basket_id", "name"),
        Index("ix_document_basket_id_checksum", "basket_id", "checksum"),
        # Unique, so that one file added twice at once is one document without a lock on the basket.
        Index("ix_document_dedup_key_basket_id", "dedup_key", "basket_id", unique=True),
    )


class MetadataRow(Base):
    """One key of a document's metadata; the value is JSON text."""

    __tablename__ = "document_metadata"

    id: Mapped[str] = _identifier("dmt")
    document_id: Mapped[str] = mapped_column(String(36), ForeignKey("document.id"))
    key: Mapped[str] = mapped_column(String(255))
    value: Mapped[str] = mapped_column(Text)
    metadata_type: Mapped[str] = mapped_column(String(50), default="custom", server_default="custom")
    coordination_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()
    updated_by: Mapped[str | None] = _user()
    # The value again in a form that can be compared: a JSON number, or the start of a JSON text.
    number: Mapped[float | None] = mapped_column(Double())
    word: Mapped[str | None] = mapped_column(Bytewise)

    __table_args__ = (
        Index("ix_document_metadata_document_id", "document_id"),
        Index("ix_document_metadata_key", "key"),
        Index("ix_document_metadata_metadata_type", "metadata_type"),
        # Unique, so that two updates of one key at once cannot leave it with two values.
        Index("ix_document_metadata_document_id_key", "document_id", "key", unique=True),
        Index("ix_document_metadata_key_value", "key", func.substr(value, 1, INDEXED_VALUE)),
        Index("ix_document_metadata_key_number", "key", "number", **_only("number")),
        Index("ix_document_metadata_key_word", "key", "word", **_only("word")),
    )


class FileHistoryRow(Base):
    """One version of a document's content, oldest first."""

    __tablename__ = "file_history"

    id: Mapped[str] = _identifier("fhi")
    document_id: Mapped[str] = mapped_column(String(36), ForeignKey("document.id"))
    original_path: Mapped[str | None] = mapped_column(Text)
    internal_path: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    version: Mapped[int | None] = mapped_column(Integer)  # counted from 1
    place: Mapped[str | None] = mapped_column(String(255))  # as in DocumentRow
    checksum: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None] = mapped_column(Big)
    user_id: Mapped[str | None] = _user()

    __table_args__ = (Index("ix_file_history_document_id", "document_id"),)


class OperationRow(Base):
    """Something that was done with a document."""

    __tablename__ = "operations"

    id: Mapped[str] = _identifier("ope")
    document_id: Mapped[str] = mapped_column(String(36), ForeignKey("document.id", ondelete="CASCADE"))
    operation_type: Mapped[str] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(50))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    completed_at: Mapped[datetime | None]
    user_id: Mapped[str | None] = _user()

    __table_args__ = (
        Index("ix_operations_document_id", "document_id"),
        Index("ix_operations_operation_type", "operation_type"),
        Index("ix_operations_status", "status"),
    )


class OperationDependencyRow(Base):
    """An operation that waits for another."""

    __tablename__ = "operation_dependencies"

    id: Mapped[str] = _identifier("odp")
    operation_id: Mapped[str] = mapped_column(String(36), ForeignKey("operations.id", ondelete="CASCADE"))
    depends_on: Mapped[str] = mapped_column(String(36), ForeignKey("operations.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = _created()

    __table_args__ = (
        UniqueConstraint("operation_id", "depends_on"),
        Index("ix_operation_dependencies_operation_id", "operation_id"),
        Index("ix_operation_dependencies_depends_on", "depends_on"),
    )


class EventRow(Base):
    """Something that happened in a basket and waits to be processed."""

    __tablename__ = "doc_events"

    id: Mapped[str] = _identifier("evt")
    basket_id: Mapped[str] = mapped_column(String(36), ForeignKey("docbasket.id", ondelete="CASCADE"))
    document_id: Mapped[str | None] = mapped_column(String(36), ForeignKey("document.id", ondelete="NO ACTION"))
    event_type: Mapped[str] = mapped_column(String(50))
    event_timestamp: Mapped[datetime] = mapped_column(DateTime(), default=now)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    source: Mapped[str] = mapped_column(String(50), default="docex", server_default="docex")
    status: Mapped[str] = mapped_column(String(20), default="PENDING", server_default="PENDING")
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()
    user_id: Mapped[str | None] = _user()
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    claimed_by: Mapped[str | None] = mapped_column(String(255))
    claimed_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")

    __table_args__ = (
        Index("ix_doc_events_basket_id", "basket_id"),
        Index("ix_doc_events_event_type", "event_type"),
        Index("ix_doc_events_document_id", "document_id"),
        Index("ix_doc_events_event_timestamp", "event_timestamp"),
        Index("ix_doc_events_status", "status"),
        Index("ix_doc_events_idempotency_key", "idempotency_key", unique=True),
    )


class ProcessorRow(Base):
    """A processor that may work on documents."""

    __tablename__ = "processors"

    id: Mapped[str] = _identifier("prc")
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(50))
    description: Mapped[str | None] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = (UniqueConstraint("name"),)


class ProcessingOperationRow(Base):
    """One run of a processor on a document."""

    __tablename__ = "processing_operations"

    id: Mapped[str] = _identifier("pop")
    document_id: Mapped[str] = mapped_column(String(36), ForeignKey("document.id", ondelete="CASCADE"))
    processor_id: Mapped[str] = mapped_column(String(36), ForeignKey("processors.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(20))
    input_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    output_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    completed_at: Mapped[datetime | None]
    user_id: Mapped[str | None] = _user()

    __table_args__ = (Index("ix_processing_operations_document_id", "document_id"),)


class RouteRow(Base):
    """A way to bring documents somewhere or fetch them."""

    __tablename__ = "transport_routes"

    id: Mapped[str] = _identifier("rt")
    name: Mapped[str] = mapped_column(String(255))
    purpose: Mapped[str] = mapped_column(String(50))
    protocol: Mapped[str] = mapped_column(String(50))
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    can_upload: Mapped[bool] = mapped_column(Boolean)
    can_download: Mapped[bool] = mapped_column(Boolean)
    can_list: Mapped[bool] = mapped_column(Boolean)
    can_delete: Mapped[bool] = mapped_column(Boolean)
    other_party_id: Mapped[str | None] = mapped_column(String(255))
    other_party_name: Mapped[str | None] = mapped_column(String(255))
    other_party_type: Mapped[str | None] = mapped_column(String(50))
    route_metadata: Mapped[dict[str, Any]] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(JSON)
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    enabled: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = (UniqueConstraint("name"),)


class RouteOperationRow(Base):
    """One use of a route."""

    __tablename__ = "route_operations"

    id: Mapped[str] = _identifier("op")
    route_id: Mapped[str] = mapped_column(String(36), ForeignKey("transport_routes.id", ondelete="CASCADE"))
    operation_type: Mapped[str] = mapped_column(String(50))
    status: Mapped[str] = mapped_column(String(20))
    # No foreign key: what was sent stays on record when the document is deleted.
    document_id: Mapped[str | None] = mapped_column(String(255))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    completed_at: Mapped[datetime | None]
    user_id: Mapped[str | None] = _user()

    __table_args__ = (
        Index("ix_route_operations_route_id", "route_id"),
        Index("ix_route_operations_document_id", "document_id"),
    )


def table_of(model: type[Base]) -> Table:
    """The table of a model, for statements that are no work for the ORM."""
    return cast("Table", model.__table__)


metadata = Base.metadata
