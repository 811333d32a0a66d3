"""Requests: what a client asks to have analysed of one patient, and what is known of the case."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ForeignKey, String, UniqueConstraint, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, LabRecord
from beak_lims.models.encrypted import EncryptedText
from beak_lims.models.snapshot import Snapshotted


class AnalysisRequest(Snapshotted, LabRecord):
    """A request; its samples name it. ``client_request_id`` is the client's own number for it."""

    __tablename__ = "analysis_request"
    __table_args__ = (UniqueConstraint("laboratory_uid", "client_request_id"),)

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # first in an index above
    request_id: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    client_request_id: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    patient_uid: Mapped[str] = mapped_column(ForeignKey("patient.uid"), index=True)
    client_uid: Mapped[str] = mapped_column(ForeignKey("client.uid"), index=True)
    client_contact_uid: Mapped[str | None] = mapped_column(ForeignKey("client_contact.uid"), index=True)
    is_billed: Mapped[bool] = mapped_column(Boolean, server_default=false())
    is_locked: Mapped[bool] = mapped_column(Boolean, server_default=false())
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())


class ClinicalData(LabRecord):
    """What the clinician tells of the case. Free text is encrypted: it may name the patient."""

    __tablename__ = "clinical_data"

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # found by its request
    analysis_request_uid: Mapped[str] = mapped_column(
        ForeignKey("analysis_request.uid", ondelete="CASCADE"), unique=True
    )
    clinical_indication: Mapped[str | None] = mapped_column(EncryptedText)
    treatment_notes: Mapped[str | None] = mapped_column(EncryptedText)
    symptoms: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'::jsonb"))
    pregnancy: Mapped[bool | None] = mapped_column(Boolean)
    breast_feeding: Mapped[bool | None] = mapped_column(Boolean)
    vitals: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    codings: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'::jsonb"))
