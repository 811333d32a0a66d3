"""Routes of the organisation's users, their groups, and what the groups may do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import or_, select

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import (
    Email,
    Incoming,
    Name,
    Outgoing,
    Phone,
    Reference,
    References,
    Uid,
    Words,
)
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.identity import sessions
from beak_lims.models import Group, Permission, User
from beak_lims.services import users

router = LabRouter(tags=["users"])

Reading = Annotated[Work, Depends(permit("READ", "ORGANISATION"))]
Changing = Annotated[Work, Depends(permit("UPDATE", "ORGANISATION"))]


class NewUser(Incoming):
    """A user to make."""

    first_name: Name
    last_name: Name
    email: Email
    user_name: Name
    mobile_phone: Phone | None = None
    business_phone: Phone | None = None
    is_superuser: bool = False
    active_laboratory_uid: Reference | None = None
    group_uids: References = Field(default_factory=list)
    laboratory_uids: References = Field(default_factory=list)


class UserChange(Incoming):
    """What is to change; the rest stays."""

    first_name: Name = None  # type: ignore[assignment]  # absent is not null: it may be left out, not emptied
    last_name: Name = None  # type: ignore[assignment]  # the same
    email: Email = None  # type: ignore[assignment]  # the same
    user_name: Name = None  # type: ignore[assignment]  # the same
    mobile_phone: Phone | None = None
    business_phone: Phone | None = None
    is_superuser: bool = False
    is_active: bool = True
    is_blocked: bool = False
    active_laboratory_uid: Reference | None = None
    group_uids: References = Field(default_factory=list)
    laboratory_uids: References = Field(default_factory=list)


class UserRow(Outgoing):
    """A user."""

    uid: str
    first_name: str
    last_name: str
    email: str
    user_name: str
    mobile_phone: str | None
    business_phone: str | None
    is_active: bool
    is_blocked: bool
    is_superuser: bool
    must_change_password: bool
    login_retry: int = Field(description="Wrong passwords since the last login")
    password_changed_at: datetime
    active_laboratory_uid: str | None
    group_uids: list[str]
    laboratory_uids: list[str]
    created_at: datetime
    updated_at: datetime


class AddedUser(UserRow):
    """A user that was made, and a password that is told only now and must be changed."""

    password_generated: str


class ResetToken(Outgoing):
    """A one-time token for a new password, told only now."""

    reset_token: str
    expires_in: int = Field(description="Seconds")


class Ended(Outgoing):
    """How many sessions were ended."""

    ended: int


class PermissionRow(Outgoing):
    """An action on a target."""

    uid: str
    action: str
    target: str


class Permissions(Incoming):
    """The permissions of a group, all of them."""

    permission_uids: References


class GroupPermissions(Outgoing):
    """What a group may do."""

    uid: str
    name: str
    keyword: str
    permissions: list[PermissionRow]


def _row(user: User) -> UserRow:
    told = {name: getattr(user, name) for name in UserRow.model_fields if not name.endswith("_uids")}
    groups, laboratories = [one.uid for one in user.groups], [one.uid for one in user.laboratories]
    return UserRow(**told, group_uids=groups, laboratory_uids=laboratories)


@router.get("/users", responses=LISTED, summary="The users, page by page")
def list_users(
    lab: Reading, page: Paged, q: Words = None, is_active: Annotated[bool | None, Query()] = None
) -> list[UserRow]:
    query = users.query()
    if is_active is not None:
        query = query.where(User.is_active == is_active)
    for word in (q or "").split():
        held = [
            column.icontains(word, autoescape=True)
            for column in (User.first_name, User.last_name, User.email, User.user_name)
        ]
        query = query.where(or_(*held))
    return [_row(user) for user in page.of(lab, query)]


@router.post("/users", status_code=201, summary="Make a user")
def create_user(lab: Changing, body: NewUser) -> AddedUser:
    added = users.add_user(lab.session, lab.context, body.model_dump())
    lab.session.refresh(added.user)
    return AddedUser(**_row(added.user).model_dump(), password_generated=added.password)


@router.get("/users/{uid}", summary="One user")
def read_user(lab: Reading, uid: Uid) -> UserRow:
    return _row(users.get_user(lab.session, uid))


@router.patch("/users/{uid}", summary="Change a user; one made inactive or blocked is logged out")
def update_user(lab: Changing, uid: Uid, body: UserChange) -> UserRow:
    user = users.change_user(lab.session, lab.context, uid, body.model_dump(exclude_unset=True))
    lab.session.refresh(user)
    return _row(user)


@router.post("/users/{uid}/password-reset", summary="Give a user a one-time token for a new password")
def begin_reset(lab: Changing, uid: Uid) -> ResetToken:
    users.check_manageable(lab.session, lab.context, uid)
    token, lifetime = lab.served.identity.begin_reset(lab.session, lab.context, uid)
    return ResetToken(reset_token=token, expires_in=int(lifetime.total_seconds()))


@router.delete("/users/{uid}/sessions", summary="End every session of a user")
def end_sessions(lab: Changing, uid: Uid) -> Ended:
    users.check_manageable(lab.session, lab.context, uid)
    return Ended(ended=sessions.revoke_all(lab.session, uid))


@router.get("/permissions", summary="Every permission there is")
def list_permissions(lab: Reading) -> list[PermissionRow]:
    rows = lab.session.scalars(select(Permission).order_by(Permission.target, Permission.action))
    return [PermissionRow.model_validate(row) for row in rows]


@router.get("/groups/{uid}/permissions", summary="What a group may do")
def read_group_permissions(lab: Reading, uid: Uid) -> GroupPermissions:
    return GroupPermissions.model_validate(users.get_group(lab.session, uid))


@router.put("/groups/{uid}/permissions", summary="Give a group these permissions and no others")
def set_group_permissions(lab: Changing, uid: Uid, body: Permissions) -> GroupPermissions:
    return GroupPermissions.model_validate(users.set_permissions(lab.session, uid, body.permission_uids))


add_crud(
    router,
    Noun(
        Group,
        "/groups",
        "ORGANISATION",
        search=("name", "keyword"),
        actions={"CREATE": "UPDATE", "DELETE": "UPDATE"},  # an organisation is read and updated, no more
    ),
)
