"""The tables of platform users and their roles, as SQLAlchemy Core objects.

The registry's migrations make them; a test compares the two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import sqlalchemy as sa

from tenantry.registry.tables import NAMING, UtcTime


@dataclass(frozen=True)
class PlatformTables:
    """The tables of one schema, or of one file."""

    metadata: sa.MetaData
    platform_user: sa.Table
    platform_role: sa.Table
    platform_user_role: sa.Table


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
    return PlatformTables(metadata, user, role, user_role)
