"""Sessions of platform users: one login each, and the family of refresh tokens that came of it.

A refresh token is a random text of which the database has the SHA-256 only. Each is good once. One that comes a second
time was copied by somebody: which of the two is the thief cannot be told, so the whole family ends.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from tenantry.errors import SessionNotFound, TokenRefused
from tenantry.iam.tables import PlatformTables
from tenantry.registry.uids import new_uid

IDLE = timedelta(hours=12)  # after which a session that was not refreshed is over
LIFETIME = timedelta(days=7)  # after which it is over however often it was
KEPT = timedelta(days=30)  # that a session that is over stays listed
TRUSTED = timedelta(days=30)  # that an address counts as its user's own after a login from there
MAX_ADDRESS = 64  # characters
_REFRESH_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class PlatformSession:
    """One login of a platform user. It is over when it was ended, or when its time is up."""

    uid: str
    user_uid: str
    address: str  # of the login
    last_address: str  # of the last refresh
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None  # logout, revoked, reuse, disabled, password

    def is_open(self, at: datetime) -> bool:
        """Whether its tokens are good then."""
        return self.ended_at is None and at < self.expires_at


class ReuseFound(TokenRefused):
    """A refresh token came a second time; its session was ended. Fields: reason, session uid, user uid."""


class Sessions:
    """The sessions of one platform, over the caller's connection."""

    def __init__(self, platform: PlatformTables) -> None:
        self._platform = platform
        session = platform.platform_session
        self._select = sa.select(*(session.c[name] for name in PlatformSession.__dataclass_fields__))

    def open(self, connection: sa.Connection, user_uid: str, address: str, at: datetime) -> tuple[PlatformSession, str]:
        """Begin a session; returns it with its first refresh token. Sessions that were over long ago go."""
        table = self._platform.platform_session
        connection.execute(sa.delete(table).where(table.c.expires_at < at - KEPT))
        address = address[:MAX_ADDRESS]
        session = PlatformSession(new_uid(), user_uid, address, address, at, at, at + IDLE)
        connection.execute(sa.insert(table), dict(vars(session)))
        return session, self._token(connection, session.uid, session.expires_at)

    def rotate(
        self, connection: sa.Connection, refresh_token: str, address: str, at: datetime
    ) -> tuple[PlatformSession, str]:
        """Take a refresh token and give the next one of its session.

        :raises ReuseFound: it was taken before; its session is ended now, so the transaction must be kept.
        :raises TokenRefused: there is no such token, or its session is over.
        """
        if not _REFRESH_TOKEN.fullmatch(refresh_token):
            raise TokenRefused("it is no refresh token")
        table, digest = self._platform.platform_refresh_token, _digest(refresh_token)
        take = (
            sa.update(table)
            .where(table.c.digest == digest, table.c.used_at.is_(None))
            .values(used_at=at)
            .returning(table.c.session_uid, table.c.expires_at)
        )
        taken = connection.execute(take).first()
        if taken is None:
            known = connection.execute(sa.select(table.c.session_uid).where(table.c.digest == digest)).first()
            if known is None:
                raise TokenRefused("there is no such refresh token")
            raise self._reused(connection, known.session_uid, at)
        session = self._held(connection, taken.session_uid)
        if not session.is_open(at) or taken.expires_at <= at:
            raise TokenRefused("its session is over")
        return self._prolong(connection, session, address, at)

    def _prolong(
        self, connection: sa.Connection, session: PlatformSession, address: str, at: datetime
    ) -> tuple[PlatformSession, str]:
        table = self._platform.platform_session
        expires_at = min(at + IDLE, session.created_at + LIFETIME)
        change = {"last_address": address[:MAX_ADDRESS], "refreshed_at": at, "expires_at": expires_at}
        connection.execute(sa.update(table).where(table.c.uid == session.uid).values(change))
        return self.get(connection, session.uid), self._token(connection, session.uid, expires_at)

    def _reused(self, connection: sa.Connection, session_uid: str, at: datetime) -> TokenRefused:
        session = self._held(connection, session_uid)
        if not self.end(connection, at, "reuse", uid=session_uid):
            return TokenRefused("its session is over")
        return ReuseFound("it was used before; its session was ended", session_uid, session.user_uid)

    def _held(self, connection: sa.Connection, session_uid: str) -> PlatformSession:
        """The session, which nobody else changes until the transaction ends; its user first, as everywhere."""
        user, session = self._platform.platform_user, self._platform.platform_session
        owner = (
            sa.select(user.c.uid).join(session, session.c.user_uid == user.c.uid).where(session.c.uid == session_uid)
        )
        connection.execute(owner.with_for_update(read=True, of=user))
        query = self._select.where(session.c.uid == session_uid).with_for_update()
        return PlatformSession(*connection.execute(query).one())

    def _token(self, connection: sa.Connection, session_uid: str, expires_at: datetime) -> str:
        token = secrets.token_urlsafe(32)
        row = {"digest": _digest(token), "session_uid": session_uid, "expires_at": expires_at}
        connection.execute(sa.insert(self._platform.platform_refresh_token), row)
        return token

    def get(self, connection: sa.Connection, uid: str) -> PlatformSession:
        """The session of that uid. :raises SessionNotFound: there is none."""
        row = connection.execute(self._select.where(self._platform.platform_session.c.uid == uid)).first()
        if row is None:
            raise SessionNotFound(uid)
        return PlatformSession(*row)

    def owner_of(self, connection: sa.Connection, refresh_token: str) -> PlatformSession | None:
        """The session that the refresh token belongs to, or None."""
        table = self._platform.platform_refresh_token
        if not _REFRESH_TOKEN.fullmatch(refresh_token):
            return None
        query = sa.select(table.c.session_uid).where(table.c.digest == _digest(refresh_token))
        uid = connection.execute(query).scalar()
        return None if uid is None else self.get(connection, uid)

    def list(
        self,
        connection: sa.Connection,
        *,
        user_uid: str | None = None,
        open_at: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[PlatformSession]:
        """Sessions, newest first: of one user or of all, those open at that time or all."""
        session = self._platform.platform_session
        query = self._select.order_by(session.c.uid.desc())
        if user_uid is not None:
            query = query.where(session.c.user_uid == user_uid)
        if open_at is not None:
            query = query.where(session.c.ended_at.is_(None), session.c.expires_at > open_at)
        if after is not None:
            query = query.where(session.c.uid < after)
        if limit is not None:
            query = query.limit(limit)
        return [PlatformSession(*row) for row in connection.execute(query)]

    def end(
        self,
        connection: sa.Connection,
        at: datetime,
        because: str,
        *,
        uid: str | None = None,
        user_uid: str | None = None,
    ) -> int:
        """End one session, or all of one user, that are open; returns how many were."""
        session = self._platform.platform_session
        one = session.c.uid == uid if uid is not None else session.c.user_uid == user_uid
        still = one & session.c.ended_at.is_(None) & (session.c.expires_at > at)
        change = sa.update(session).where(still).values(ended_at=at, ended_by=because)
        return int(connection.execute(change).rowcount)

    def trusts(self, connection: sa.Connection, user_uid: str, address: str, at: datetime) -> bool:
        """Whether this user logged in from that address lately, and it was no thief as far as is known."""
        session = self._platform.platform_session
        query = sa.select(session.c.uid).where(
            session.c.user_uid == user_uid,
            session.c.address == address[:MAX_ADDRESS],
            session.c.created_at > at - TRUSTED,
            session.c.ended_by.is_distinct_from("reuse"),
        )
        return connection.execute(query.limit(1)).first() is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
