"""Codes of published standards, such as LOINC, for what the laboratory calls by its own names."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Record


class CodingStandard(Record):
    """A published system of codes."""

    __tablename__ = "coding_standard"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)


class SampleTypeCoding(Record):
    """A sample type's code in one standard."""

    __tablename__ = "sample_type_coding"
    __table_args__ = (UniqueConstraint("sample_type_uid", "coding_standard_uid", "code"),)

    sample_type_uid: Mapped[str] = mapped_column(ForeignKey("sample_type.uid", ondelete="CASCADE"))
    coding_standard_uid: Mapped[str] = mapped_column(ForeignKey("coding_standard.uid"), index=True)
    code: Mapped[str] = mapped_column(String(CODE_LENGTH))
    name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))


class AnalysisCoding(Record):
    """An analysis's code in one standard."""

    __tablename__ = "analysis_coding"
    __table_args__ = (UniqueConstraint("analysis_uid", "coding_standard_uid", "code"),)

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"))
    coding_standard_uid: Mapped[str] = mapped_column(ForeignKey("coding_standard.uid"), index=True)
    code: Mapped[str] = mapped_column(String(CODE_LENGTH))
    name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
