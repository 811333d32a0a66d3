"""What was done in this tenant, by whom, and how it was before and after. Rows are added and never changed: the
database refuses it.

Encrypted columns stand here encrypted. No foreign key leads away: an entry outlives what it tells of.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, UID_LENGTH, Base
from tenantry.registry.uids import new_uid


class AuditLog(Base):
    """One change of one row, or one act such as a login."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "target_type", "target_uid"),)

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True, default=new_uid)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    user_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    user_name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    laboratory_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    action: Mapped[str] = mapped_column(String(CODE_LENGTH))  # create, update, delete, or the name of an act
    target_type: Mapped[str] = mapped_column(String(CODE_LENGTH))  # the table's name
    target_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    state_before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    state_after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(CODE_LENGTH))
