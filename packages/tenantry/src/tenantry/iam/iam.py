"""The platform's people: who they are, how they log in, what they may do.

The one object that edges use; the tenancy builds it. Every change stands in the audit trail in the same transaction,
one that was refused too. Passwords, tokens and keys are in no record, no error and no repr.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tenantry.errors import Forbidden, LoginRefused, StoreError, TenancyError, TokenRefused, TooManyAttempts
from tenantry.iam import matrix, passwords, users
from tenantry.iam.keys import KeyRing, SigningKey, utc_now
from tenantry.iam.matrix import Action
from tenantry.iam.roles import PlatformRole
from tenantry.iam.secret import PlatformSecret
from tenantry.iam.sessions import PlatformSession, ReuseFound, Sessions
from tenantry.iam.tables import tables
from tenantry.iam.users import PlatformUser, SuperuserSeeded
from tenantry.registry.registry import Registry
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from tenantry.iam.attempts import Attempt, LoginGuard, LoginLimits

ACCESS_LIFETIME = timedelta(minutes=15)  # of an access token, and how long a retired key is good
NOBODY = "anonymous"  # who tries to log in, until they have
MAX_ORIGIN = 64  # characters of an address
# A hash takes 64 MiB while it is verified: so many at once in one process, the others wait their turn.
HASHES_AT_ONCE = max(2, os.cpu_count() or 1)
HASH_PATIENCE = 5.0  # seconds until somebody who waits is sent away

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grant:
    """What a login or a refresh gives: told to the caller once, and kept nowhere."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds
    user: PlatformUser


@dataclass(frozen=True)
class Principal:
    """Who asks, as an access token and the database say."""

    user: PlatformUser
    session_uid: str
    token_id: str


@dataclass(frozen=True)
class UserAdded:
    """A new user, and the password if one was generated: to be told once and kept nowhere."""

    user: PlatformUser
    password_generated: str | None = field(repr=False)


@dataclass(frozen=True)
class _Known:
    """The account that a login names."""

    uid: str
    email: str
    username: str
    hashed: str = field(repr=False)
    is_active: bool


