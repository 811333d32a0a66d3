"""Who sells instruments and consumables, and who makes them."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record


class Supplier(Record):
    """A seller."""

    __tablename__ = "supplier"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)


class Manufacturer(Record):
    """A maker."""

    __tablename__ = "manufacturer"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
