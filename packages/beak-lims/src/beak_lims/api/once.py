"""Requests that are done once however often they are made: those that come with an ``Idempotency-Key``.

The key is taken in the transaction that does the work, and the answer kept there too: either both stand or neither. A
second request of a key that is at work waits for the first one. Each user has keys of their own in each laboratory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from starlette.responses import Response

from beak_lims.models import AnsweredRequest
from beak_lims.services.house_rules import now
from tenantry.http.errors import KeyReused

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

KEPT = timedelta(days=1)
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True)
class Once:
    """One request under its key."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str, *parts: bytes) -> Once:
        """The key for the request that these parts make up."""
        told = hashlib.sha256()
        for part in parts:
            told.update(len(part).to_bytes(8) + part)
        return cls(key, told.hexdigest())

    def take(self, session: Session, context: LabContext) -> Response | None:
        """Take the key; or, if its request was answered already, give that answer again.

        :raises KeyReused: it came with another request before.
        """
        at = now()
        session.execute(delete(AnsweredRequest).where(AnsweredRequest.expires_at < at))
        row = {"digest": self._digest(context), "fingerprint": self.fingerprint, "expires_at": at + KEPT}
        taken = insert(AnsweredRequest).values(row).on_conflict_do_nothing().returning(AnsweredRequest.digest)
        if session.scalar(taken) is not None:
            return None
        held = session.execute(
            select(AnsweredRequest.fingerprint, AnsweredRequest.status, AnsweredRequest.answer).where(
                AnsweredRequest.digest == row["digest"]
            )
        ).one()
        if held.fingerprint != self.fingerprint:
            raise KeyReused
        return Response(held.answer, held.status, {REPLAYED: "true"}, "application/json")

    def answer(self, session: Session, context: LabContext, status: int, body: bytes) -> None:
        """Keep the answer."""
        own = AnsweredRequest.digest == self._digest(context)
        session.execute(update(AnsweredRequest).where(own).values(status=status, answer=body.decode()))

    def _digest(self, context: LabContext) -> str:
        told = f"{context.user_uid}\0{context.laboratory_uid}\0{self.key}"
        return hashlib.sha256(told.encode()).hexdigest()
