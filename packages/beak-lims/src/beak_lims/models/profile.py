"""Profiles: the panels of analyses that one laboratory offers under one name."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.analysis import Analysis
from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, LabRecord, link
from beak_lims.models.department import Department
from beak_lims.models.sample_type import SampleType

profile_analysis = link("profile_analysis", "profile", "analysis")
profile_sample_type = link("profile_sample_type", "profile", "sample_type")


class Profile(LabRecord):
    """A panel of analyses."""

    __tablename__ = "profile"
    __table_args__ = (
        UniqueConstraint("laboratory_uid", "name"),
        UniqueConstraint("laboratory_uid", "keyword"),
        CheckConstraint("tat_length_minutes > 0", name="tat_length_minutes"),
    )

    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    keyword: Mapped[str] = mapped_column(String(CODE_LENGTH))
    description: Mapped[str | None] = mapped_column(Text)
    tat_length_minutes: Mapped[int] = mapped_column(Integer, server_default="1440")
    department_uid: Mapped[str | None] = mapped_column(ForeignKey("department.uid"), index=True)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())

    department: Mapped[Department | None] = relationship()
    analyses: Mapped[list[Analysis]] = relationship(secondary=profile_analysis, order_by=Analysis.name)
    sample_types: Mapped[list[SampleType]] = relationship(secondary=profile_sample_type, order_by=SampleType.name)
