"""Who publishes breakpoints, and the years of their tables."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record
from beak_lims.models.catalog import SHORT_CODE


class Guideline(Record):
    """A body whose breakpoints are in use, such as EUCAST or CLSI."""

    __tablename__ = "guideline"

    code: Mapped[str] = mapped_column(String(SHORT_CODE), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))


class GuidelineYear(Record):
    """One year's edition of a guideline."""

    __tablename__ = "guideline_year"
    __table_args__ = (UniqueConstraint("guideline_uid", "year"),)

    guideline_uid: Mapped[str] = mapped_column(ForeignKey("guideline.uid"))
    year: Mapped[int] = mapped_column(Integer)
