"""How a tenant's users log in: with lockout, with refresh tokens that are good once, with passwords that keep the rule.

Everything that is refused costs the same and tells the same. No transaction is open while a password is hashed. What
happens stands in the tenant's audit trail, a refused login too; passwords and tokens stand nowhere.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from beak_lims import audit
from beak_lims.context import LabContext
from beak_lims.crypto import keyring
from beak_lims.errors import CredentialsRefused, LaboratoryRefused, RecordNotFound, ResetRefused
from beak_lims.identity import sessions, tokens
from beak_lims.models import Ending, Laboratory, PasswordReset, User, UserSession, user_laboratory
from tenantry.errors import TokenRefused, TooManyAttempts
from tenantry.iam import passwords

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenantry.iam.attempts import Attempt, LoginGuard
    from tenantry.tenancy import Tenancy
    from tenantry.tenant import Tenant

# A hash takes 64 MiB while it is verified: so many at once in one process, the others wait their turn.
HASHES_AT_ONCE = max(2, os.cpu_count() or 1)
HASH_PATIENCE = 5.0  # seconds until somebody who waits is sent away
RESET_LIFETIME = timedelta(hours=1)
MAX_IDENTIFIER = 255  # characters


@dataclass(frozen=True)
class LaboratoryChoice:
    """A laboratory that a user may work in."""

    uid: str
    name: str


@dataclass(frozen=True)
class Grant:
    """What a login or a refresh gives: told to the caller once, and kept nowhere."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds
    user: User
    laboratories: tuple[LaboratoryChoice, ...]
    must_change_password: bool


@dataclass(frozen=True)
class _Known:
    uid: str
    user_name: str
    hashed: str = field(repr=False)
    usable: bool


