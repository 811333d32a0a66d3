"""Quality control: levels, templates of runs, runs, and what the control material should give."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import Boolean, CheckConstraint, Date, ForeignKey, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Figure, LabRecord, link

qc_template_level = link("qc_template_level", "qc_template", "qc_level")
qc_template_department = link("qc_template_department", "qc_template", "department")


class QCLevel(LabRecord):
    """A kind of control, such as blank, negative, low or high."""

    __tablename__ = "qc_level"
    __table_args__ = (UniqueConstraint("laboratory_uid", "name"),)

    name: Mapped[str] = mapped_column(String(NAME_LENGTH))


class QCTemplate(LabRecord):
    """The controls that are run together."""

    __tablename__ = "qc_template"
    __table_args__ = (UniqueConstraint("laboratory_uid", "name"),)

    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(Text)

    levels: Mapped[list[QCLevel]] = relationship(secondary=qc_template_level, order_by=QCLevel.name)


class QCSet(LabRecord):
    """One run of control samples."""

    __tablename__ = "qc_set"

    name: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    note: Mapped[str | None] = mapped_column(Text)


class QCReference(LabRecord):
    """What one lot of control material of a level should give for an analysis.

    A figure from ``min`` to ``max`` passes; a text passes if it equals ``expected``.
    """

    __tablename__ = "qc_reference"
    __table_args__ = (
        UniqueConstraint("qc_level_uid", "analysis_uid", "lot"),
        CheckConstraint('"min" <= "max"', name="limits"),
    )

    qc_level_uid: Mapped[str] = mapped_column(ForeignKey("qc_level.uid"))
    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid"), index=True)
    lot: Mapped[str] = mapped_column(String(CODE_LENGTH))
    expected: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    min: Mapped[Decimal | None] = mapped_column(Figure)
    max: Mapped[Decimal | None] = mapped_column(Figure)
    expires: Mapped[date | None] = mapped_column(Date)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
