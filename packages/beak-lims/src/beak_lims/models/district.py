"""Districts of a province, each with its health office's contacts."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, String, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, EMAIL_LENGTH, NAME_LENGTH, Record


class District(Record):
    """A district; its name is unique within its province."""

    __tablename__ = "district"
    __table_args__ = (UniqueConstraint("province_uid", "name"),)

    province_uid: Mapped[str] = mapped_column(ForeignKey("province.uid"))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    code: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
