"""Platform users: made, found, changed, over the caller's connection and in its transaction.

A user record here holds no hash, so none can be shown or logged. There is no default password anywhere. Who may do
this, and what the audit trail says of it, is decided above.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.errors import AccountError, LastAdministrator, UserExists, UserNotFound
from tenantry.iam.passwords import check_password, generate_password, hash_password
from tenantry.iam.roles import PlatformRole
from tenantry.iam.tables import PlatformTables, tables
from tenantry.registry.uids import new_uid

MAX_EMAIL = 254  # characters, RFC 5321
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)*")
# No "@": a login takes either the name or the email, and must be able to tell which it got.
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
USER_COLUMNS = ("uid", "email", "username", "first_name", "last_name", "is_active")


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
    names = (parse_personal(first_name), parse_personal(last_name))
    platform = tables(schema)
    taken = platform.platform_user
    holder = connection.execute(sa.select(taken.c.email).where(taken.c.username == username)).scalar()
    if holder is not None and holder != email:
        raise AccountError(f"The user name '{username}' belongs to the platform user {holder}. Choose another.")
    uid, created = _upsert(connection, platform, email, username, names, hashed)
    _grant(connection, platform, uid, PlatformRole.ADMINISTRATOR)
    return SuperuserSeeded(get_user(connection, uid, schema=schema), generated, created)


def get_user(connection: sa.Connection, uid: str, *, schema: str | None = None) -> PlatformUser:
    """The platform user of that uid. :raises UserNotFound: there is none."""
    platform = tables(schema)
    found = read_users(connection, platform, platform.platform_user.c.uid == uid)
    if not found:
        raise UserNotFound(_shown(uid))
    return found[0]


def find_user(connection: sa.Connection, identifier: str, *, schema: str | None = None) -> PlatformUser:
    """The platform user of that uid, email or user name. :raises UserNotFound: there is none."""
    user = tables(schema).platform_user
    wanted = identifier.strip().lower()
    if "\0" not in wanted and wanted.isprintable():
        matches = sa.or_(user.c.uid == wanted, user.c.email == wanted, user.c.username == wanted)
        for found in read_users(connection, tables(schema), matches):
            return found
    raise UserNotFound(_shown(identifier))


def list_users(
    connection: sa.Connection,
    *,
    role: PlatformRole | None = None,
    is_active: bool | None = None,
    after: str | None = None,
    limit: int | None = None,
    schema: str | None = None,
) -> list[PlatformUser]:
    """Users by user name; ``after``: only those that come after the user of that uid."""
    platform = tables(schema)
    user, has = platform.platform_user, platform.platform_user_role
    conditions: list[sa.ColumnElement[bool]] = [sa.true()]
    if is_active is not None:
        conditions.append(user.c.is_active == is_active)
    if after is not None:
        last = user.alias("last")
        conditions.append(user.c.username > sa.select(last.c.username).where(last.c.uid == after).scalar_subquery())
    if role is not None:
        holds = sa.select(has.c.user_uid).join(platform.platform_role, platform.platform_role.c.uid == has.c.role_uid)
        conditions.append(user.c.uid.in_(holds.where(platform.platform_role.c.name == role.value)))
    return read_users(connection, platform, sa.and_(*conditions), limit)


def read_users(
    connection: sa.Connection, platform: PlatformTables, condition: sa.ColumnElement[bool], limit: int | None = None
) -> list[PlatformUser]:
    """The users for whom the condition holds, by user name, with their roles, in one query."""
    user, role, has = platform.platform_user, platform.platform_role, platform.platform_user_role
    wanted = sa.select(*(user.c[name] for name in USER_COLUMNS)).where(condition).order_by(user.c.username)
    if limit is not None:
        wanted = wanted.limit(limit)
    chosen = wanted.subquery()
    query = (
        sa.select(*chosen.c, role.c.name)
        .select_from(chosen)
        .outerjoin(has, has.c.user_uid == chosen.c.uid)
        .outerjoin(role, role.c.uid == has.c.role_uid)
        .order_by(chosen.c.username, role.c.name)
    )
    grouped = itertools.groupby(connection.execute(query), key=lambda row: row[0])
    return [from_rows(list(rows)) for _, rows in grouped]


def from_rows(rows: Sequence[sa.Row[*tuple[Any, ...]]]) -> PlatformUser:
    """One user from the rows that ``USER_COLUMNS`` and a role's name give, one for each role, or one without any."""
    uid, email, username, first_name, last_name, is_active, _ = rows[0]
    roles = tuple(row[-1] for row in rows if row[-1] is not None)
    return PlatformUser(uid, email, username, first_name, last_name, is_active, roles)


