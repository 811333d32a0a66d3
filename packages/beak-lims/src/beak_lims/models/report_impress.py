"""The reports that were issued: each a PDF that never changes, numbered per sample."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, DateTime, ForeignKey, Integer, String, UniqueConstraint, false, func
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, UID_LENGTH, LabRecord, one_of
from beak_lims.models.encrypted import EncryptedText


class ReportState(StrEnum):
    """What a report is worth."""

    PRELIMINARY = "preliminary"  # some results are not approved yet
    FINAL = "final"
    AMENDED = "amended"  # takes the place of an earlier one
    INVALIDATED = "invalidated"  # must not be used; an amended one takes its place


class ReportImpress(LabRecord):
    """One issue of a sample's report. ``issue`` counts from 1 for each sample.

    ``state`` turns to ``invalidated`` when the sample does, and nothing else of a report changes but what tells that it
    was printed or sent. ``content`` is
    the JSON from which the PDF was printed, ``pdf`` the PDF in base64; both are encrypted, they name the patient.
    """

    __tablename__ = "report_impress"
    __table_args__ = (
        UniqueConstraint("sample_uid", "issue"),
        one_of("state", ReportState),
        CheckConstraint("issue > 0", name="issue"),
    )

    sample_uid: Mapped[str] = mapped_column(ForeignKey("sample.uid"))
    issue: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    supersedes_uid: Mapped[str | None] = mapped_column(ForeignKey("report_impress.uid"), index=True)
    reason: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    content: Mapped[str] = mapped_column(EncryptedText, info={"audited": False})
    pdf: Mapped[str] = mapped_column(EncryptedText, info={"audited": False})
    pdf_sha256: Mapped[str] = mapped_column(String(64))
    pages: Mapped[int] = mapped_column(Integer)
    generated_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    date_generated: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    date_invalidated: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    printed: Mapped[bool] = mapped_column(Boolean, server_default=false())
    email_sent: Mapped[bool] = mapped_column(Boolean, server_default=false())
    sms_sent: Mapped[bool] = mapped_column(Boolean, server_default=false())
