"""Platform users: today the first administrator, whom only the command line makes.

A user record here holds no hash, so none can be shown or logged. There is no default password anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.errors import AccountError
from tenantry.iam.passwords import check_password, generate_password, hash_password
from tenantry.iam.roles import PlatformRole
from tenantry.iam.tables import PlatformTables, tables
from tenantry.registry.uids import new_uid

MAX_EMAIL = 254  # characters, RFC 5321
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)*")
# No "@": a login takes either the name or the email, and must be able to tell which it got.
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class PlatformUser:
    """One platform user, with the names of the roles."""

    uid: str
    email: str
    username: str
    first_name: str
    last_name: str
    is_active: bool
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuperuserSeeded:
    """The administrator as it is now, and the password if one was generated: to be told once and kept nowhere."""

    user: PlatformUser
    password_generated: str | None = field(repr=False)
    created: bool


def ensure_superuser(
    connection: sa.Connection,
    *,
    email: str,
    username: str,
    password: str | None = None,
    first_name: str = "Platform",
    last_name: str = "Administrator",
    schema: str | None = None,
) -> SuperuserSeeded:
    """Make the platform user of that email an active administrator, with these names and a new password.

    One who exists is reset to them. Without ``password`` one is generated. ``schema`` holds the tables; without it the
    connection's search_path, or its file, does. Runs in the connection's transaction.

    :raises AccountError: the email, the user name or the password is not allowed, or another user has the user name.
    """
    email, username = parse_email(email), parse_username(username)
    generated = None
    if password is None:
        password = generated = generate_password()
    else:
        check_password(password, names=(username, email))
    hashed = hash_password(password)
    names = (_personal(first_name), _personal(last_name))
    platform = tables(schema)
    taken = platform.platform_user
    holder = connection.execute(sa.select(taken.c.email).where(taken.c.username == username)).scalar()
    if holder is not None and holder != email:
        raise AccountError(f"The user name '{username}' belongs to the platform user {holder}. Choose another.")
    uid, created = _upsert(connection, platform, email, username, names, hashed)
    _grant(connection, platform, uid, PlatformRole.ADMINISTRATOR)
    return SuperuserSeeded(get_user(connection, uid, schema=schema), generated, created)


def get_user(connection: sa.Connection, uid: str, *, schema: str | None = None) -> PlatformUser:
    """The platform user of that uid. :raises AccountError: there is none."""
    platform = tables(schema)
    user, role, has = platform.platform_user, platform.platform_role, platform.platform_user_role
    columns = (user.c.uid, user.c.email, user.c.username, user.c.first_name, user.c.last_name, user.c.is_active)
    row = connection.execute(sa.select(*columns).where(user.c.uid == uid)).first()
    if row is None:
        raise AccountError(f"There is no platform user {uid}.")
    roles = sa.select(role.c.name).join(has, has.c.role_uid == role.c.uid).where(has.c.user_uid == uid)
    return PlatformUser(*row, roles=tuple(connection.execute(roles.order_by(role.c.name)).scalars()))


def parse_email(text: str) -> str:
    """The email in the form in which it is kept and compared. :raises AccountError: it is none."""
    email = text.strip().lower()
    if len(email) > MAX_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise AccountError(f"{_shown(text)} is not an email address.")
    return email


def parse_username(text: str) -> str:
    """The user name in the form in which it is kept and compared. :raises AccountError: it is not allowed."""
    username = text.strip().lower()
    if not _USERNAME.fullmatch(username):
        raise AccountError(
            f"The user name {_shown(text)} is not allowed: use a-z, 0-9, '.', '_' and '-', 1 to 64 long, "
            "starting with a letter or a digit."
        )
    return username


def _upsert(
    connection: sa.Connection,
    platform: PlatformTables,
    email: str,
    username: str,
    names: tuple[str, str],
    hashed: str,
) -> tuple[str, bool]:
    """Write the user of that email, and return its uid and whether it is new. Two that run at once write one user."""
    at = datetime.now(UTC)
    new = {
        "username": username,
        "first_name": names[0],
        "last_name": names[1],
        "hashed_password": hashed,
        "is_active": True,
        "updated_at": at,
    }
    uid = new_uid()
    insert = _insert(connection, platform.platform_user).values(uid=uid, email=email, created_at=at, **new)
    upsert = insert.on_conflict_do_update(index_elements=["email"], set_=new).returning(platform.platform_user.c.uid)
    try:
        kept = str(connection.execute(upsert).scalar_one())
    except sa.exc.IntegrityError as error:  # another process took the user name between the look and the write
        raise AccountError(f"The user name '{username}' belongs to another platform user. Choose another.") from error
    return kept, kept == uid


def _grant(connection: sa.Connection, platform: PlatformTables, user_uid: str, wanted: PlatformRole) -> None:
    role = platform.platform_role
    role_uid = connection.execute(sa.select(role.c.uid).where(role.c.name == wanted.value)).scalar()
    if role_uid is None:
        raise AccountError(f"The role {wanted.value!r} is missing from platform_role; the migrations put it there.")
    row = {"user_uid": user_uid, "role_uid": role_uid}
    connection.execute(_insert(connection, platform.platform_user_role).on_conflict_do_nothing(), row)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _personal(name: str) -> str:
    if not name.isprintable():
        raise AccountError(f"The name {_shown(name)} holds characters that cannot be printed.")
    return name.strip()


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:60]}...")
