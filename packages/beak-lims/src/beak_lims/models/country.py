"""Countries, the widest of the places that addresses name."""

from __future__ import annotations

from sqlalchemy import Boolean, String, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Record


class Country(Record):
    """A country; ``code`` is of ISO 3166 where the laboratory keeps to it."""

    __tablename__ = "country"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    code: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
