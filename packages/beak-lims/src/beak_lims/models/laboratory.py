"""The laboratories of the organisation, each with one row of settings; the wall inside a tenant stands between them."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String, Text, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import EMAIL_LENGTH, NAME_LENGTH, Record


class Laboratory(Record):
    """A laboratory; its name is unique within its organisation."""

    __tablename__ = "laboratory"
    __table_args__ = (UniqueConstraint("organization_uid", "name"),)

    organization_uid: Mapped[str] = mapped_column(ForeignKey("organization.uid"))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    code: Mapped[str | None] = mapped_column(String(64))
    # use_alter: a user names the laboratory at work and a laboratory names its manager, so one of the two keys comes
    # after both tables.
    lab_manager_uid: Mapped[str | None] = mapped_column(
        ForeignKey("user.uid", ondelete="SET NULL", use_alter=True), index=True
    )
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(String(NAME_LENGTH))


class LaboratorySetting(Record):
    """How one laboratory works.

    The last nine columns override the organisation's setting of that name; null means: as the organisation.
    """

    __tablename__ = "laboratory_setting"

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid", ondelete="CASCADE"), unique=True)
    allow_self_verification: Mapped[bool] = mapped_column(Boolean, server_default=false())
    allow_patient_registration: Mapped[bool] = mapped_column(Boolean, server_default=true())
    allow_sample_registration: Mapped[bool] = mapped_column(Boolean, server_default=true())
    allow_worksheet_creation: Mapped[bool] = mapped_column(Boolean, server_default=true())
    auto_receive_samples: Mapped[bool] = mapped_column(Boolean, server_default=true())
    sticker_copies: Mapped[int] = mapped_column(Integer, server_default="2")
    default_tat_minutes: Mapped[int] = mapped_column(Integer, server_default="1440")
    default_route: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    default_theme: Mapped[str | None] = mapped_column(String(64))
    password_lifetime: Mapped[int | None] = mapped_column(Integer)  # days
    inactivity_log_out: Mapped[int | None] = mapped_column(Integer)  # minutes
    allow_billing: Mapped[bool | None] = mapped_column(Boolean)
    allow_auto_billing: Mapped[bool | None] = mapped_column(Boolean)
    process_billed_only: Mapped[bool | None] = mapped_column(Boolean)
    min_payment_status: Mapped[str | None] = mapped_column(String(16))
    min_partial_percentage: Mapped[int | None] = mapped_column(Integer)
    currency: Mapped[str | None] = mapped_column(String(3))  # ISO 4217
    payment_terms_days: Mapped[int | None] = mapped_column(Integer)
