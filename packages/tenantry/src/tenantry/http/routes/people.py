"""The doors for people: log in and out, and look after platform users and their sessions.

No answer holds a hash, and a password only when it was made just now. How often a login may be tried is decided below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tenantry.http.bodies import MAX_TEXT, Incoming, Text
from tenantry.http.calls import Asking, Call, Change, Changing, Done, Open, answered
from tenantry.http.lanes import Lane
from tenantry.http.paging import DEFAULT_LIMIT, NEXT_HEADERS, Cursor, Limit, Pages
from tenantry.http.problems import declared
from tenantry.iam.iam import Grant, Principal
from tenantry.iam.matrix import Action
from tenantry.iam.roles import PlatformRole
from tenantry.iam.sessions import PlatformSession
from tenantry.iam.users import PlatformUser

Uid = Annotated[str, Path(max_length=64, description="The uid")]
Secret = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, json_schema_extra={"format": "password"})]


class Login(Incoming):
    """Who logs in."""

    identifier: Text = Field(description="Email or user name")
    password: Secret


class Refresh(Incoming):
    """A refresh token, good once."""

    refresh_token: Secret


class Logout(Incoming):
    """The session to end, by its refresh token; without one, the session of the access token."""

    refresh_token: Secret | None = None


class NewUser(Incoming):
    """A platform user to make."""

    email: Text
    username: Text
    roles: list[PlatformRole] = Field(max_length=len(PlatformRole))
    first_name: str = Field("", max_length=MAX_TEXT)
    last_name: str = Field("", max_length=MAX_TEXT)
    password: Secret | None = Field(None, description="Without one, one is made and told once")


class Roles(Incoming):
    """The roles of a platform user, all of them."""

    roles: list[PlatformRole] = Field(max_length=len(PlatformRole))


class UserRow(BaseModel):
    """A platform user."""

    uid: str
    email: str
    username: str
    first_name: str
    last_name: str
    is_active: bool
    roles: list[str]


class AddedUser(UserRow):
    """A platform user that was made, and the password if it was made too."""

    password_generated: str | None = Field(description="Told only now")


class Tokens(BaseModel):
    """The tokens of a session, and whose it is."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds until the access token expires")
    refresh_token: str
    user: UserRow


class Password(BaseModel):
    """A new password, told only now."""

    password: str


class SessionRow(BaseModel):
    """One login of a platform user."""

    uid: str
    user_uid: str
    address: str
    last_address: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str | None


class Ended(BaseModel):
    """How many sessions were ended."""

    ended: int


def people_routes() -> APIRouter:
    """The doors."""
    router = APIRouter()
    _add_login(router)
    _add_users(router)
    _add_sessions(router)
    return router


def _add_login(router: APIRouter) -> None:
    @router.post("/auth/login", tags=["auth"], response_model=Tokens, responses=declared(401, 429), summary="Log in")
    async def login(call: Open, body: Login) -> Response:
        iam = call.platform.tenancy.iam
        return await _granted(
            call, call.platform.logins, lambda: iam.login(body.identifier, body.password, address=call.address)
        )

    @router.post(
        "/auth/refresh",
        tags=["auth"],
        response_model=Tokens,
        responses=declared(401, 429),
        summary="Take new tokens for a refresh token, which is good once",
    )
    async def refresh(call: Open, body: Refresh) -> Response:
        iam = call.platform.tenancy.iam
        return await _granted(
            call, call.platform.readers, lambda: iam.refresh(body.refresh_token, address=call.address)
        )

    @router.post(
        "/auth/logout", tags=["auth"], status_code=204, responses=declared(401), summary="End the session at once"
    )
    async def logout(call: Asking, body: Logout | None = None) -> Response:
        def work(principal: Principal) -> None:
            with call.platform.tenancy.acting(principal.user.email, origin=call.address):
                call.platform.tenancy.iam.logout(body.refresh_token if body else None, principal)

        await call.platform.readers.run(lambda: work(call.principal(None)))
        return answered(None, 204)

    @router.get(
        "/auth/me", tags=["auth"], response_model=UserRow, responses=declared(401), summary="Who the token stands for"
    )
    async def me(call: Asking) -> Response:
        return answered(await call.read(None, lambda principal: user_of(principal.user)))


