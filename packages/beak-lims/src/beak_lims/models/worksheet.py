"""Worksheets: results of one analysis worked on together, with control samples at reserved positions."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, UID_LENGTH, LabRecord, one_of
from beak_lims.workflow.worksheets import WorksheetState


class WorksheetTemplate(LabRecord):
    """How the worksheets of one analysis look.

    Positions count from 1, row by row or column by column. ``reserved`` maps positions to the QC levels that stand
    there; samples take the others.
    """

    __tablename__ = "worksheet_template"
    __table_args__ = (
        UniqueConstraint("laboratory_uid", "name"),
        CheckConstraint('"rows" BETWEEN 1 AND 100 AND cols BETWEEN 1 AND 100', name="size"),
    )

    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(Text)
    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid"), index=True)
    sample_type_uid: Mapped[str | None] = mapped_column(ForeignKey("sample_type.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"), index=True)
    laboratory_instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("laboratory_instrument.uid"), index=True)
    qc_template_uid: Mapped[str | None] = mapped_column(ForeignKey("qc_template.uid"), index=True)
    rows: Mapped[int] = mapped_column(Integer)
    cols: Mapped[int] = mapped_column(Integer)
    row_wise: Mapped[bool] = mapped_column(Boolean, server_default=true())
    reserved: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())


class Worksheet(LabRecord):
    """One worksheet, as its template was when it was made."""

    __tablename__ = "worksheet"
    __table_args__ = (
        one_of("state", WorksheetState),
        Index("ix_worksheet_worklist", "laboratory_uid", "state", "uid"),
    )

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # first in an index above
    worksheet_id: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    worksheet_template_uid: Mapped[str] = mapped_column(ForeignKey("worksheet_template.uid"), index=True)
    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid"), index=True)
    sample_type_uid: Mapped[str | None] = mapped_column(ForeignKey("sample_type.uid"))
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"))
    laboratory_instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("laboratory_instrument.uid"))
    qc_set_uid: Mapped[str | None] = mapped_column(ForeignKey("qc_set.uid"), index=True)
    analyst_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    state: Mapped[str] = mapped_column(String(16), server_default=WorksheetState.EMPTY)
    positions: Mapped[int] = mapped_column(Integer)
    reserved: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    assigned_count: Mapped[int] = mapped_column(Integer, server_default="0")
