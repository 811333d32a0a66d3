"""Categories, by which lists and reports order the analyses of a department."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record


class AnalysisCategory(Record):
    """A heading for analyses."""

    __tablename__ = "analysis_category"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    department_uid: Mapped[str | None] = mapped_column(ForeignKey("department.uid"), index=True)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
