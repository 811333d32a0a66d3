"""The keys that sign access tokens: made, found by their id, rotated with overlap.

A key is derived from two halves: the platform's secret, and a random salt in the control plane. A copy of the database
forges no token, nor does the environment alone; rotation makes a new salt. Rows hold salts only.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from tenantry.iam.secret import PlatformSecret
from tenantry.iam.tables import PlatformTables
from tenantry.registry.plane import ControlPlane
from tenantry.registry.uids import new_uid

KEY_PURPOSE = "access token"
MARK_PURPOSE = "mark of the secret"
ID_PURPOSE = "key id"
ID_LENGTH = 22  # digits of a uid; ten more prove that the id was made here, so that a made-up one costs no look
KEPT = timedelta(days=1)  # that a retired key stays listed


@dataclass(frozen=True)
class SigningKey:
    """One key. ``retires_at``: tokens signed with it are good until then; None: it signs the new ones."""

    kid: str
    created_at: datetime
    retires_at: datetime | None = None
    secret: bytes = field(default=b"", repr=False)


class KeyRing:
    """The signing keys of one platform. Safe to share between threads."""

    def __init__(
        self,
        plane: ControlPlane,
        platform: PlatformTables,
        secret: PlatformSecret,
        clock: Callable[[], datetime],
    ) -> None:
        self._plane = plane
        self._platform = platform
        self._secret = secret
        self._clock = clock
        self._known: dict[str, bytes | None] = {}
        self._guard = threading.Lock()

    def signing(self, connection: sa.Connection) -> SigningKey:
        """The key for a new token, made if there is none of this secret yet.

        The caller's transaction writes; processes that make the first key at once make one.
        """
        found = self._newest(connection)
        if found is None:
            self._hold(connection)
            found = self._newest(connection) or self._make(connection)
        return found

    def find(self, kid: str) -> bytes | None:
        """The key of that id, or None. Whether it is still good, the session's look at the database tells."""
        with self._guard:
            if kid not in self._known and self._is_ours(kid):
                table = self._platform.platform_signing_key
                query = sa.select(table.c.salt).where(table.c.kid == kid, table.c.secret_mark == self._mark())
                with self._plane.transaction() as connection:
                    salt = connection.execute(query).scalar()
                # One that is not there was removed, and never comes back: a token has its key's id after the key.
                self._known[kid] = None if salt is None else self._derive(salt)
            return self._known.get(kid)

    def rotate(self, connection: sa.Connection, *, overlap: timedelta) -> SigningKey:
        """Make a new key; the others are good for ``overlap`` more. Keys of another secret and old ones go."""
        at, table = self._clock(), self._platform.platform_signing_key
        self._hold(connection)
        ours = table.c.secret_mark == self._mark()
        retired = (table.c.retires_at.is_(None)) | (table.c.retires_at > at + overlap)
        connection.execute(sa.update(table).where(ours, retired).values(retires_at=at + overlap))
        connection.execute(sa.delete(table).where(sa.not_(ours) | (table.c.retires_at < at - KEPT)))
        return self._make(connection)

    def list(self, connection: sa.Connection) -> list[SigningKey]:
        """The keys of this secret, newest first, without what they sign with."""
        table = self._platform.platform_signing_key
        query = sa.select(table.c.kid, table.c.created_at, table.c.retires_at).where(
            table.c.secret_mark == self._mark()
        )
        return [SigningKey(*row) for row in connection.execute(query.order_by(table.c.kid.desc()))]

    def _newest(self, connection: sa.Connection) -> SigningKey | None:
        table = self._platform.platform_signing_key
        query = (
            sa.select(table.c.kid, table.c.created_at, table.c.salt)
            .where(table.c.secret_mark == self._mark(), table.c.retires_at.is_(None))
            .order_by(table.c.kid.desc())
            .limit(1)
        )
        row = connection.execute(query).first()
        return None if row is None else SigningKey(row.kid, row.created_at, None, self._derive(row.salt))

    def _make(self, connection: sa.Connection) -> SigningKey:
        salt = secrets.token_urlsafe(32)
        key = SigningKey(self._id(new_uid()[:ID_LENGTH]), self._clock(), None, self._derive(salt))
        row = {"kid": key.kid, "salt": salt, "secret_mark": self._mark(), "created_at": key.created_at}
        connection.execute(sa.insert(self._platform.platform_signing_key), row)
        return key

    def _hold(self, connection: sa.Connection) -> None:
        """Let no other process make a key until the transaction ends. On SQLite its write lock does that."""
        if connection.dialect.name == "postgresql":
            role = self._platform.platform_role
            query = sa.select(role.c.uid).order_by(role.c.uid).limit(1)
            connection.execute(query.with_for_update(key_share=True))

    def _derive(self, salt: str) -> bytes:
        return self._secret.derive(KEY_PURPOSE, salt)

    def _is_ours(self, kid: str) -> bool:
        return kid.isascii() and hmac.compare_digest(kid, self._id(kid[:ID_LENGTH]))

    def _id(self, start: str) -> str:
        return start + self._secret.derive(ID_PURPOSE, start).hex()[: 32 - ID_LENGTH]

    def _mark(self) -> str:
        return self._secret.derive(MARK_PURPOSE).hex()[:16]


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
