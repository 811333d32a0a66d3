"""Requests that carry a key of their own, so that one made twice is done once and gets one answer.

A key is taken in a transaction before the work begins, and leased for as long as its process renews the lease: after a
kill the next request of that key takes it over. Answers may hold a password that is told once, so they are encrypted
with a key made from the caller's, of which only a hash is kept here. Who can guess a key can read its answer: the edge
asks for long ones. Answers are kept for a day, then forgotten.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.registry.journal import now
from tenantry.registry.plane import ControlPlane
from tenantry.registry.tables import NAMING, UtcTime
from tenantry.registry.uids import new_uid

LEASE = 15.0  # seconds; a process that died holds its keys for as long
PURGED = 100  # expired rows that are removed by one request
NONCE = bytes(12)  # the encryption key is used once, for its salt is new every time


@functools.cache
def request_table(schema: str | None) -> sa.Table:
    """The table in that schema; without one its name is unqualified."""
    return sa.Table(
        "idempotency",
        sa.MetaData(schema=schema, naming_convention=NAMING),
        sa.Column("digest", sa.String(64), primary_key=True),  # of the user and the key
        sa.Column("fingerprint", sa.String(64), nullable=False),  # of the request
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("leased_until", UtcTime),  # None: the answer stands
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("expires_at", UtcTime, nullable=False, index=True),
    )


@dataclass(frozen=True)
class Ticket:
    """One request under its key."""

    digest: str
    fingerprint: str
    key: str = field(repr=False)
    owner: str = field(default_factory=new_uid)

    @classmethod
    def of(cls, user: str, key: str, *parts: bytes) -> Ticket:
        """The ticket of a user's key for the request that these parts make up."""
        fingerprint = hashlib.sha256()
        for part in parts:
            fingerprint.update(len(part).to_bytes(8) + part)
        digest = hashlib.sha256(f"{user}\0{key}".encode()).hexdigest()
        return cls(digest, fingerprint.hexdigest(), key)


class Taken(Exception):
    """The key is in use. ``same``: for the same request."""

    def __init__(self, *, same: bool) -> None:
        super().__init__(same)
        self.same = same


class Requests(ControlPlane):
    """The keys of one control plane. ``kept``: seconds for which an answer stands."""

    def __init__(self, engine: Callable[[], sa.Engine], schema: str | None, location: str, *, kept: float) -> None:
        super().__init__(engine, schema, location)
        self._table = request_table(schema)
        self._kept = timedelta(seconds=kept)

    def take(self, ticket: Ticket) -> bytes | None:
        """Take the key for this request; or, if the request was answered already, return that answer.

        May be called again with the same ticket when it is unknown whether it worked.

        :raises Taken: another request has the key.
        """
        table, at = self._table, now()
        row = {
            "digest": ticket.digest,
            "fingerprint": ticket.fingerprint,
            "owner": ticket.owner,
            "leased_until": at + timedelta(seconds=LEASE),
            "salt": secrets.token_bytes(16),
            "expires_at": at + self._kept,
        }
        expired = sa.select(table.c.digest).where(table.c.expires_at < at).limit(PURGED)
        with self.transaction(writes=True) as connection:
            connection.execute(sa.delete(table).where(table.c.digest.in_(expired)))
            insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
            insert = insert.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
            if connection.execute(insert, row).rowcount == 1:
                return None
            held = connection.execute(sa.select(table).where(table.c.digest == ticket.digest).with_for_update()).first()
            if held is None:  # it expired, or was given back, between the two statements
                raise Taken(same=True)
            if held.fingerprint != ticket.fingerprint:
                raise Taken(same=False)
            if held.answer is not None:
                answer: bytes = _cipher(ticket.key, held.salt).decrypt(NONCE, held.answer, None)
                return answer
            if held.owner != ticket.owner and held.leased_until > at:
                raise Taken(same=True)
            connection.execute(sa.update(table).where(table.c.digest == ticket.digest).values(row))
        return None

    def renew(self, ticket: Ticket) -> bool:
        """Keep the key for another lease; tells whether it was still to be kept."""
        with self.transaction(writes=True) as connection:
            until = now() + timedelta(seconds=LEASE)
            return connection.execute(self._ours(ticket).values(leased_until=until)).rowcount == 1

    def answer(self, ticket: Ticket, answer: bytes) -> None:
        """Keep the answer; a request that lost its key meanwhile keeps nothing."""
        salt = secrets.token_bytes(16)
        sealed = _cipher(ticket.key, salt).encrypt(NONCE, answer, None)
        with self.transaction(writes=True) as connection:
            connection.execute(self._ours(ticket).values(leased_until=None, salt=salt, answer=sealed))

    def give_back(self, ticket: Ticket) -> None:
        """Forget the key: its request was refused or failed, and may be made again."""
        table = self._table
        with self.transaction(writes=True) as connection:
            connection.execute(
                sa.delete(table).where(
                    table.c.digest == ticket.digest, table.c.owner == ticket.owner, table.c.answer.is_(None)
                )
            )

    def _ours(self, ticket: Ticket) -> sa.Update:
        table = self._table
        return sa.update(table).where(
            table.c.digest == ticket.digest, table.c.owner == ticket.owner, table.c.answer.is_(None)
        )


def _cipher(key: str, salt: bytes):  # type: ignore[no-untyped-def]  # of a class that is loaded late
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), 32, salt, b"tenantry idempotency").derive(key.encode()))
