"""Tables beside the eleven: which processor works on which documents, and who may come in over HTTP."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from docex.models.tables import Base, new_id, now


class RuleRow(Base):
    """Documents that a processor is to work on: those that meet every condition that is set."""

    __tablename__ = "processing_rule"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: new_id("rul"))
    processor_id: Mapped[str] = mapped_column(String(36), ForeignKey("processors.id", ondelete="CASCADE"))
    basket_id: Mapped[str | None] = mapped_column(String(36), ForeignKey("docbasket.id", ondelete="CASCADE"))
    name_pattern: Mapped[str | None] = mapped_column(String(255))  # as a shell's: *.pdf; letter case does not matter
    content_type: Mapped[str | None] = mapped_column(String(100))
    document_type: Mapped[str | None] = mapped_column(String(50))
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # the highest first
    created_at: Mapped[datetime] = mapped_column(DateTime(), default=now)

    __table_args__ = (
        Index("ix_processing_rule_processor_id", "processor_id"),
        Index("ix_processing_rule_basket_id", "basket_id"),
    )


class TokenRow(Base):
    """A token with which a program works over HTTP. The token itself is kept nowhere."""

    __tablename__ = "api_token"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: new_id("tok"))
    name: Mapped[str] = mapped_column(String(255))
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the token, hexadecimal
    user_id: Mapped[str] = mapped_column(String(255))  # whose work it is
    roles: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(), default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_api_token_digest", "digest", unique=True),)
