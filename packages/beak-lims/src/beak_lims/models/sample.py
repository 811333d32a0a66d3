"""Samples, what is to be analysed in them, and how one came of another.

Who did what is told by the user's key, which is no foreign key: see :mod:`beak_lims.models.base`.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, UID_LENGTH, LabRecord, link, one_of
from beak_lims.models.snapshot import Snapshotted
from beak_lims.workflow.samples import SampleState

sample_profile = link("sample_profile", "sample", "profile")
sample_analysis = link("sample_analysis", "sample", "analysis")
sample_rejection_reason = link("sample_rejection_reason", "sample", "rejection_reason")

# What the worklists are sorted by: the most urgent first, then those due soonest; all ascending, so that a page can
# begin where the last one ended.
WORKLIST = ("(- priority)", "due_date", "uid")


class Priority(IntEnum):
    """What is done first."""

    ROUTINE = 0
    URGENT = 1
    STAT = 2


class Relationship(StrEnum):
    """How a sample came of another."""

    ALIQUOT = "aliquot"
    DERIVED = "derived"
    CHILD = "child"
    POOL = "pool"
    MERGE = "merge"
    SPLIT = "split"
    OTHER = "other"


class Sample(Snapshotted, LabRecord):
    """A sample; ``parent_uid`` is the one it came of. A control sample belongs to no request but to a QC set."""

    __tablename__ = "sample"
    __table_args__ = (
        one_of("status", SampleState),
        one_of("relationship_type", Relationship),
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("parent_uid <> uid", name="parent_uid"),
        CheckConstraint("(analysis_request_uid IS NULL) = (qc_set_uid IS NOT NULL)", name="origin"),
        Index("ix_sample_worklist", "laboratory_uid", "status", *map(text, WORKLIST)),
    )

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # first in an index above
    sample_id: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    analysis_request_uid: Mapped[str | None] = mapped_column(ForeignKey("analysis_request.uid"), index=True)
    sample_type_uid: Mapped[str] = mapped_column(ForeignKey("sample_type.uid"), index=True)
    parent_uid: Mapped[str | None] = mapped_column(ForeignKey("sample.uid"), index=True)
    relationship_type: Mapped[str | None] = mapped_column(String(16))
    qc_set_uid: Mapped[str | None] = mapped_column(ForeignKey("qc_set.uid"), index=True)
    qc_level_uid: Mapped[str | None] = mapped_column(ForeignKey("qc_level.uid"), index=True)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    status: Mapped[str] = mapped_column(String(16))
    date_collected: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    due_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())
    printed: Mapped[bool] = mapped_column(Boolean, server_default=false())
    storage_location: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    received_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_received: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    submitted_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_submitted: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    verified_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_verified: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    published_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_published: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    printed_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_printed: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    invalidated_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_invalidated: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    invalidation_reason: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    cancelled_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_cancelled: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    rejected_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_rejected: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stored_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_stored: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SampleRelationship(LabRecord):
    """That a sample came of others besides its parent, as a pool does."""

    __tablename__ = "sample_relationship"
    __table_args__ = (
        UniqueConstraint("parent_uid", "child_uid"),
        one_of("relationship_type", Relationship),
        CheckConstraint("parent_uid <> child_uid", name="two_samples"),
    )

    parent_uid: Mapped[str] = mapped_column(ForeignKey("sample.uid"))
    child_uid: Mapped[str] = mapped_column(ForeignKey("sample.uid"), index=True)
    relationship_type: Mapped[str] = mapped_column(String(16))
