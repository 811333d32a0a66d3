"""The people of one tenant and what they may do: users, groups, permissions and the links between them.

These users open no door of the platform, and platform users none of a tenant's: they are kept in other tables of
another schema.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.base import EMAIL_LENGTH, NAME_LENGTH, Record, link
from beak_lims.models.laboratory import Laboratory

user_laboratory = link("user_laboratory", "user", "laboratory")
user_department = link("user_department", "user", "department")
user_group = link("user_group", "user", "group")
group_permission = link("group_permission", "group", "permission")


class Permission(Record):
    """One action on one kind of thing."""

    __tablename__ = "permission"
    __table_args__ = (UniqueConstraint("action", "target"),)

    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(64))


class Group(Record):
    """A set of permissions that users share; ``pages`` are the screens it opens."""

    __tablename__ = "group"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    keyword: Mapped[str] = mapped_column(String(64), unique=True)
    pages: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'::jsonb"))

    permissions: Mapped[list[Permission]] = relationship(secondary=group_permission)


class User(Record):
    """A person who logs in to this tenant.

    Emails are kept in lower case: two that differ only in case reach one mailbox.
    """

    __tablename__ = "user"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower_case"),)

    first_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    last_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH), unique=True)
    user_name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    hashed_password: Mapped[str] = mapped_column(String(NAME_LENGTH))
    must_change_password: Mapped[bool] = mapped_column(Boolean, server_default=false())
    login_retry: Mapped[int] = mapped_column(Integer, server_default="0")
    is_blocked: Mapped[bool] = mapped_column(Boolean, server_default=false())
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=true())
    is_superuser: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active_laboratory_uid: Mapped[str | None] = mapped_column(
        ForeignKey("laboratory.uid", ondelete="SET NULL"), index=True
    )
    password_changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    laboratories: Mapped[list[Laboratory]] = relationship(secondary=user_laboratory)
    groups: Mapped[list[Group]] = relationship(secondary=user_group)


class UserPreference(Record):
    """How one user likes to see the application. The departments that are shown first are in ``user_department``."""

    __tablename__ = "user_preference"

    user_uid: Mapped[str] = mapped_column(ForeignKey("user.uid", ondelete="CASCADE"), unique=True)
    theme: Mapped[str | None] = mapped_column(String(64))
    expanded_menu: Mapped[bool] = mapped_column(Boolean, server_default=true())
