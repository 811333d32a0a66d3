"""``platform``: the people who manage the platform, their sessions, and the keys that sign their tokens.

Whoever may run these commands may make administrators: the database and the platform's secret are theirs already. What
they do stands in the audit trail under the operating system's user. A password is read from stdin or made here and
printed once; it is never an argument, which other users of the machine could see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli.output import Column, Listing, say
from tenantry.cli.running import group, opened
from tenantry.iam.roles import PlatformRole

if TYPE_CHECKING:
    from tenantry.iam.keys import SigningKey
    from tenantry.iam.sessions import PlatformSession
    from tenantry.iam.users import PlatformUser
    from tenantry.tenancy import Tenancy


class UserStatus(StrEnum):
    """Which users to list."""

    ACTIVE = "active"
    DISABLED = "disabled"
    ALL = "all"


UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's email, user name or uid.")]
RoleOption = Annotated[list[PlatformRole] | None, typer.Option(help="May be given several times.")]
RolesArgument = Annotated[list[PlatformRole] | None, typer.Argument(help="All the roles they have from now on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin. Default: one is made and printed once.")
]

USERS: Listing[PlatformUser] = Listing(
    columns=[
        Column("Email", lambda u: u.email, "bold"),
        Column("User name", lambda u: u.username),
        Column("Roles", lambda u: ", ".join(u.roles) or "-"),
        Column("Status", lambda u: "active" if u.is_active else "disabled"),
        Column("Name", lambda u: f"{u.first_name} {u.last_name}".strip()),
    ],
    record=asdict,
)
KEYS: Listing[SigningKey] = Listing(
    columns=[
        Column("Key", lambda k: k.kid, "bold"),
        Column("Made", lambda k: _moment(k.created_at)),
        Column("Good until", lambda k: _moment(k.retires_at) if k.retires_at else "it signs"),
    ],
    record=lambda key: {"kid": key.kid, "created_at": key.created_at, "retires_at": key.retires_at},
)


def platform_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    """Build the ``platform`` group of an application."""
    app = group("Look after the platform's users, their sessions and keys.")
    app.add_typer(_user_commands(open_tenancy), name="user")
    app.add_typer(_session_commands(open_tenancy), name="session")
    app.add_typer(_key_commands(open_tenancy), name="key")
    return app


def _user_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    app = group("Look after the platform's users.")

    @app.command()
    def add(
        email: Annotated[str, typer.Option(help="The user's email, with which they may log in.")],
        username: Annotated[str | None, typer.Option(help="Default: the email up to its @.")] = None,
        role: RoleOption = None,
        first_name: Annotated[str, typer.Option(help="Their first name.")] = "",
        last_name: Annotated[str, typer.Option(help="Their last name.")] = "",
        password_stdin: PasswordOption = False,
    ) -> None:
        """Make a platform user, and print the password once."""
        password = _read_password(password_stdin)
        with opened(open_tenancy) as tenancy:
            added = tenancy.iam.add_user(email, username, role or (), first_name, last_name, password)
        user = added.user
        print(f"Created platform user: {user.email} (user name {user.username}, roles {_roles(user)})")
        _tell(added.password_generated)

    @app.command()
    def list(
        status: Annotated[UserStatus, typer.Option(help="Which users.")] = UserStatus.ALL,
        role: Annotated[PlatformRole | None, typer.Option(help="Only those who have this role.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """List platform users: email, user name, roles, status."""
        is_active = None if status is UserStatus.ALL else status is UserStatus.ACTIVE
        with opened(open_tenancy) as tenancy:
            users = tenancy.iam.users(role=role, is_active=is_active)
        if users or as_json:
            USERS.print(users, as_json=as_json)
        else:
            say("No platform users found.")

    @app.command()
    def disable(user: UserArgument) -> None:
        """Let a user in no more. Their tokens are dead at once."""
        with opened(open_tenancy) as tenancy:
            changed = tenancy.iam.disable(tenancy.iam.user(user).uid)
        print(f"Disabled platform user: {changed.email}")

    @app.command()
    def enable(user: UserArgument) -> None:
        """Let a user in again. They log in anew; failed attempts are forgotten."""
        with opened(open_tenancy) as tenancy:
            changed = tenancy.iam.enable(tenancy.iam.user(user).uid)
        print(f"Enabled platform user: {changed.email}")

    @app.command()
    def role(
        user: UserArgument,
        roles: RolesArgument = None,
        none: Annotated[bool, typer.Option("--none", help="They have no role from now on.")] = False,
    ) -> None:
        """Give a user these roles and no others, at once."""
        if none == bool(roles):
            raise typer.BadParameter("name the roles, or give --none.")
        with opened(open_tenancy) as tenancy:
            changed = tenancy.iam.set_roles(tenancy.iam.user(user).uid, roles or ())
        print(f"Roles of {changed.email}: {_roles(changed)}")

    @app.command("reset-password")
    def reset_password(user: UserArgument, password_stdin: PasswordOption = False) -> None:
        """Give a user a new password, and print it once. Their sessions end; failed attempts are forgotten."""
        password = _read_password(password_stdin)
        with opened(open_tenancy) as tenancy:
            found = tenancy.iam.user(user)
            given = tenancy.iam.reset_password(found.uid, password)
        print(f"New password of platform user: {found.email}")
        _tell(None if password is not None else given)

    return app


def _session_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    app = group("See and end the sessions of the platform's users.")

    @app.command()
    def list(
        user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Only the sessions of this user.")] = None,
        over: Annotated[bool, typer.Option("--all", help="Sessions that are over too.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """List sessions, newest first: whose, from where, since when."""
        with opened(open_tenancy) as tenancy:
            uid = None if user is None else tenancy.iam.user(user).uid
            sessions = tenancy.iam.sessions(uid, over=over)
            emails = {found.uid: found.email for found in tenancy.iam.users()}
        if sessions or as_json:
            _sessions(emails).print(sessions, as_json=as_json)
        else:
            say("No sessions found." if over else "No open sessions found.")

    @app.command()
    def revoke(
        session: Annotated[str | None, typer.Argument(metavar="[SESSION]", help="The session's uid.")] = None,
        user: Annotated[str | None, typer.Option(help="All sessions of this user instead.")] = None,
    ) -> None:
        """End a session, or all of a user. Its tokens are dead at once."""
        if (session is None) == (user is None):
            raise typer.BadParameter("name one session, or a user with --user.")
        with opened(open_tenancy) as tenancy:
            if user is not None:
                found = tenancy.iam.user(user)
                ended = tenancy.iam.revoke_sessions(found.uid)
                print(f"Revoked {ended} session{'' if ended == 1 else 's'} of {found.email}")
            elif session is not None:
                tenancy.iam.revoke_session(session)
                print(f"Revoked session: {session}")

    return app


def _key_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    app = group("See and replace the keys that sign access tokens.")

    @app.command()
    def list(as_json: JsonOption = False) -> None:
        """List signing keys, newest first, without what they sign with."""
        with opened(open_tenancy) as tenancy:
            keys = tenancy.iam.keys()
        if keys or as_json:
            KEYS.print(keys, as_json=as_json)
        else:
            say("No signing key yet: the first login makes one.")

    @app.command()
    def rotate(
        at_once: Annotated[
            bool, typer.Option("--at-once", help="The old key's tokens are dead now, not when they expire.")
        ] = False,
    ) -> None:
        """Sign with a new key. Tokens of the old one are good until they expire, 15 minutes at most."""
        with opened(open_tenancy) as tenancy:
            key = tenancy.iam.rotate_keys(overlap=not at_once)
        print(f"New signing key: {key.kid}")

    return app


def _sessions(emails: dict[str, str]) -> Listing[PlatformSession]:
    return Listing(
        columns=[
            Column("Session", lambda s: s.uid, "bold"),
            Column("User", lambda s: emails.get(s.user_uid, s.user_uid)),
            Column("From", lambda s: s.address),
            Column("Since", lambda s: _moment(s.created_at)),
            Column("Refreshed", lambda s: _moment(s.refreshed_at)),
            Column("Ended", lambda s: f"{_moment(s.ended_at)} ({s.ended_by})" if s.ended_at else None),
        ],
        record=lambda s: asdict(s) | {"user": emails.get(s.user_uid)},
    )


def _read_password(wanted: bool) -> str | None:
    """One line of stdin, without its end."""
    return sys.stdin.readline().rstrip("\r\n") if wanted else None


def _tell(password: str | None) -> None:
    if password is not None:
        print(f"Password: {password}")
        say("This is shown only once.")


def _roles(user: PlatformUser) -> str:
    return ", ".join(user.roles) or "none"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
