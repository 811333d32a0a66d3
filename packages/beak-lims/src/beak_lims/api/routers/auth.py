"""Routes to log in and out, to change a password, and to look after one's own sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Response
from pydantic import Field, StringConstraints

from beak_lims.api.doors import Opening, Owning, Work
from beak_lims.api.fields import LINE, Incoming, Outgoing, Reference, References, Secret, Uid
from beak_lims.api.problems import ANSWERS
from beak_lims.api.routing import LabRouter
from beak_lims.identity import sessions
from beak_lims.identity.identity import Grant, laboratories_of
from beak_lims.models import User
from beak_lims.services import users
from beak_lims.services.users import Preferences
from tenantry.http.problems import declared

router = LabRouter(prefix="/auth", tags=["auth"])

Theme = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=LINE)]
TRIED = {**ANSWERS, **declared(401, 403, 429, 504)}


class Login(Incoming):
    """Who logs in, and the laboratory they mean to work in."""

    identifier: Secret = Field(description="Email or user name")
    password: Secret
    laboratory_uid: Reference | None = Field(None, description="Named by the access token from then on")


class Refresh(Incoming):
    """A refresh token, good once."""

    refresh_token: Secret
    laboratory_uid: Reference | None = Field(
        None, description="Named by the access token from then on; without it the session stays where it is"
    )


class NewPassword(Incoming):
    """The password there is, and the one there shall be."""

    old_password: Secret
    new_password: Secret


class FinishedReset(Incoming):
    """The one-time token that an administrator handed over, and the password there shall be."""

    token: Secret
    new_password: Secret


class LaboratoryChoiceRow(Outgoing):
    """A laboratory that the user may work in."""

    uid: str
    name: str


class Me(Outgoing):
    """The user who asks."""

    uid: str
    user_name: str
    email: str
    first_name: str
    last_name: str
    is_superuser: bool
    active_laboratory_uid: str | None


class Whoami(Me):
    """The user who asks, and what they may do."""

    laboratory_uid: str | None = Field(description="The laboratory at work")
    laboratories: list[LaboratoryChoiceRow]
    permissions: list[str] = Field(description="ACTION:TARGET; a superuser has every one")


class Tokens(Outgoing):
    """The tokens of a session, and whose it is."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - not a password
    expires_in: int = Field(description="Seconds until the access token expires")
    refresh_token: str
    must_change_password: bool = Field(description="Until it is changed, nothing else is open")
    user: Me
    laboratories: list[LaboratoryChoiceRow]


class PreferencesBody(Incoming):
    """How the user likes to see the application."""

    theme: Theme | None = None
    expanded_menu: bool = True
    department_uids: References = Field(default_factory=list, description="The departments that are shown first")


class PreferencesRow(Outgoing):
    """How the user likes to see the application."""

    theme: str | None
    expanded_menu: bool
    department_uids: list[str]


class SessionRow(Outgoing):
    """One login."""

    uid: str
    address: str
    last_address: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime


def _told(grant: Grant) -> Response:
    return Response(Tokens.model_validate(grant).model_dump_json(), media_type="application/json")


@router.post("/login", response_model=Tokens, responses=TRIED, summary="Log in")
async def login(lab: Opening, body: Login) -> Response:
    identity = lab.served.identity
    return _told(
        await lab.served.log_in(
            lambda: identity.login(lab.tenant, body.identifier, body.password, lab.stranger(), body.laboratory_uid)
        )
    )


@router.post("/refresh", response_model=Tokens, responses=TRIED, summary="Take a refresh token, give the next one")
async def refresh(lab: Opening, body: Refresh) -> Response:
    identity = lab.served.identity
    return _told(
        await lab.served.log_in(
            lambda: identity.refresh(lab.tenant, body.refresh_token, lab.stranger(), body.laboratory_uid)
        )
    )


@router.post("/logout", status_code=204, summary="End the session of the access token")
def logout(lab: Owning) -> None:
    lab.served.identity.logout(lab.session, lab.context, lab.session_uid)


@router.get("/me", summary="Who asks, and what they may do")
def me(lab: Owning) -> Whoami:
    user = lab.session.get_one(User, lab.context.user_uid)
    told = Me.model_validate(user).model_dump()
    choices = [LaboratoryChoiceRow.model_validate(choice) for choice in laboratories_of(lab.session, user)]
    given = sorted(f"{action}:{target}" for action, target in lab.context.permissions)
    return Whoami(**told, laboratory_uid=lab.context.laboratory_uid, laboratories=choices, permissions=given)


@router.get("/preferences", summary="How one likes to see the application")
def read_preferences(lab: Owning) -> PreferencesRow:
    return PreferencesRow.model_validate(users.preferences_of(lab.session, lab.context.user_uid or ""))


@router.put("/preferences", summary="Say how one likes to see the application")
def set_preferences(lab: Owning, body: PreferencesBody) -> PreferencesRow:
    wanted = Preferences(body.theme, body.expanded_menu, tuple(body.department_uids))
    return PreferencesRow.model_validate(users.set_preferences(lab.session, lab.context.user_uid or "", wanted))


@router.post("/password", status_code=204, responses=TRIED, summary="Change one's own password; every session ends")
async def change_password(lab: Owning, body: NewPassword) -> Response:
    def work() -> None:
        who = _who(lab)
        identity = lab.served.identity
        identity.change_password(lab.tenant, who, body.old_password, body.new_password, lab.context)

    await lab.served.log_in(work)
    return Response(None, 204)


@router.post("/password-reset", status_code=204, responses=TRIED, summary="Choose a password with a one-time token")
async def finish_reset(lab: Opening, body: FinishedReset) -> Response:
    identity = lab.served.identity
    await lab.served.log_in(lambda: identity.finish_reset(lab.tenant, body.token, body.new_password, lab.stranger()))
    return Response(None, 204)


@router.get("/sessions", summary="One's own open sessions, newest first")
def list_sessions(lab: Owning) -> list[SessionRow]:
    return [
        SessionRow.model_validate(row)
        for row in sessions.open_sessions(lab.session, lab.context.user_uid or "", sessions.now())
    ]


@router.delete("/sessions/{uid}", status_code=204, summary="End one of one's own sessions")
def end_session(lab: Owning, uid: Uid) -> None:
    sessions.revoke(lab.session, lab.context.user_uid or "", uid, sessions.now())


def _who(lab: Work) -> str:
    """The user of the token, once it is sure that it is good."""
    with lab.served.tenancy.session(lab.tenant.slug) as session:
        lab.enter(session)
    assert lab.context.user_uid is not None  # noqa: S101 - a token has a user
    return lab.context.user_uid
