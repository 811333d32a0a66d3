"""Analyses: what the laboratories of the organisation measure, and the rules by which a result is judged.

The rules are what is set up now. A result is judged by the copy that was frozen with it, never by these rows.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, String, Text, UniqueConstraint, false, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.analysis_category import AnalysisCategory
from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Figure, Record, link, one_of
from beak_lims.models.department import Department
from beak_lims.models.instrument import Instrument
from beak_lims.models.method import Method
from beak_lims.models.patient import Gender
from beak_lims.models.sample_type import SampleType
from beak_lims.models.unit import Unit

analysis_sample_type = link("analysis_sample_type", "analysis", "sample_type")
analysis_method = link("analysis_method", "analysis", "method")
analysis_instrument = link("analysis_instrument", "analysis", "instrument")
result_option_sample_type = link("result_option_sample_type", "result_option", "sample_type")


class ResultType(StrEnum):
    """What a result is."""

    NUMERIC = "numeric"
    SHORT_TEXT = "short_text"
    LONG_TEXT = "long_text"
    SELECT_LIST = "select_list"  # one of the analysis's options
    MULTI_SELECT_LIST = "multi_select_list"  # some of them


class AgeUnit(StrEnum):
    """In what ``age_min`` and ``age_max`` of a specification count."""

    DAYS = "days"
    MONTHS = "months"
    YEARS = "years"


class Analysis(Record):
    """A test."""

    __tablename__ = "analysis"
    __table_args__ = (
        one_of("result_type", ResultType),
        CheckConstraint("required_verifications BETWEEN 1 AND 5", name="required_verifications"),
        CheckConstraint("precision BETWEEN 0 AND 8", name="precision"),
        CheckConstraint("tat_length_minutes > 0", name="tat_length_minutes"),
    )

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    keyword: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    unit_uid: Mapped[str | None] = mapped_column(ForeignKey("unit.uid"), index=True)
    category_uid: Mapped[str | None] = mapped_column(ForeignKey("analysis_category.uid"), index=True)
    department_uid: Mapped[str | None] = mapped_column(ForeignKey("department.uid"), index=True)
    result_type: Mapped[str] = mapped_column(String(32), server_default=ResultType.NUMERIC)
    precision: Mapped[int] = mapped_column(Integer, server_default="2")  # digits after the point, as printed
    tat_length_minutes: Mapped[int] = mapped_column(Integer, server_default="1440")
    sort_key: Mapped[int] = mapped_column(Integer, server_default="1")
    required_verifications: Mapped[int] = mapped_column(Integer, server_default="1")
    self_verification: Mapped[bool] = mapped_column(Boolean, server_default=false())
    allow_multiple_results: Mapped[bool] = mapped_column(Boolean, server_default=false())
    hidden: Mapped[bool] = mapped_column(Boolean, server_default=false())  # not printed on reports
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())

    unit: Mapped[Unit | None] = relationship()
    category: Mapped[AnalysisCategory | None] = relationship()
    department: Mapped[Department | None] = relationship()
    sample_types: Mapped[list[SampleType]] = relationship(secondary=analysis_sample_type, order_by=SampleType.name)
    methods: Mapped[list[Method]] = relationship(secondary=analysis_method, order_by=Method.name)
    instruments: Mapped[list[Instrument]] = relationship(secondary=analysis_instrument, order_by=Instrument.name)
    specifications: Mapped[list[Specification]] = relationship(order_by="Specification.uid")
    detection_limits: Mapped[list[DetectionLimit]] = relationship(order_by="DetectionLimit.uid")
    uncertainties: Mapped[list[Uncertainty]] = relationship(order_by="Uncertainty.uid")
    correction_factors: Mapped[list[CorrectionFactor]] = relationship(order_by="CorrectionFactor.uid")
    interims: Mapped[list[Interim]] = relationship(order_by="Interim.key")
    result_options: Mapped[list[ResultOption]] = relationship(order_by="ResultOption.key")


class Specification(Record):
    """A range of one analysis: for whom, by which method, and what is said of a value outside of it.

    ``min`` to ``max`` is normal; below ``min_warn`` or above ``max_warn`` is critical, and reported as ``min_report``
    or ``max_report`` where those are given. A text result that equals one of ``warn_values`` is reported as
    ``warn_report``. A null of unit, method, gender or age fits all; a range in another unit than the analysis's is held
    against no result, for nothing is converted.
    """

    __tablename__ = "specification"
    __table_args__ = (
        one_of("gender", (Gender.MALE, Gender.FEMALE)),
        one_of("age_unit", AgeUnit),
        CheckConstraint("age_min <= age_max", name="ages"),
        CheckConstraint('"min" <= "max"', name="limits"),
    )

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"), index=True)
    unit_uid: Mapped[str | None] = mapped_column(ForeignKey("unit.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"), index=True)
    min: Mapped[Decimal | None] = mapped_column(Figure)
    max: Mapped[Decimal | None] = mapped_column(Figure)
    min_warn: Mapped[Decimal | None] = mapped_column(Figure)
    max_warn: Mapped[Decimal | None] = mapped_column(Figure)
    min_report: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    max_report: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    normal_value: Mapped[str | None] = mapped_column(String(NAME_LENGTH))  # of a text result
    warn_values: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'::jsonb"))
    warn_report: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    gender: Mapped[str | None] = mapped_column(String(16))
    age_min: Mapped[int | None] = mapped_column(Integer)  # completed units, inclusive
    age_max: Mapped[int | None] = mapped_column(Integer)  # completed units, inclusive
    age_unit: Mapped[str] = mapped_column(String(16), server_default=AgeUnit.YEARS)


class DetectionLimit(Record):
    """Below ``lower`` and above ``upper`` nothing is measured: it is reported as ``< lower`` or ``> upper``."""

    __tablename__ = "detection_limit"

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"), index=True)
    instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("instrument.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"), index=True)
    lower: Mapped[Decimal | None] = mapped_column(Figure)
    upper: Mapped[Decimal | None] = mapped_column(Figure)


class Uncertainty(Record):
    """A value from ``min`` to ``max`` is uncertain by ``value``: reported as ``v +/- value``."""

    __tablename__ = "uncertainty"

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"), index=True)
    instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("instrument.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"), index=True)
    min: Mapped[Decimal] = mapped_column(Figure)
    max: Mapped[Decimal] = mapped_column(Figure)
    value: Mapped[Decimal] = mapped_column(Figure)


class CorrectionFactor(Record):
    """What a measured value is multiplied with."""

    __tablename__ = "correction_factor"

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"), index=True)
    instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("instrument.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"), index=True)
    factor: Mapped[Decimal] = mapped_column(Figure)


class Interim(Record):
    """A value that is written down on the way to the result, such as a reading or a dilution."""

    __tablename__ = "interim"
    __table_args__ = (UniqueConstraint("analysis_uid", "key"),)

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"))
    key: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(String(NAME_LENGTH))
    instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("instrument.uid"), index=True)


class ResultOption(Record):
    """A value that a result of a list may have; without sample types it is offered for all."""

    __tablename__ = "result_option"
    __table_args__ = (UniqueConstraint("analysis_uid", "key"),)

    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid", ondelete="CASCADE"))
    key: Mapped[int] = mapped_column(Integer)
    value: Mapped[str] = mapped_column(String(NAME_LENGTH))

    sample_types: Mapped[list[SampleType]] = relationship(secondary=result_option_sample_type, order_by=SampleType.name)
