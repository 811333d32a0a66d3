"""The departments of the organisation; all its laboratories share them."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record


class Department(Record):
    """A field of laboratory work, such as haematology."""

    __tablename__ = "department"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
