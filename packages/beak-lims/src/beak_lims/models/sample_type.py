"""Kinds of samples: blood, urine, a swab."""

from __future__ import annotations

from sqlalchemy import Boolean, String, Text, false, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Record


class SampleType(Record):
    """A kind of sample."""

    __tablename__ = "sample_type"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    abbr: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
