"""Tokens with which programs work over HTTP: each is for one tenant, one user and the roles it was made with.

A token is shown once, when it is made; the database has its SHA-256. It is ``docex.{tenant id}.{secret}``, so that a
request names its tenant by the token alone.
"""

from __future__ import annotations

import builtins
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from docex import access
from docex.database import Database
from docex.errors import TokenError, TokenNotFound, TokenRefused
from docex.models.processing import TokenRow
from docex.models.tables import now
from docex.services import audit

ROLES = (access.READ, access.WRITE, access.ADMIN)
PREFIX = "docex"
_SECRET_BYTES = 32
_LONGEST = 512  # characters of a token that is looked at


@dataclass(frozen=True)
class Made:
    """A token that was made. ``token`` is shown this once."""

    id: str
    token: str

    def __repr__(self) -> str:
        return f"Made(id={self.id!r})"


@dataclass(frozen=True)
class Bearer:
    """Who comes in with a token."""

    token_id: str
    user_id: str
    roles: list[str]


class TokenService:
    """Makes, lists, revokes and looks up one tenant's tokens."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str, user_id: str, roles: Sequence[str], days: float | None = None) -> Made:
        """Make a token; ``days``: for how long it is good. :raises TokenError: a value cannot be used."""
        access.check(self._db, access.ADMIN)
        if not 0 < len(name) <= 255 or not 0 < len(user_id) <= 255:
            raise TokenError("A token's name and user are texts of 1 to 255 characters.")
        if not roles or set(roles) - set(ROLES):
            raise TokenError(f"A token's roles are some of {', '.join(ROLES)}, not {', '.join(roles) or 'none'}.")
        if days is not None and not 0 < days <= 36500:
            raise TokenError(f"A token is good for up to 36500 days, not {days:g}.")
        token = f"{PREFIX}.{self._db.tenant_id or ''}.{secrets.token_urlsafe(_SECRET_BYTES)}"
        moment = now()
        row = TokenRow(
            name=name,
            digest=_digest(token),
            user_id=user_id,
            roles=list(roles),
            created_at=moment,
            expires_at=None if days is None else moment + timedelta(days=days),
        )
        with self._db.session(write=True) as session:
            session.add(row)
            session.flush()
            details = {"token_id": row.id, "name": name, "user_id": user_id, "roles": list(roles)}
            audit.record(session.connection(), self._db, "token.create", details=details)
            return Made(row.id, token)

    def list(self) -> builtins.list[dict[str, Any]]:
        """The tenant's tokens, newest first, without the tokens themselves."""
        access.check(self._db, access.ADMIN)
        columns = (
            TokenRow.id,
            TokenRow.name,
            TokenRow.user_id,
            TokenRow.roles,
            TokenRow.created_at,
            TokenRow.expires_at,
            TokenRow.revoked_at,
        )
        with self._db.session() as session:
            rows = session.execute(select(*columns).order_by(TokenRow.created_at.desc(), TokenRow.id.desc()))
            return [dict(row) for row in rows.mappings()]

    def revoke(self, token_id: str) -> None:
        """Have a token open nothing from now on. :raises TokenNotFound: there is none of that id."""
        access.check(self._db, access.ADMIN)
        change = update(TokenRow).where(TokenRow.id == token_id).values(revoked_at=now()).returning(TokenRow.id)
        with self._db.session(write=True) as session:
            if not session.execute(change.execution_options(synchronize_session=False)).all():
                raise TokenNotFound(token_id)
            audit.record(session.connection(), self._db, "token.revoke", details={"token_id": token_id})

    def bearer(self, token: str) -> Bearer:
        """Who comes in with this token. :raises TokenRefused: nobody."""
        moment = now()
        with self._db.session() as session:
            row = session.scalars(select(TokenRow).where(TokenRow.digest == _digest(token))).one_or_none()
            if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= moment):
                raise TokenRefused()
            return Bearer(row.id, row.user_id, list(row.roles))


def tenant_of(token: str) -> str | None:
    """The tenant that a token names, None where there are no tenants. :raises TokenRefused: it is no token."""
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3 or parts[0] != PREFIX or not token.isascii():
        raise TokenRefused()
    return parts[1] or None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
