"""Tables beside the eleven: contents kept once, what a tenant uses and may use, searchable text, the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, String, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from docex.models.tables import Base, Big, new_id, now

USAGE_ID = 1  # of the only row of UsageRow


class ContentRow(Base):
    """Bytes that are kept once per storage, however many versions of documents hold them.

    ``refs`` counts the rows of ``file_history`` that do. A committed row with ``refs`` above 0 has its bytes in the
    storage; one with 0 is on its way out.
    """

    __tablename__ = "content"

    place: Mapped[str] = mapped_column(String(255), primary_key=True)  # which storage: Storage.place
    checksum: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256, hexadecimal
    key: Mapped[str] = mapped_column(Text)  # in that storage
    size: Mapped[int] = mapped_column(Big)  # bytes
    refs: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(), default=now)


class UsageRow(Base):
    """What the tenant holds, kept with every change, and what it may hold. One row.

    ``bytes`` counts every version of every document, also where the bytes are kept once.
    """

    __tablename__ = "usage"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    documents: Mapped[int] = mapped_column(Big)
    bytes: Mapped[int] = mapped_column(Big)
    max_documents: Mapped[int | None] = mapped_column(Big)  # None: no limit
    max_bytes: Mapped[int | None] = mapped_column(Big)


class TextRow(Base):
    """The searchable text of a document.

    ``body`` is None when it is the document's own ``raw_content``; a text that was extracted, or is cut, stands here.
    On PostgreSQL ``search`` holds its words, under an index that the migrations make; on SQLite the table
    ``document_fts`` does, under this row's ``id``.
    """

    __tablename__ = "document_text"

    id: Mapped[int] = mapped_column(Big, primary_key=True, autoincrement=True)
    document_id: Mapped[str] = mapped_column(String(36), ForeignKey("document.id", ondelete="CASCADE"))
    body: Mapped[str | None] = mapped_column(Text)
    search: Mapped[str | None] = mapped_column(Text().with_variant(TSVECTOR(), "postgresql"))

    __table_args__ = (Index("ix_document_text_document_id", "document_id", unique=True),)


class AuditRow(Base):
    """Who changed what. It outlives what it tells of, so it points at nothing by a foreign key."""

    __tablename__ = "audit_trail"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: new_id("aud"))
    happened_at: Mapped[datetime] = mapped_column(DateTime(), default=now)
    action: Mapped[str] = mapped_column(String(50))
    basket_id: Mapped[str | None] = mapped_column(String(36))
    document_id: Mapped[str | None] = mapped_column(String(36))
    user_id: Mapped[str | None] = mapped_column(String(255))
    user_email: Mapped[str | None] = mapped_column(String(255))
    attributes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (
        Index("ix_audit_trail_happened_at", "happened_at"),
        Index("ix_audit_trail_document_id", "document_id"),
    )