def insert_user(
    connection: sa.Connection,
    *,
    email: str,
    username: str,
    hashed: str,
    roles: Iterable[PlatformRole],
    first_name: str = "",
    last_name: str = "",
    schema: str | None = None,
) -> PlatformUser:
    """Write a new, active user. ``email`` and ``username`` as the parsers below return them.

    :raises UserExists: the email or the user name is taken.
    """
    platform, at, uid = tables(schema), datetime.now(UTC), new_uid()
    row = {
        "uid": uid,
        "email": email,
        "username": username,
        "first_name": parse_personal(first_name),
        "last_name": parse_personal(last_name),
        "hashed_password": hashed,
        "is_active": True,
        "created_at": at,
        "updated_at": at,
    }
    insert = _insert(connection, platform.platform_user).on_conflict_do_nothing()
    if connection.execute(insert.execution_options(preserve_rowcount=True), row).rowcount != 1:
        user = platform.platform_user
        has_email = connection.execute(sa.select(user.c.uid).where(user.c.email == email)).first() is not None
        raise UserExists("email", email) if has_email else UserExists("user name", username)
    for role in roles:
        _grant(connection, platform, uid, role)
    return get_user(connection, uid, schema=schema)


def hold_users(connection: sa.Connection, *, schema: str | None = None) -> None:
    """Let nobody else change users until the transaction ends: two who would each leave the other as the last
    administrator are asked one after the other. On SQLite the write lock does that.
    """
    role = tables(schema).platform_role
    held = sa.select(role.c.uid).where(role.c.name == PlatformRole.ADMINISTRATOR.value)
    connection.execute(held.with_for_update(key_share=True))


def set_roles(
    connection: sa.Connection, uid: str, roles: Iterable[PlatformRole], *, schema: str | None = None
) -> PlatformUser:
    """Give the user these roles and no others. The caller holds the users.

    :raises LastAdministrator: no active administrator would be left.
    """
    platform = tables(schema)
    before = get_user(connection, uid, schema=schema)
    has = platform.platform_user_role
    connection.execute(sa.delete(has).where(has.c.user_uid == uid))
    for role in roles:
        _grant(connection, platform, uid, role)
    _keep_an_administrator(connection, before, schema)
    return get_user(connection, uid, schema=schema)


def set_active(connection: sa.Connection, uid: str, is_active: bool, *, schema: str | None = None) -> PlatformUser:
    """Enable or disable the user. The caller holds the users.

    :raises LastAdministrator: no active administrator would be left.
    """
    before = get_user(connection, uid, schema=schema)
    _change(connection, uid, schema, is_active=is_active)
    _keep_an_administrator(connection, before, schema)
    return get_user(connection, uid, schema=schema)


def set_password(connection: sa.Connection, uid: str, hashed: str, *, schema: str | None = None) -> None:
    """Give the user another password. :raises UserNotFound: there is no such user."""
    _change(connection, uid, schema, hashed_password=hashed)


def _change(connection: sa.Connection, uid: str, schema: str | None, **change: object) -> None:
    user = tables(schema).platform_user
    update = sa.update(user).where(user.c.uid == uid).values(**change, updated_at=datetime.now(UTC))
    if connection.execute(update).rowcount != 1:
        raise UserNotFound(_shown(uid))


def _keep_an_administrator(connection: sa.Connection, before: PlatformUser, schema: str | None) -> None:
    if not (before.is_active and PlatformRole.ADMINISTRATOR in before.roles):
        return
    if not list_users(connection, role=PlatformRole.ADMINISTRATOR, is_active=True, limit=1, schema=schema):
        raise LastAdministrator(before.username)


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


def parse_role(text: str) -> PlatformRole:
    """The role of that name. :raises AccountError: there is none."""
    try:
        return PlatformRole(text.strip().lower())
    except ValueError as error:
        known = ", ".join(role.value for role in PlatformRole)
        raise AccountError(f"There is no platform role {_shown(text)}. The roles are {known}.") from error


def parse_roles(names: Iterable[str]) -> tuple[PlatformRole, ...]:
    """The roles of those names, each once, in one order. :raises AccountError: one of them is none."""
    return tuple(sorted({parse_role(name) for name in names}))


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


def parse_personal(name: str) -> str:
    """A first or last name as it is kept. :raises AccountError: it cannot be printed."""
    if not name.isprintable():
        raise AccountError(f"The name {_shown(name)} holds characters that cannot be printed.")
    return name.strip()


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:60]}...")
