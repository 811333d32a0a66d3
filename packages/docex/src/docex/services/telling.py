"""What the outbox is told of a change, in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docex.database import Database
from docex.models.tables import new_id, now


def told(db: Database, basket_id: str, kind: str, document_id: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an event."""
    moment = now()
    return {
        "id": new_id("evt"),
        "basket_id": basket_id,
        "document_id": document_id,
        "event_type": kind,
        "event_timestamp": moment,
        "data": dict(data),
        "source": "docex",
        "status": "PENDING",
        "created_at": moment,
        "updated_at": moment,
        "user_id": db.user_id,
        "attempts": 0,
    }
