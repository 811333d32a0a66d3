"""Why samples are rejected, in the organisation's words."""

from __future__ import annotations

from sqlalchemy import Boolean, String, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record


class RejectionReason(Record):
    """A reason."""

    __tablename__ = "rejection_reason"

    reason: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