def _add_users(router: APIRouter) -> None:
    @router.get(
        "/users",
        tags=["users"],
        response_model=list[UserRow],
        responses=declared(401, 403) | {200: {"headers": NEXT_HEADERS}},
        summary="List platform users",
    )
    async def list_users(
        call: Asking, request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        pages = Pages(request.scope["path"])
        after = pages.read(cursor)

        def work(_: Principal) -> Sequence[PlatformUser]:
            return call.platform.tenancy.iam.users(after=after, limit=limit + 1)

        found = await call.read(Action.USERS, work)
        following = found[limit - 1].uid if len(found) > limit else None
        return answered([user_of(user) for user in found[:limit]], headers=pages.headers(following, limit))

    @router.post(
        "/users",
        tags=["users"],
        status_code=201,
        response_model=AddedUser,
        responses=declared(401, 403, 409),
        summary="Make a platform user",
    )
    async def add_user(call: Changing, body: NewUser) -> Response:
        def work(_: Principal) -> Done:
            added = call.platform.tenancy.iam.add_user(
                body.email,
                body.username,
                body.roles,
                first_name=body.first_name,
                last_name=body.last_name,
                password=body.password,
            )
            return Done({**user_of(added.user), "password_generated": added.password_generated}, 201)

        change = Change("user.add", Action.USERS, details={"user": body.username[:64]})
        return await call.change(change, work, lane=call.platform.logins)

    @router.get(
        "/users/{uid}",
        tags=["users"],
        response_model=UserRow,
        responses=declared(401, 403, 404),
        summary="Show a platform user",
    )
    async def show_user(call: Asking, uid: Uid) -> Response:
        return answered(await call.read(Action.USERS, lambda _: user_of(call.platform.tenancy.iam.user(uid))))

    @router.put(
        "/users/{uid}/roles",
        tags=["users"],
        response_model=UserRow,
        responses=declared(401, 403, 404, 409),
        summary="Give a platform user these roles and no others",
    )
    async def set_roles(call: Changing, uid: Uid, body: Roles) -> Response:
        return await _change_user(
            call, "user.roles", uid, lambda: user_of(call.platform.tenancy.iam.set_roles(uid, body.roles))
        )

    @router.post(
        "/users/{uid}/disable",
        tags=["users"],
        response_model=UserRow,
        responses=declared(401, 403, 404, 409),
        summary="Disable a platform user; the tokens die at once",
    )
    async def disable(call: Changing, uid: Uid) -> Response:
        return await _change_user(call, "user.disable", uid, lambda: user_of(call.platform.tenancy.iam.disable(uid)))

    @router.post(
        "/users/{uid}/enable",
        tags=["users"],
        response_model=UserRow,
        responses=declared(401, 403, 404, 409),
        summary="Enable a platform user again",
    )
    async def enable(call: Changing, uid: Uid) -> Response:
        return await _change_user(call, "user.enable", uid, lambda: user_of(call.platform.tenancy.iam.enable(uid)))

    @router.post(
        "/users/{uid}/reset-password",
        tags=["users"],
        response_model=Password,
        responses=declared(401, 403, 404, 409),
        summary="Give a platform user a new password, told once; the sessions end",
    )
    async def reset_password(call: Changing, uid: Uid) -> Response:
        return await _change_user(
            call,
            "user.password",
            uid,
            lambda: {"password": call.platform.tenancy.iam.reset_password(uid)},
            lane=call.platform.logins,
        )


def _add_sessions(router: APIRouter) -> None:
    @router.get(
        "/users/{uid}/sessions",
        tags=["users"],
        response_model=list[SessionRow],
        responses=declared(401, 403, 404),
        summary="List the sessions of a platform user, newest first",
    )
    async def sessions(call: Asking, uid: Uid, limit: Annotated[int, Query(ge=1, le=1000)] = DEFAULT_LIMIT) -> Response:
        def work(_: Principal) -> list[dict[str, Any]]:
            iam = call.platform.tenancy.iam
            iam.user(uid)  # none of that uid is not one without sessions
            return [session_of(session) for session in iam.sessions(uid)[:limit]]

        return answered(await call.read(Action.USERS, work))

    @router.delete(
        "/users/{uid}/sessions",
        tags=["users"],
        response_model=Ended,
        responses=declared(401, 403, 404, 409),
        summary="End every session of a platform user",
    )
    async def revoke_sessions(call: Changing, uid: Uid) -> Response:
        def work() -> dict[str, Any]:
            iam = call.platform.tenancy.iam
            iam.user(uid)
            return {"ended": iam.revoke_sessions(uid)}

        return await _change_user(call, "session.revoke", uid, work)

    @router.delete(
        "/sessions/{uid}",
        tags=["users"],
        status_code=204,
        responses=declared(401, 403, 404, 409),
        summary="End one session",
    )
    async def revoke_session(call: Changing, uid: Uid) -> Response:
        def work(_: Principal) -> Done:
            call.platform.tenancy.iam.revoke_session(uid)
            return Done(None, 204)

        change = Change("session.revoke", Action.USERS, details={"session": uid})
        return await call.change(change, work, lane=call.platform.readers)


async def _granted(call: Call, lane: Lane, grant: Callable[[], Grant]) -> Response:
    """A new pair of tokens. A stranger is named by the address alone."""

    def work() -> Grant:
        with call.platform.tenancy.acting("anonymous", origin=call.address):
            return grant()

    granted = await lane.run(work)
    return answered(
        {
            "access_token": granted.access_token,
            "token_type": "bearer",
            "expires_in": granted.expires_in,
            "refresh_token": granted.refresh_token,
            "user": user_of(granted.user),
        }
    )


async def _change_user(
    call: Call, name: str, uid: str, work: Callable[[], dict[str, Any]], *, lane: Lane | None = None
) -> Response:
    change = Change(name, Action.USERS, details={"user": uid})
    return await call.change(change, lambda _: Done(work()), lane=lane or call.platform.readers)


def user_of(user: PlatformUser) -> dict[str, Any]:
    """The body of a platform user."""
    return asdict(user)


def session_of(session: PlatformSession) -> dict[str, Any]:
    """The body of a session."""
    return asdict(session)
