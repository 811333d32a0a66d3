"""Requests that came with a key of their own, and what they were answered: made twice, such a request is done once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import Base
from beak_lims.models.encrypted import EncryptedText


class AnsweredRequest(Base):
    """A request under its key, of which a hash is kept. The answer may hold personal data, so it is encrypted."""

    __tablename__ = "answered_request"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the user, the laboratory and the key
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the request
    status: Mapped[int | None] = mapped_column(SmallInteger)
    answer: Mapped[str | None] = mapped_column(EncryptedText)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
