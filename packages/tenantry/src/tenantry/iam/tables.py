"""The tables of platform users, their roles, sessions and keys, as SQLAlchemy Core objects.

The registry's migrations make them; a test compares the two. No password, token or key is in them: passwords as argon2
hashes, refresh tokens as SHA-256, of signing keys one half, which is worth nothing without the platform's secret.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import sqlalchemy as sa

from tenantry.registry.tables import NAMING, UtcTime, one_of

ENDINGS = ("logout", "revoked", "reuse", "disabled", "password")  # why a session ended before its time


@dataclass(frozen=True)
class PlatformTables:
    """The tables of one schema, or of one file."""

    metadata: sa.MetaData
    platform_user: sa.Table
    platform_role: sa.Table
    platform_user_role: sa.Table
    platform_session: sa.Table
    platform_refresh_token: sa.Table
    platform_attempt: sa.Table
    platform_signing_key: sa.Table


@functools.cache
def tables(schema: str | None) -> PlatformTables:
    """The tables in that schema; without one their names are unqualified: SQLite, or a search_path the caller set."""
    metadata = sa.MetaData(schema=schema, naming_convention=NAMING)
    role = sa.Table(
        "platform_role",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
    )
    user = sa.Table(
        "platform_user",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("email", sa.String(255), nullable=False, unique=True),  # lower case
        sa.Column("username", sa.String(64), nullable=False, unique=True),  # lower case
        sa.Column("first_name", sa.Text, nullable=False),
        sa.Column("last_name", sa.Text, nullable=False),
        sa.Column("hashed_password", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
    )
    user_role = sa.Table(
        "platform_user_role",
        metadata,
        sa.Column("user_uid", sa.ForeignKey(user.c.uid, ondelete="CASCADE"), primary_key=True),
        sa.Column("role_uid", sa.ForeignKey(role.c.uid, ondelete="CASCADE"), primary_key=True, index=True),
    )
    # One login, and the family of refresh tokens that came of it.
    session = sa.Table(
        "platform_session",
        metadata,
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("user_uid", sa.ForeignKey(user.c.uid, ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("address", sa.Text, nullable=False),  # of the login
        sa.Column("last_address", sa.Text, nullable=False),  # of the last refresh
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("refreshed_at", UtcTime, nullable=False),
        sa.Column("expires_at", UtcTime, nullable=False, index=True),
        sa.Column("ended_at", UtcTime),
        sa.Column("ended_by", sa.String(16)),
        one_of("ended_by", ENDINGS),
    )
    refresh_token = sa.Table(
        "platform_refresh_token",
        metadata,
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("session_uid", sa.ForeignKey(session.c.uid, ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("expires_at", UtcTime, nullable=False),
        sa.Column("used_at", UtcTime),
    )
    # How often a login was tried within a window; who and from where is in the counter's name as a keyed hash.
    attempt = sa.Table(
        "platform_attempt",
        metadata,
        sa.Column("counter", sa.String(255), primary_key=True),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("expires_at", UtcTime, nullable=False, index=True),
    )
    signing_key = sa.Table(
        "platform_signing_key",
        metadata,
        sa.Column("kid", sa.String(32), primary_key=True),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("secret_mark", sa.String(16), nullable=False),  # tells which secret the other half is
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("retires_at", UtcTime),
    )
    return PlatformTables(metadata, user, role, user_role, session, refresh_token, attempt, signing_key)
