"""The logins of a tenant's users: sessions, the refresh tokens that came of them, and one-time reset tokens.

Of a token the database has the SHA-256 alone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import DateTime, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import UID_LENGTH, Base, one_of


class Ending(StrEnum):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    REVOKED = "revoked"
    REUSE = "reuse"  # a refresh token came a second time
    PASSWORD = "password"  # noqa: S105 - it was changed
    DISABLED = "disabled"


class UserSession(Base):
    """One login of a user."""

    __tablename__ = "user_session"
    __table_args__ = (one_of("ended_by", Ending),)

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    user_uid: Mapped[str] = mapped_column(ForeignKey("user.uid", ondelete="CASCADE"), index=True)
    # Named by its access tokens: chosen at login, or by the last refresh that chose another.
    active_laboratory_uid: Mapped[str | None] = mapped_column(ForeignKey("laboratory.uid", ondelete="SET NULL"))
    address: Mapped[str] = mapped_column(String(64))  # of the login
    last_address: Mapped[str] = mapped_column(String(64))  # of the last refresh
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    refreshed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_by: Mapped[str | None] = mapped_column(String(16))


class RefreshToken(Base):
    """A token that is good once, for the next access token of its session."""

    __tablename__ = "refresh_token"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_uid: Mapped[str] = mapped_column(ForeignKey("user_session.uid", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PasswordReset(Base):
    """A token that is good once, for a new password."""

    __tablename__ = "password_reset"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_uid: Mapped[str] = mapped_column(ForeignKey("user.uid", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
