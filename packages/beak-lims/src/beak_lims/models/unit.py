"""Units of measured values."""

from __future__ import annotations

from sqlalchemy import Boolean, String, false
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, Record


class Unit(Record):
    """A unit, by the symbol that reports print: ``mmol/L``."""

    __tablename__ = "unit"

    name: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    is_si_unit: Mapped[bool] = mapped_column(Boolean, server_default=false())
