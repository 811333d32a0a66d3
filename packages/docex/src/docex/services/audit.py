"""The audit trail: who changed what, in the transaction of the change itself.

A row outlives the document or basket it tells of. Nothing here removes rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from docex import access
from docex.database import Database
from docex.models.holdings import AuditRow
from docex.models.tables import new_id, now, table_of
from docex.services.listing import paged

TABLE = table_of(AuditRow)


def row(
    db: Database,
    action: str,
    *,
    basket_id: str | None = None,
    document_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    moment: datetime | None = None,
) -> dict[str, Any]:
    """The columns of a row about a change that the database's user makes."""
    context = db.user_context
    return {
        "id": new_id("aud"),
        "happened_at": moment or now(),
        "action": action,
        "basket_id": basket_id,
        "document_id": document_id,
        "user_id": db.user_id,
        "user_email": context.user_email if context else None,
        "attributes": _plain(context.attributes) if context and context.attributes else None,
        "details": details,
    }


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes as JSON holds them; what has no JSON form is written as text."""
    kept: dict[str, Any] = json.loads(json.dumps(dict(attributes), default=str))
    return kept


def record(connection: Connection, db: Database, action: str, **given: Any) -> None:
    """Write a row: see :func:`row`."""
    connection.execute(insert(TABLE), row(db, action, **given))


class AuditTrail:
    """Reads the trail."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def list(
        self,
        *,
        document_id: str | None = None,
        basket_id: str | None = None,
        user_id: str | None = None,
        limit: int | None = 100,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """Changes, newest first."""
        access.check(self._db, access.READ)
        query = select(TABLE)
        pairs = ((AuditRow.document_id, document_id), (AuditRow.basket_id, basket_id), (AuditRow.user_id, user_id))
        query = query.where(*(column == value for column, value in pairs if value is not None))
        orders = {"created_at": AuditRow.happened_at}
        query = paged(query, orders, order_by=None, order_desc=True, limit=limit, offset=offset, last=AuditRow.id)
        with self._db.session() as session:
            return [dict(found) for found in session.execute(query).mappings()]
