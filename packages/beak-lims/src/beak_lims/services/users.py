"""The users of a tenant and the groups they are in, as an administrator looks after them.

A password is never given by an administrator: a new user gets one that is generated and told once, and must change it;
a user who forgot theirs gets a one-time reset token. Only a superuser changes a superuser, and one always stays.
Anybody else looks after the people of their own laboratories alone: else they could let themselves into another one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session, selectinload

from beak_lims.context import LabContext
from beak_lims.errors import ChangeRefused, NotPermitted, RecordNotFound, ReferenceRejected
from beak_lims.identity import sessions
from beak_lims.inputs import parse_email, parse_name
from beak_lims.models import (
    Department,
    Ending,
    Group,
    Laboratory,
    Permission,
    Record,
    User,
    UserPreference,
    user_department,
    user_laboratory,
)
from tenantry.iam.passwords import generate_password, hash_password

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class UserAdded:
    """A new user, and the password that is told once and must be changed."""

    user: User
    password: str = field(repr=False)


def query() -> Any:
    """The users, each with groups and laboratories."""
    return select(User).options(selectinload(User.groups), selectinload(User.laboratories))


def get_user(session: Session, uid: str) -> User:
    """The user. :raises RecordNotFound: there is none."""
    user: User | None = session.scalar(query().where(User.uid == uid))
    if user is None:
        raise RecordNotFound("user", uid)
    return user


def add_user(session: Session, context: LabContext, values: Mapping[str, Any]) -> UserAdded:
    """Make a user. ``values``: columns of ``user`` by name, ``group_uids``, ``laboratory_uids``.

    :raises InputRejected: an email or a name cannot be used. :raises ReferenceRejected: a uid names nothing.
    :raises NotPermitted: a superuser is to be made by somebody who is none.
    """
    password = generate_password()
    user = User(hashed_password=hash_password(password), must_change_password=True)
    _give(session, context, user, values)
    session.add(user)
    session.flush()
    return UserAdded(user, password)


def change_user(session: Session, context: LabContext, uid: str, values: Mapping[str, Any]) -> User:
    """Change a user. One who is made inactive or blocked is logged out everywhere.

    :raises RecordNotFound, InputRejected, ReferenceRejected: as above.
    :raises NotPermitted: only a superuser changes a superuser, or makes one.
    :raises ChangeRefused: it would leave the tenant without an active superuser, or lock out who asks.
    """
    user = get_user(session, uid)
    _mind(session, context, user)
    ending = not values.get("is_active", user.is_active) or values.get("is_blocked", user.is_blocked)
    if ending and uid == context.user_uid:
        raise ChangeRefused("Nobody can make themselves inactive or blocked; another administrator can.")
    was_superuser = user.is_superuser
    _give(session, context, user, values)
    session.flush()
    if was_superuser and not _superusers(session):
        raise ChangeRefused("One active superuser must stay: nobody else could make another one.")
    if ending:
        sessions.end(session, sessions.now(), Ending.DISABLED, user_uid=uid)
    return user


def check_manageable(session: Session, context: LabContext, uid: str) -> None:
    """Whether the work's user may look after that user.

    :raises RecordNotFound: there is no such user.
    :raises NotPermitted: it is a superuser, or somebody of a laboratory that the work's user is not assigned to.
    """
    _mind(session, context, get_user(session, uid))


@dataclass(frozen=True)
class Preferences:
    """How a user likes to see the application. ``department_uids``: of the departments that are shown first."""

    theme: str | None = None
    expanded_menu: bool = True
    department_uids: tuple[str, ...] = ()


def preferences_of(session: Session, user_uid: str) -> Preferences:
    """The user's preferences; those of somebody who never chose any are the defaults."""
    row = session.scalar(select(UserPreference).where(UserPreference.user_uid == user_uid))
    if row is None:
        return Preferences()
    mine = user_department.c
    departments = session.scalars(select(mine.department_uid).where(mine.user_uid == user_uid))
    return Preferences(row.theme, row.expanded_menu, tuple(sorted(departments)))


def set_preferences(session: Session, user_uid: str, wanted: Preferences) -> Preferences:
    """Keep the user's preferences, all of them. :raises ReferenceRejected: a department is not there."""
    _all(session, Department, wanted.department_uids, "department_uids")
    row = session.scalar(select(UserPreference).where(UserPreference.user_uid == user_uid))
    if row is None:
        row = UserPreference(user_uid=user_uid)
        session.add(row)
    row.theme, row.expanded_menu = wanted.theme, wanted.expanded_menu
    session.execute(delete(user_department).where(user_department.c.user_uid == user_uid))
    links = [{"user_uid": user_uid, "department_uid": uid} for uid in dict.fromkeys(wanted.department_uids)]
    if links:
        session.execute(insert(user_department), links)
    session.flush()
    return preferences_of(session, user_uid)


def get_group(session: Session, uid: str) -> Group:
    """The group. :raises RecordNotFound: there is none."""
    group = session.get(Group, uid)
    if group is None:
        raise RecordNotFound("group", uid)
    return group


def set_permissions(session: Session, group_uid: str, uids: Sequence[str]) -> Group:
    """Give the group these permissions and no others.

    :raises RecordNotFound, ReferenceRejected: a uid names nothing.
    """
    group = get_group(session, group_uid)
    group.permissions = _all(session, Permission, uids, "permission_uids")
    session.flush()
    return group


def _give(session: Session, context: LabContext, user: User, values: Mapping[str, Any]) -> None:
    superuser = user.is_superuser or False
    if values.get("is_superuser", superuser) != superuser and not _above(context):
        raise NotPermitted("UPDATE", "superuser")
    assigned = {*values.get("laboratory_uids", ()), *filter(None, [values.get("active_laboratory_uid")])}
    if assigned and not _above(context) and not assigned <= _own_laboratories(session, context):
        raise ReferenceRejected("laboratory_uids")
    with session.no_autoflush:  # one change, and one entry in the audit trail
        for name, value in values.items():
            match name:
                case "email":
                    user.email = parse_email(value)
                case "user_name":
                    user.user_name = parse_name("User name", value).lower()
                case "group_uids":
                    user.groups = _all(session, Group, value, name)
                case "laboratory_uids":
                    user.laboratories = _all(session, Laboratory, value, name)
                case "active_laboratory_uid" if value is not None:
                    user.active_laboratory_uid = _all(session, Laboratory, [value], name)[0].uid
                case _:
                    setattr(user, name, value)


def _all(session: Session, model: type[R], uids: Collection[str], name: str) -> list[R]:
    wanted = set(uids)
    rows = list(session.scalars(select(model).where(model.uid.in_(wanted)).order_by(model.uid))) if wanted else []
    if len(rows) != len(wanted):
        raise ReferenceRejected(name)
    return rows


def _mind(session: Session, context: LabContext, user: User) -> None:
    if _above(context):
        return
    if user.is_superuser:
        raise NotPermitted("UPDATE", "superuser")
    if not {one.uid for one in user.laboratories} <= _own_laboratories(session, context):
        raise NotPermitted("UPDATE", "user of another laboratory")


def _above(context: LabContext) -> bool:
    """Whether the work may reach across laboratories."""
    return context.is_superuser or context.user_uid is None


def _own_laboratories(session: Session, context: LabContext) -> set[str]:
    mine = user_laboratory.c
    return set(session.scalars(select(mine.laboratory_uid).where(mine.user_uid == context.user_uid)))


def _superusers(session: Session) -> int:
    query = select(func.count()).select_from(User)
    return session.scalar(query.where(User.is_superuser, User.is_active, User.is_blocked.is_(False))) or 0