class Identity:
    """The users of every tenant, each in its own tables. Safe to share between threads; connects at first use."""

    def __init__(self, tenancy: Tenancy) -> None:
        self._tenancy = tenancy
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)

    @cached_property
    def _guard(self) -> LoginGuard:
        from tenantry.iam.attempts import LoginGuard, LoginLimits, SharedCounters
        from tenantry.iam.keys import utc_now
        from tenantry.iam.tables import tables

        counters = SharedCounters(self._tenancy.registry, tables(self._tenancy.store.control_schema), utc_now)
        return LoginGuard(counters, LoginLimits(), keyring().signing_key("beak-lims login attempts"))

    # -- logging in

    def login(
        self, tenant: Tenant, identifier: str, password: str, context: LabContext, laboratory_uid: str | None = None
    ) -> Grant:
        """Open a session for the user of that email or user name. ``laboratory_uid``: the one to work in; the access
        tokens of the session then name it.

        :raises CredentialsRefused: the user is unknown, inactive or blocked, or the password is wrong.
        :raises TooManyAttempts: too many failed for this account or from this address; nothing was looked at.
        :raises LaboratoryRefused: the user is not assigned to that laboratory.
        """
        account, address = identifier.strip().lower(), context.address or ""
        attempt = self._guard.attempt(f"{tenant.uid}/{account}", address)
        attempt.check_address()
        known, trusted = self._look_up(tenant, account, address)
        attempt.count(trusted=trusted)
        try:
            right = self._verify(passwords.decoy() if known is None else known.hashed, password)
        except TooManyAttempts:
            attempt.withdraw()
            raise
        if known is None or not right or not known.usable:
            self._note_failure(tenant, known, context, attempt)
            raise CredentialsRefused
        grant = self._open(tenant, known, password, context, laboratory_uid)
        attempt.succeeded()
        return grant

    def refresh(
        self, tenant: Tenant, refresh_token: str, context: LabContext, laboratory_uid: str | None = None
    ) -> Grant:
        """Take a refresh token, which is good once, and give the next, with a new access token. It names the laboratory
        of the session, unless another is given, which is the session's from then on.

        :raises TokenRefused: it is unknown, used or over, or its user is inactive. One that was used before ends its
            session.
        :raises LaboratoryRefused: the user is not assigned to that laboratory.
        """
        at, reused = sessions.now(), None
        with self._tenancy.session(tenant.slug) as session:
            try:
                opened, following = sessions.rotate(session, refresh_token, context.address or "", at, laboratory_uid)
            except sessions.Reused as error:  # the end of the session must be kept
                reused = error
                audit.note(session, context, "refresh refused", "user", error.args[2], after={"reason": error.args[0]})
            else:
                user = session.get_one(User, opened.user_uid)
                if not user.is_active or user.is_blocked:
                    raise TokenRefused("its user is inactive")
                at_work = laboratory_uid or opened.active_laboratory_uid
                return self._grant(session, tenant, user, opened, following, at_work, at)
        raise TokenRefused(reused.args[0])

    def logout(self, session: Session, context: LabContext, session_uid: str) -> None:
        """End the session that an access token is of."""
        if sessions.end(session, sessions.now(), Ending.LOGOUT, uid=session_uid):
            audit.note(session, context, "logout", "user", context.user_uid)

    # -- passwords

    def change_password(self, tenant: Tenant, user_uid: str, old: str, new: str, context: LabContext) -> None:
        """Give a user who knows the old password a new one, and end every session of theirs.

        :raises CredentialsRefused: the old one is wrong. :raises TooManyAttempts: it was tried too often.
        :raises PasswordRejected: the new one breaks the rule.
        """
        with self._session(tenant) as session:
            user = session.get_one(User, user_uid)
            hashed, names = user.hashed_password, (user.user_name, user.email)
        attempt = self._guard.attempt(f"{tenant.uid}/{user_uid}", context.address or "")
        attempt.check_address()
        attempt.count(trusted=True)
        if not self._verify(hashed, old):
            raise CredentialsRefused
        attempt.succeeded()
        passwords.check_password(new, names=names)
        renewed = passwords.hash_password(new)
        with self._session(tenant) as session:
            user = session.get_one(User, user_uid, with_for_update=True)
            if user.hashed_password != hashed:
                raise CredentialsRefused
            self._renew(session, user, renewed, context, "change password")

    def begin_reset(self, session: Session, context: LabContext, user_uid: str) -> tuple[str, timedelta]:
        """A token with which the user chooses a new password, once, and how long it is good. Earlier ones are no more.

        The caller hands it over; it is kept nowhere. :raises RecordNotFound: there is no such user.
        """
        if session.get(User, user_uid) is None:
            raise RecordNotFound("user", user_uid)
        at, token = sessions.now(), secrets.token_urlsafe(32)
        for earlier in session.scalars(
            select(PasswordReset).where(PasswordReset.user_uid == user_uid, PasswordReset.used_at.is_(None))
        ):
            earlier.used_at = at
        session.add(
            PasswordReset(
                digest=sessions.digest_of(token),
                user_uid=user_uid,
                created_at=at,
                created_by_uid=context.user_uid,
                expires_at=at + RESET_LIFETIME,
            )
        )
        audit.note(session, context, "begin password reset", "user", user_uid)
        return token, RESET_LIFETIME

    def finish_reset(self, tenant: Tenant, token: str, new: str, context: LabContext) -> None:
        """Take a reset token and give its user a new password; every session of theirs ends.

        :raises ResetRefused: the token is unknown, was used, or is too old.
        :raises PasswordRejected: the password breaks the rule; the token stays good.
        :raises TooManyAttempts: too many tokens were tried from this address.
        """
        attempt = self._guard.attempt(f"{tenant.uid}/reset", context.address or "")
        attempt.check_address()
        attempt.count(trusted=True)
        digest = sessions.digest_of(token)
        wanted = select(PasswordReset).where(
            PasswordReset.digest == digest, PasswordReset.used_at.is_(None), PasswordReset.expires_at > sessions.now()
        )
        with self._session(tenant) as session:
            found = session.scalar(wanted)
            if found is None:
                raise ResetRefused
            user = session.get_one(User, found.user_uid)
            names = (user.user_name, user.email)
        attempt.succeeded()
        passwords.check_password(new, names=names)
        renewed = passwords.hash_password(new)
        with self._session(tenant) as session:
            taken = session.scalar(wanted.with_for_update())
            if taken is None:
                raise ResetRefused
            taken.used_at = sessions.now()
            user = session.get_one(User, taken.user_uid, with_for_update=True)
            user.login_retry = 0
            self._renew(session, user, renewed, context, "reset password")

    # -- the parts

    def _session(self, tenant: Tenant) -> AbstractContextManager[Session]:
        return self._tenancy.session(tenant.slug)

    def _look_up(self, tenant: Tenant, account: str, address: str) -> tuple[_Known | None, bool]:
        # The database would refuse a NUL or half a character, and keeps nothing as long as that.
        fit = account if account.isprintable() and len(account) <= MAX_IDENTIFIER else ""
        with self._session(tenant) as session:
            user = session.scalar(select(User).where(or_(User.email == fit, User.user_name == fit)))
            trusted = sessions.trusts(session, "" if user is None else user.uid, address, sessions.now())
            if user is None:
                return None, trusted
            usable = user.is_active and not user.is_blocked
            return _Known(user.uid, user.user_name, user.hashed_password, usable), trusted

    def _verify(self, hashed: str, password: str) -> bool:
        if not self._hashing.acquire(timeout=HASH_PATIENCE):
            raise TooManyAttempts(1)
        try:
            return passwords.verify_password(hashed, password)
        finally:
            self._hashing.release()

    def _open(
        self, tenant: Tenant, known: _Known, password: str, context: LabContext, laboratory_uid: str | None
    ) -> Grant:
        at = sessions.now()
        renewed = passwords.hash_password(password) if passwords.outdated(known.hashed) else None
        with self._session(tenant) as session:
            user = session.get(User, known.uid, with_for_update=True)
            if user is None or not user.is_active or user.is_blocked or user.hashed_password != known.hashed:
                raise CredentialsRefused  # blocked, or given another password, while the hash was verified
            if renewed is not None:
                user.hashed_password = renewed
            user.login_retry = 0
            if _expired(session, user, at, laboratory_uid):
                user.must_change_password = True
            opened, refresh_token = sessions.open_session(session, user.uid, context.address or "", at, laboratory_uid)
            audit.note(
                session, replace(context, user_uid=user.uid, user_name=user.user_name), "login", "user", user.uid
            )
            return self._grant(session, tenant, user, opened, refresh_token, laboratory_uid, at)

    def _grant(
        self,
        session: Session,
        tenant: Tenant,
        user: User,
        opened: UserSession,
        refresh_token: str,
        laboratory_uid: str | None,
        at: datetime,
    ) -> Grant:
        choices = laboratories_of(session, user)
        if laboratory_uid is not None and laboratory_uid not in {choice.uid for choice in choices}:
            raise LaboratoryRefused
        opened.active_laboratory_uid = laboratory_uid
        access_token = tokens.sign(tenant, user.uid, opened.uid, laboratory_uid, at)
        session.flush()
        session.refresh(user)
        session.expunge(user)
        lifetime = int(tokens.LIFETIME.total_seconds())
        return Grant(access_token, refresh_token, lifetime, user, choices, user.must_change_password)

    def _note_failure(self, tenant: Tenant, known: _Known | None, context: LabContext, attempt: Attempt) -> None:
        """Write down a login that failed. What was typed is not: it may be a password in the wrong field."""
        locked = attempt.locked()
        with self._session(tenant) as session:
            if known is not None:
                user = session.get(User, known.uid)
                if user is not None:
                    user.login_retry += 1
            after = {"user": None if known is None else known.user_name} | ({"locked": locked} if locked else {})
            audit.note(session, context, "login refused", "user", None if known is None else known.uid, after=after)

    def _renew(self, session: Session, user: User, hashed: str, context: LabContext, action: str) -> None:
        at = sessions.now()
        user.hashed_password, user.must_change_password, user.password_changed_at = hashed, False, at
        sessions.end(session, at, Ending.PASSWORD, user_uid=user.uid)
        audit.note(session, replace(context, user_uid=user.uid, user_name=user.user_name), action, "user", user.uid)


def laboratories_of(session: Session, user: User) -> tuple[LaboratoryChoice, ...]:
    """The laboratories that a user may work in, by name: those assigned; for a superuser all."""
    query = select(Laboratory.uid, Laboratory.name).order_by(Laboratory.name)
    if not user.is_superuser:
        mine = select(user_laboratory.c.laboratory_uid).where(user_laboratory.c.user_uid == user.uid)
        query = query.where(Laboratory.uid.in_(mine))
    return tuple(LaboratoryChoice(row.uid, row.name) for row in session.execute(query))


def _expired(session: Session, user: User, at: datetime, laboratory_uid: str | None) -> bool:
    days = sessions.setting(session, "password_lifetime", laboratory_uid)
    return days is not None and days > 0 and user.password_changed_at + timedelta(days=days) <= at
