"""Results: one per sample and analysis asked for, how its value came about, and who verified it.

Values are encrypted. What was concluded from a value - its flag and the range it was held against - is in clear, so
that worklists can be sorted by it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import UID_LENGTH, LabRecord, one_of
from beak_lims.models.encrypted import EncryptedText
from beak_lims.models.sample import WORKLIST
from beak_lims.models.snapshot import Snapshotted
from beak_lims.workflow.results import ResultState

# Written many at once, and nobody asks at once when they were made: without the answer an insert is shorter.
NOT_READ_BACK = {"eager_defaults": False}


class Flag(StrEnum):
    """What a result is by the range it was judged by."""

    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"
    CRITICAL_LOW = "critical_low"
    CRITICAL_HIGH = "critical_high"
    ABNORMAL = "abnormal"  # a text that the range names as worth a warning, or not the normal one


class Step(StrEnum):
    """What changed a value on the way from what was entered to what is reported, or put it aside."""

    CORRECTION = "correction"
    SPECIFICATION = "specification"
    DETECTION_LIMIT = "detection_limit"
    UNCERTAINTY = "uncertainty"
    RETEST = "retest"  # it is not reported any more, another value is to be found
    REJUDGEMENT = "rejudgement"  # the steps begin again, by another copy of the set-up


class AnalysisResult(Snapshotted, LabRecord):
    """A result. A retest is the child of the result it takes the place of.

    ``entered`` is the value as it was typed in or measured, ``result`` the one that is reported. ``judgement`` holds
    the range, the unit and the sex and age by which it was judged.
    """

    __tablename__ = "analysis_result"
    __mapper_args__ = NOT_READ_BACK
    __table_args__ = (
        one_of("status", ResultState),
        one_of("flag", Flag),
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("parent_uid <> uid", name="parent_uid"),
        CheckConstraint("(worksheet_uid IS NULL) = (worksheet_position IS NULL)", name="worksheet"),
        Index("ix_analysis_result_worklist", "laboratory_uid", "status", *map(text, WORKLIST)),
        Index("ix_analysis_result_analysis", "analysis_uid", "laboratory_uid", "status", *map(text, WORKLIST)),
        UniqueConstraint("worksheet_uid", "worksheet_position"),
    )

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # first in an index above
    sample_uid: Mapped[str] = mapped_column(ForeignKey("sample.uid"), index=True)
    analysis_uid: Mapped[str] = mapped_column(ForeignKey("analysis.uid"))
    parent_uid: Mapped[str | None] = mapped_column(ForeignKey("analysis_result.uid"), index=True)
    method_uid: Mapped[str | None] = mapped_column(ForeignKey("method.uid"))
    laboratory_instrument_uid: Mapped[str | None] = mapped_column(ForeignKey("laboratory_instrument.uid"))
    status: Mapped[str] = mapped_column(String(16), server_default=ResultState.PENDING)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # its sample's
    due_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    entered: Mapped[str | None] = mapped_column(EncryptedText)
    result: Mapped[str | None] = mapped_column(EncryptedText)
    note: Mapped[str | None] = mapped_column(EncryptedText)
    flag: Mapped[str | None] = mapped_column(String(16))
    judgement: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    interims: Mapped[str | None] = mapped_column(EncryptedText)  # JSON: the interims' keys and their values
    analyst_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    submitted_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_submitted: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    date_verified: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancelled_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_cancelled: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    invalidated_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_invalidated: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retest: Mapped[bool] = mapped_column(Boolean, server_default=false())
    reportable: Mapped[bool] = mapped_column(Boolean, server_default=true())
    reflex_level: Mapped[int] = mapped_column(Integer, server_default="0")
    worksheet_uid: Mapped[str | None] = mapped_column(ForeignKey("worksheet.uid"))
    worksheet_position: Mapped[int | None] = mapped_column(Integer)


class ResultMutation(LabRecord):
    """One step from the value that was entered to the one that is reported; ``ordinal`` counts from 1."""

    __tablename__ = "result_mutation"
    __mapper_args__ = NOT_READ_BACK
    __table_args__ = (one_of("step", Step),)

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # found by its result
    analysis_result_uid: Mapped[str] = mapped_column(ForeignKey("analysis_result.uid"), index=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger)
    step: Mapped[str] = mapped_column(String(16))
    before: Mapped[str | None] = mapped_column(EncryptedText)
    after: Mapped[str | None] = mapped_column(EncryptedText)
    why: Mapped[str] = mapped_column(EncryptedText)


class ResultVerification(LabRecord):
    """That one person verified a result; the same person cannot verify it twice."""

    __tablename__ = "result_verification"
    __mapper_args__ = NOT_READ_BACK
    __table_args__ = (UniqueConstraint("analysis_result_uid", "user_uid"),)

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # found by its result
    analysis_result_uid: Mapped[str] = mapped_column(ForeignKey("analysis_result.uid"))
    user_uid: Mapped[str] = mapped_column(ForeignKey("user.uid"), index=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger)
