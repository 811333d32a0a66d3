"""The organisation a tenant is, and what it sets for all its laboratories.

A tenant is provisioned with one organisation, ``setup_name`` = ``beak``; the setup name is how commands select it.
"""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String, Text, false, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import EMAIL_LENGTH, NAME_LENGTH, Record
from beak_lims.models.place import Placed

DEFAULT_SETUP_NAME = "beak"


class Organization(Placed, Record):
    """A legal body that runs laboratories."""

    __tablename__ = "organization"

    setup_name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True, server_default=DEFAULT_SETUP_NAME)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    code: Mapped[str | None] = mapped_column(String(64))
    timezone: Mapped[str] = mapped_column(String(64), server_default="UTC")
    tag_line: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(Text)
    banking: Mapped[str | None] = mapped_column(Text)
    logo: Mapped[str | None] = mapped_column(Text)
    quality_statement: Mapped[str | None] = mapped_column(Text)


class OrganizationSetting(Record):
    """What holds for every laboratory of the organisation that does not set it otherwise."""

    __tablename__ = "organization_setting"

    organization_uid: Mapped[str] = mapped_column(ForeignKey("organization.uid", ondelete="CASCADE"), unique=True)
    password_lifetime: Mapped[int] = mapped_column(Integer, server_default="90")  # days
    inactivity_log_out: Mapped[int] = mapped_column(Integer, server_default="30")  # minutes
    allow_billing: Mapped[bool] = mapped_column(Boolean, server_default=false())
    allow_auto_billing: Mapped[bool] = mapped_column(Boolean, server_default=true())
    process_billed_only: Mapped[bool] = mapped_column(Boolean, server_default=false())
    min_payment_status: Mapped[str] = mapped_column(String(16), server_default="paid")
    min_partial_percentage: Mapped[int] = mapped_column(Integer, server_default="50")
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")  # ISO 4217
    payment_terms_days: Mapped[int] = mapped_column(Integer, server_default="0")