class Iam:
    """Platform users, their sessions and their keys. Safe to share between threads; connects at first use."""

    def __init__(
        self,
        registry: Registry,
        schema: str | None,
        secret: PlatformSecret,
        *,
        limits: LoginLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._schema = schema
        self._secret = secret
        self._limits = limits
        self._clock = clock
        self._platform = tables(schema)
        self._sessions = Sessions(self._platform)
        self._keys = KeyRing(registry, self._platform, secret, clock)
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Iam in {self._registry.location}>"

    @cached_property
    def _guard(self) -> LoginGuard:
        from tenantry.iam.attempts import LoginGuard, LoginLimits, SharedCounters

        counters = SharedCounters(self._registry, self._platform, self._clock)
        return LoginGuard(counters, self._limits or LoginLimits(), self._secret.derive("login attempts"))

    # -- logging in

    def login(self, identifier: str, password: str, *, address: str) -> Grant:
        """Open a session for the user of that email or user name. Everything that is refused costs the same: one
        verified hash.

        :raises LoginRefused: the user is unknown or disabled, or the password is wrong.
        :raises TooManyAttempts: too many failed for this account or from this address; nothing was looked at.
        """
        address, account = _origin(address), identifier.strip().lower()
        attempt = self._guard.attempt(account, address)
        attempt.check_address()
        known, trusted = self._look_up(account, address)
        attempt.count(trusted=trusted)
        try:
            right = self._verify(passwords.decoy() if known is None else known.hashed, password)
        except TooManyAttempts:
            attempt.withdraw()
            raise
        if known is None or not right or not known.is_active:
            self._note_failure(known, address, attempt)
            refusal = LoginRefused()
            refusal.recorded = True
            raise refusal
        grant = self._open(known, password, address)
        attempt.succeeded()
        return grant

    def refresh(self, refresh_token: str, *, address: str) -> Grant:
        """Take a refresh token, which is good once, and give the next, with a new access token.

        :raises TokenRefused: it is unknown, used or over, or its user is disabled. One that was used before ends its
        session.
        """
        address, at = _origin(address), self._clock()
        reused: TokenRefused | None = None
        with self._registry.transaction(writes=True) as connection:
            try:
                session, following = self._sessions.rotate(connection, refresh_token, address, at)
            except ReuseFound as error:  # the end of the session must be kept
                reused, (_, session_uid, user_uid) = error, error.args
                owner = users.get_user(connection, user_uid, schema=self._schema)
                details = {"user": owner.username, "session": session_uid, "reason": "the token was used before"}
                self._note(connection, "auth.refresh", details, NOBODY, address, outcome="refused")
            else:
                user = users.get_user(connection, session.user_uid, schema=self._schema)
                if not user.is_active:
                    raise TokenRefused("its user is disabled")
                key = self._keys.signing(connection)
        if reused is not None:
            logger.warning("refresh token used twice", extra={"session": reused.args[1]})
            refusal = TokenRefused(reused.args[0])
            refusal.recorded = True
            raise refusal
        return self._grant(user, session, following, key, at)

    def logout(self, refresh_token: str | None, principal: Principal) -> None:
        """End the session that the access token is of; with the refresh token of another session of the same user that
        one too.
        """
        at = self._clock()
        with self._registry.transaction(writes=True) as connection:
            ending = {principal.session_uid}
            if refresh_token is not None:
                other = self._sessions.owner_of(connection, refresh_token)
                if other is not None and other.user_uid == principal.user.uid:
                    ending.add(other.uid)
            for uid in sorted(ending):
                if self._sessions.end(connection, at, "logout", uid=uid):
                    self._note(connection, "auth.logout", {"session": uid})

    def authenticate(self, access_token: str) -> Principal:
        """Who the token is of, read anew: a disabled user, an ended session and a retired key are refused at once.

        :raises TokenRefused: it is not good.
        """
        from tenantry.iam import tokens

        at = self._clock()
        claims = tokens.read(access_token, self._keys.find, at)
        values = {"of_user": claims.user_uid, "of_session": claims.session_uid, "of_key": claims.kid, "at": at}
        with self._registry.transaction() as connection:
            rows = connection.execute(self._bearer, values).all()
        if not rows:
            raise TokenRefused("its user is disabled, its session over, or its key retired")
        return Principal(users.from_rows(rows), claims.session_uid, claims.token_id)

    @cached_property
    def _bearer(self) -> sa.Select[Any]:
        """Asked at every request, and so built once: building it takes as long as asking."""
        platform = self._platform
        user, session, key = platform.platform_user, platform.platform_session, platform.platform_signing_key
        role, has = platform.platform_role, platform.platform_user_role
        at = sa.bindparam("at", type_=session.c.expires_at.type)
        return (
            sa.select(*(user.c[name] for name in users.USER_COLUMNS), role.c.name)
            .join(session, session.c.user_uid == user.c.uid)
            .join(key, key.c.kid == sa.bindparam("of_key"))
            .outerjoin(has, has.c.user_uid == user.c.uid)
            .outerjoin(role, role.c.uid == has.c.role_uid)
            .where(
                user.c.uid == sa.bindparam("of_user"),
                user.c.is_active,
                session.c.uid == sa.bindparam("of_session"),
                session.c.ended_at.is_(None),
                session.c.expires_at > at,
                sa.or_(key.c.retires_at.is_(None), key.c.retires_at > at),
            )
            .order_by(role.c.name)
        )

    def require(self, principal: Principal, action: Action) -> None:
        """:raises Forbidden: none of the roles may do it."""
        if not matrix.allowed(principal.user.roles, action):
            raise Forbidden(action.value, principal.user.username)

    def _look_up(self, account: str, address: str) -> tuple[_Known | None, bool]:
        """The account, and whether its user logged in from this address lately. The same queries for an unknown one."""
        user = self._platform.platform_user
        query = sa.select(user.c.uid, user.c.email, user.c.username, user.c.hashed_password, user.c.is_active)
        with self._registry.transaction() as connection:
            # The database would refuse a NUL or half a character, and keeps nothing as long as that.
            fit = account if account.isprintable() and len(account) <= users.MAX_EMAIL else ""
            row = connection.execute(query.where(sa.or_(user.c.email == fit, user.c.username == fit))).first()
            trusted = self._sessions.trusts(connection, row.uid if row else "", address, self._clock())
        return (None if row is None else _Known(*row)), trusted

    def _verify(self, hashed: str, password: str) -> bool:
        if not self._hashing.acquire(timeout=HASH_PATIENCE):
            raise TooManyAttempts(1)
        try:
            return passwords.verify_password(hashed, password)
        finally:
            self._hashing.release()

    def _open(self, known: _Known, password: str, address: str) -> Grant:
        at, user = self._clock(), self._platform.platform_user
        renewed = passwords.hash_password(password) if passwords.outdated(known.hashed) else None
        with self._registry.transaction(writes=True) as connection:
            same = (user.c.uid == known.uid) & user.c.is_active & (user.c.hashed_password == known.hashed)
            held = sa.select(user.c.uid).where(same).with_for_update(read=renewed is None)
            if connection.execute(held).first() is None:
                raise LoginRefused  # disabled, or given another password, while the hash was verified
            if renewed is not None:
                users.set_password(connection, known.uid, renewed, schema=self._schema)
            session, refresh_token = self._sessions.open(connection, known.uid, address, at)
            key = self._keys.signing(connection)
            found = users.get_user(connection, known.uid, schema=self._schema)
            self._note(connection, "auth.login", {"session": session.uid}, known.email, address)
        return self._grant(found, session, refresh_token, key, at)

    def _grant(
        self, user: PlatformUser, session: PlatformSession, refresh_token: str, key: SigningKey, at: datetime
    ) -> Grant:
        from tenantry.iam import tokens

        claims = tokens.AccessClaims(user.uid, session.uid, new_uid(), key.kid)
        return Grant(tokens.sign(claims, key, at), refresh_token, int(ACCESS_LIFETIME.total_seconds()), user)

    def _note_failure(self, known: _Known | None, address: str, attempt: Attempt) -> None:
        """Write down a login that failed. What was typed is not: it may be a password in the wrong field."""
        locked = attempt.locked()
        details = {"user": None if known is None else known.username} | ({"locked": locked} if locked else {})
        with self._registry.transaction(writes=True) as connection:
            self._note(connection, "auth.login", details, NOBODY, address, outcome="refused")

    # -- users

    def users(
        self,
        *,
        role: PlatformRole | str | None = None,
        is_active: bool | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[PlatformUser]:
        """Users by user name; ``after``: only those that come after the user of that uid."""
        wanted = None if role is None else users.parse_role(role)
        with self._registry.transaction() as connection:
            return users.list_users(
                connection, role=wanted, is_active=is_active, after=after, limit=limit, schema=self._schema
            )

    def user(self, identifier: str) -> PlatformUser:
        """The user of that uid, email or user name. :raises UserNotFound: there is none."""
        with self._registry.transaction() as connection:
            return users.find_user(connection, identifier, schema=self._schema)

    def add_user(
        self,
        email: str,
        username: str | None = None,
        roles: Iterable[PlatformRole | str] = (),
        first_name: str = "",
        last_name: str = "",
        password: str | None = None,
    ) -> UserAdded:
        """Make an active user. Without ``password`` one is generated; without ``username`` it is the email's first
        part.

        :raises UserExists: the email or the user name is taken.
        :raises PasswordRejected, AccountError: something given is not allowed.
        """
        email = users.parse_email(email)
        username = users.parse_username(email.partition("@")[0] if username is None else username)
        wanted = users.parse_roles(roles)
        details = {"user": username, "email": email, "roles": [role.value for role in wanted]}
        hashed, generated = _password(password, (username, email))
        with self._change("user.add", details) as connection:
            added = users.insert_user(
                connection,
                email=email,
                username=username,
                hashed=hashed,
                roles=wanted,
                first_name=first_name,
                last_name=last_name,
                schema=self._schema,
            )
        return UserAdded(added, generated)

    def ensure_superuser(
        self,
        *,
        email: str,
        username: str,
        password: str | None = None,
        first_name: str = "Platform",
        last_name: str = "Administrator",
    ) -> SuperuserSeeded:
        """Make the user of that email an active administrator with a new password: see
        :func:`tenantry.iam.users.ensure_superuser`. One who exists has their sessions ended.
        """
        details = {"user": username.strip().lower(), "email": email.strip().lower()}
        with self._change("user.superuser", details) as connection:
            seeded = users.ensure_superuser(
                connection,
                email=email,
                username=username,
                password=password,
                first_name=first_name,
                last_name=last_name,
                schema=self._schema,
            )
            if not seeded.created:
                self._start_anew(connection, seeded.user)
        return seeded

    def set_roles(self, user_uid: str, roles: Iterable[PlatformRole | str]) -> PlatformUser:
        """Give the user these roles and no others; the next request of theirs is judged by them.

        :raises LastAdministrator: no active administrator would be left.
        """
        wanted = users.parse_roles(roles)
        details = {"user": user_uid, "roles": [role.value for role in wanted]}
        with self._change("user.roles", details) as connection:
            changed = users.set_roles(connection, user_uid, wanted, schema=self._schema)
            details["user"] = changed.username
        return changed

    def disable(self, user_uid: str) -> PlatformUser:
        """Let the user in no more: tokens and sessions are dead at once.

        :raises LastAdministrator: no active administrator would be left.
        """
        details = {"user": user_uid}
        with self._change("user.disable", details) as connection:
            changed = users.set_active(connection, user_uid, False, schema=self._schema)
            self._sessions.end(connection, self._clock(), "disabled", user_uid=user_uid)
            details["user"] = changed.username
        return changed

    def enable(self, user_uid: str) -> PlatformUser:
        """Let the user in again, with a new login; what was counted against them is forgotten."""
        details = {"user": user_uid}
        with self._change("user.enable", details) as connection:
            changed = users.set_active(connection, user_uid, True, schema=self._schema)
            self._forgive(connection, changed)
            details["user"] = changed.username
        return changed

    def reset_password(self, user_uid: str, password: str | None = None) -> str:
        """Give the user a new password and return it; their sessions end, and what was counted against them is
        forgotten. Without ``password`` one is generated.
        """
        with self._registry.transaction() as connection:
            found = users.get_user(connection, user_uid, schema=self._schema)
        hashed, generated = _password(password, (found.username, found.email))
        with self._change("user.password", {"user": found.username}) as connection:
            users.set_password(connection, user_uid, hashed, schema=self._schema)
            self._start_anew(connection, found)
        return generated or password or ""

    def _start_anew(self, connection: sa.Connection, user: PlatformUser) -> None:
        self._sessions.end(connection, self._clock(), "password", user_uid=user.uid)
        self._forgive(connection, user)

    def _forgive(self, connection: sa.Connection, user: PlatformUser) -> None:
        for account in (user.username, user.email):
            self._guard.forgive(account, connection)

    # -- sessions and keys

    def sessions(
        self,
        user_uid: str | None = None,
        *,
        over: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[PlatformSession]:
        """Sessions, newest first: of one user or of all; ``over``: those that are over too."""
        with self._registry.transaction() as connection:
            return self._sessions.list(
                connection,
                user_uid=user_uid,
                open_at=None if over else self._clock(),
                after=after,
                limit=limit,
            )

    def revoke_session(self, uid: str) -> None:
        """End a session; its tokens are dead at once. One that is over stays as it is.

        :raises SessionNotFound: there is none of that uid.
        """
        with self._change("session.revoke", {"session": uid}) as connection:
            self._sessions.get(connection, uid)
            self._sessions.end(connection, self._clock(), "revoked", uid=uid)

    def revoke_sessions(self, user_uid: str) -> int:
        """End every session of a user, and return how many were open."""
        details: dict[str, Any] = {"user": user_uid}
        with self._change("session.revoke", details) as connection:
            details["user"] = users.get_user(connection, user_uid, schema=self._schema).username
            details["sessions"] = self._sessions.end(connection, self._clock(), "revoked", user_uid=user_uid)
        return int(details["sessions"])

    def keys(self) -> list[SigningKey]:
        """The signing keys, newest first, without what they sign with."""
        with self._registry.transaction() as connection:
            return self._keys.list(connection)

    def rotate_keys(self, *, overlap: bool = True) -> SigningKey:
        """Sign with a new key from now on. Tokens of the old one are good until they expire; without ``overlap`` they
        are dead at once, and refresh tokens give new ones.
        """
        from tenantry.iam.tokens import SKEW

        details: dict[str, Any] = {"overlap": overlap}
        with self._change("key.rotate", details) as connection:
            key = self._keys.rotate(connection, overlap=ACCESS_LIFETIME + SKEW if overlap else timedelta(0))
            details["key"] = key.kid
        return SigningKey(key.kid, key.created_at)

    # -- within

    @contextmanager
    def _change(self, action: str, details: Mapping[str, Any]) -> Iterator[sa.Connection]:
        """A change of users, sessions or keys, one at a time on the platform, and its line in the audit trail; one that
        is refused changes nothing and has a line too. ``details`` may be filled in while it runs.
        """
        try:
            with self._registry.transaction(writes=True) as connection:
                users.hold_users(connection, schema=self._schema)
                yield connection
                self._note(connection, action, details)
        except StoreError:
            raise  # the database could not; it would not take the line either
        except TenancyError as error:
            refusal = {**details, "refused": str(error)}
            self._registry.audit(action, outcome="refused", details=refusal)
            error.recorded = True
            raise

    def _note(
        self,
        connection: sa.Connection,
        action: str,
        details: Mapping[str, Any],
        who: str | None = None,
        where: str | None = None,
        *,
        outcome: str = "done",
    ) -> None:
        self._registry.audit(
            action, outcome=outcome, details=dict(details), actor=who, origin=where, connection=connection
        )


def _password(given: str | None, names: tuple[str, ...]) -> tuple[str, str | None]:
    """The hash of the password given, or of a new one, which is returned too."""
    if given is not None:
        passwords.check_password(given, names=names)
        return passwords.hash_password(given), None
    generated = passwords.generate_password()
    return passwords.hash_password(generated), generated


def _origin(address: str) -> str:
    """An address as it may be kept: printable and short."""
    return "".join(letter if letter.isprintable() else "?" for letter in address[:MAX_ORIGIN]) or "unknown"
