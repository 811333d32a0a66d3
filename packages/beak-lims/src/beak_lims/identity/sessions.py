"""Sessions of a tenant's users: one login each, and the family of refresh tokens that came of it.

A refresh token is a random text of which the database has the SHA-256 alone. Each is good once. One that comes a second
time was copied by somebody: which of the two is the thief cannot be told, so the whole family ends.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from beak_lims.errors import RecordNotFound
from beak_lims.models import Ending, LaboratorySetting, OrganizationSetting, RefreshToken, UserSession
from tenantry.errors import TokenRefused
from tenantry.registry.uids import new_uid

LIFETIME = timedelta(hours=12)  # after which a session is over however often it was refreshed
SHORTEST_IDLE = timedelta(minutes=1)
DEFAULT_IDLE = timedelta(minutes=30)
ACCESS = timedelta(minutes=15)  # an access token outlives the last refresh by so much; idleness counts from its end
KEPT = timedelta(days=30)  # that a session that is over stays listed
TRUSTED = timedelta(days=30)  # that an address counts as its user's own after a login from there
MAX_ADDRESS = 64  # characters
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Reused(TokenRefused):
    """A refresh token came a second time; its session was ended. Fields: reason, session uid, user uid."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def digest_of(token: str) -> str:
    """What the database has of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def open_session(
    session: Session, user_uid: str, address: str, at: datetime, laboratory_uid: str | None = None
) -> tuple[UserSession, str]:
    """Begin a session, and give it with its first refresh token. Sessions that were over long ago go.

    It lasts as the laboratory to work in sets it, if one is named, else as the organisation does.
    """
    session.execute(delete(UserSession).where(UserSession.expires_at < at - KEPT))
    address = address[:MAX_ADDRESS]
    opened = UserSession(
        uid=new_uid(),
        user_uid=user_uid,
        address=address,
        last_address=address,
        created_at=at,
        refreshed_at=at,
        expires_at=at + _idle(session, laboratory_uid),
    )
    session.add(opened)
    session.flush()
    return opened, _token(session, opened)


def rotate(
    session: Session, refresh_token: str, address: str, at: datetime, laboratory_uid: str | None = None
) -> tuple[UserSession, str]:
    """Take a refresh token and give the next one of its session, which lasts as the laboratory named sets it, else the
    one that the session is at work in.

    :raises Reused: it was taken before; its session is ended now, so the transaction must be kept.
    :raises TokenRefused: there is no such token, or its session is over.
    """
    if not _TOKEN.fullmatch(refresh_token):
        raise TokenRefused("it is no refresh token")
    digest = digest_of(refresh_token)
    taken = session.execute(
        update(RefreshToken)
        .where(RefreshToken.digest == digest, RefreshToken.used_at.is_(None))
        .values(used_at=at)
        .returning(RefreshToken.session_uid, RefreshToken.expires_at)
    ).first()
    if taken is None:
        known = session.scalar(select(RefreshToken.session_uid).where(RefreshToken.digest == digest))
        if known is None:
            raise TokenRefused("there is no such refresh token")
        owner = session.get_one(UserSession, known)
        if not end(session, at, Ending.REUSE, uid=known):
            raise TokenRefused("its session is over")
        raise Reused("it was used before; its session was ended", known, owner.user_uid)
    held = session.get_one(UserSession, taken.session_uid, with_for_update=True)
    if held.ended_at is not None or held.expires_at <= at or taken.expires_at <= at:
        raise TokenRefused("its session is over")
    held.last_address, held.refreshed_at = address[:MAX_ADDRESS], at
    idle = _idle(session, laboratory_uid or held.active_laboratory_uid)
    held.expires_at = min(at + idle, held.created_at + LIFETIME)
    session.flush()
    return held, _token(session, held)


def end(session: Session, at: datetime, because: Ending, *, uid: str | None = None, user_uid: str | None = None) -> int:
    """End one session, or all of one user, that are open; tells how many were."""
    whose = UserSession.uid == uid if uid is not None else UserSession.user_uid == user_uid
    done = session.execute(
        update(UserSession)
        .where(whose, UserSession.ended_at.is_(None), UserSession.expires_at > at)
        .values(ended_at=at, ended_by=because)
        .execution_options(synchronize_session="fetch")
    )
    assert isinstance(done, CursorResult)  # noqa: S101 - an UPDATE gives one
    return done.rowcount


def open_sessions(session: Session, user_uid: str, at: datetime) -> list[UserSession]:
    """The user's sessions that are open, newest first."""
    still = (UserSession.user_uid == user_uid, UserSession.ended_at.is_(None), UserSession.expires_at > at)
    return list(session.scalars(select(UserSession).where(*still).order_by(UserSession.uid.desc())))


def revoke(session: Session, user_uid: str, uid: str, at: datetime) -> None:
    """End one open session of the user. :raises RecordNotFound: they have none of that uid."""
    owned = session.scalar(select(UserSession.uid).where(UserSession.uid == uid, UserSession.user_uid == user_uid))
    if owned is None or not end(session, at, Ending.REVOKED, uid=uid):
        raise RecordNotFound("open session", uid)


def revoke_all(session: Session, user_uid: str) -> int:
    """End every open session of the user; tells how many were."""
    return end(session, now(), Ending.REVOKED, user_uid=user_uid)


def trusts(session: Session, user_uid: str, address: str, at: datetime) -> bool:
    """Whether this user logged in from that address lately, and it was no thief as far as is known."""
    query = select(UserSession.uid).where(
        UserSession.user_uid == user_uid,
        UserSession.address == address[:MAX_ADDRESS],
        UserSession.created_at > at - TRUSTED,
        UserSession.ended_by.is_distinct_from(Ending.REUSE),
    )
    return session.scalar(query.limit(1)) is not None


def setting(session: Session, name: str, laboratory_uid: str | None) -> int | None:
    """What the laboratory sets, else the organisation; None where there is no row of settings."""
    own = None
    if laboratory_uid is not None:
        of_laboratory = LaboratorySetting.laboratory_uid == laboratory_uid
        own = session.scalar(select(getattr(LaboratorySetting, name)).where(of_laboratory))
    if own is None:
        whole = select(getattr(OrganizationSetting, name)).order_by(OrganizationSetting.uid)
        own = session.scalar(whole.limit(1))
    found: int | None = own
    return found


def _idle(session: Session, laboratory_uid: str | None) -> timedelta:
    """How long a session lasts that is not refreshed."""
    minutes = setting(session, "inactivity_log_out", laboratory_uid)
    idle = DEFAULT_IDLE if minutes is None else max(SHORTEST_IDLE, timedelta(minutes=minutes))
    return min(ACCESS + idle, LIFETIME)


def _token(session: Session, of: UserSession) -> str:
    token = secrets.token_urlsafe(32)
    session.add(RefreshToken(digest=digest_of(token), session_uid=of.uid, expires_at=of.expires_at))
    session.flush()
    return token
