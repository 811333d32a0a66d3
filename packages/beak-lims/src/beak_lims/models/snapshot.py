"""Frozen copies of set-up: what was in force when a patient, a request, a sample or a result was worked on.

The copies themselves are kept once each, under the hash of what they say; a version says which copy a row had when, by
whom and why. Both are added to and never changed. Nothing in a copy tells who a patient is.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, UID_LENGTH, Base, LabRecord, one_of

HASH_LENGTH = 64  # hexadecimal digits of SHA-256


class Subject(StrEnum):
    """What is copied for. The values are names of tables."""

    PATIENT = "patient"
    ANALYSIS_REQUEST = "analysis_request"
    SAMPLE = "sample"
    ANALYSIS_RESULT = "analysis_result"


class Occasion(StrEnum):
    """Why a version was taken."""

    REGISTRATION = "registration"
    CHANGE = "change"  # of the analyses asked for
    SUBMISSION = "submission"  # with the method and the instrument used
    RETEST = "retest"
    REFRESH = "refresh"
    HARD_REFRESH = "hard_refresh"
    REVERT = "revert"


class SnapshotContent(Base):
    """What a copy says, under the SHA-256 of its canonical JSON: figures are text, keys are sorted."""

    __tablename__ = "snapshot_content"

    hash: Mapped[str] = mapped_column(String(HASH_LENGTH), primary_key=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Snapshot(LabRecord):
    """One version of one row's copy.

    ``identity`` is what a report prints of who the patient is, each value as encrypted in the patient's row; requests
    alone have it. A subject is no foreign key: it is in one of four tables.
    """

    __tablename__ = "snapshot"
    __table_args__ = (
        UniqueConstraint("subject_uid", "version"),
        one_of("subject_type", Subject),
        one_of("occasion", Occasion),
        CheckConstraint("version > 0", name="version"),
        Index("ix_snapshot_run_uid", "run_uid", postgresql_where=text("run_uid IS NOT NULL")),
    )

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # found by its subject
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    version: Mapped[int] = mapped_column(Integer)
    content_hash: Mapped[str] = mapped_column(ForeignKey("snapshot_content.hash"))
    identity: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    occasion: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    taken_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    taken_by: Mapped[str] = mapped_column(String(NAME_LENGTH))  # a user's name, or the operator of a command
    run_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))  # of a refresh of many rows, which can be reverted


class Snapshotted:
    """Columns of a row that has copies: the one in force, and since when it cannot be replaced by a mere refresh."""

    snapshot_hash: Mapped[str] = mapped_column(ForeignKey("snapshot_content.hash"), sort_order=90)
    snapshot_version: Mapped[int] = mapped_column(Integer, server_default="1", sort_order=91)
    frozen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), sort_order=92)
