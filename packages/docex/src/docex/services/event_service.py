"""The outbox: events of a tenant's baskets, which workers claim and finish.

An event is delivered at least once: a worker that dies keeps its claim until the lease ends, then another gets it. A
publisher that is not sure whether it published gives an idempotency key, which makes two of the same one.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from docex import access
from docex.database import Database
from docex.models.tables import EventRow, now, table_of
from docex.services.telling import told

PENDING, PROCESSED, FAILED = "PENDING", "PROCESSED", "FAILED"
LEASE = 60.0  # seconds a claim holds
MAX_ATTEMPTS = 5  # claims of one event; after the last it has failed

_event = table_of(EventRow)
_COLUMNS = (
    _event.c.id,
    _event.c.basket_id,
    _event.c.document_id,
    _event.c.event_type,
    _event.c.event_timestamp,
    _event.c.data,
    _event.c.attempts,
)


@dataclass(frozen=True)
class Event:
    """An event as it was claimed or looked at."""

    id: str
    basket_id: str
    document_id: str | None  # None: it was removed meanwhile, or the event is about no document
    event_type: str
    event_timestamp: datetime  # UTC
    data: Mapping[str, Any] | None
    attempts: int  # how often it was claimed


class EventService:
    """Publishes, claims and finishes the events of a tenant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def publish(
        self,
        basket_id: str,
        event_type: str,
        document_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> bool:
        """Add an event; False if there is one of that idempotency key already."""
        access.check(self._db, access.WRITE)
        row = {**told(self._db, basket_id, event_type, document_id, data or {}), "idempotency_key": idempotency_key}
        with self._db.session(write=True) as session:
            connection = session.connection()
            if idempotency_key is None:
                connection.execute(insert(_event), row)
                return True
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = dialect.insert(_event).values(row).on_conflict_do_nothing(index_elements=["idempotency_key"])
            return bool(connection.execute(statement.returning(_event.c.id)).all())

    def claim(
        self,
        worker: str,
        limit: int = 50,
        lease: float = LEASE,
        *,
        basket_id: str | None = None,
        types: Sequence[str] | None = None,
    ) -> list[Event]:
        """Take pending events, oldest first, for ``lease`` seconds; nobody else gets them before that.

        An event that was claimed five times and never finished has failed.
        """
        access.check(self._db, access.WRITE)
        moment = now()
        free = and_(_event.c.status == PENDING, or_(_event.c.claimed_until.is_(None), _event.c.claimed_until <= moment))
        where = [free, *_narrowed(basket_id, types)]
        with self._db.session(write=True) as session:
            connection = session.connection()
            # Past rows that others are claiming: to wait for them in an order of its own could be a circle.
            worn = select(_event.c.id).where(free, _event.c.attempts >= MAX_ATTEMPTS)
            spent = (
                update(_event)
                .where(_event.c.id.in_(worn.with_for_update(skip_locked=True)))
                .values(status=FAILED, error_message="claimed five times and never finished", updated_at=moment)
            )
            connection.execute(spent)
            oldest = (
                select(*_COLUMNS)
                .where(*where)
                .order_by(_event.c.event_timestamp, _event.c.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            rows = connection.execute(oldest).all()
            claim = {
                "claimed_by": worker[:255],
                "claimed_until": moment + timedelta(seconds=lease),
                "attempts": _event.c.attempts + 1,
                "updated_at": moment,
            }
            if rows:
                connection.execute(update(_event).where(_event.c.id.in_([row.id for row in rows])).values(claim))
            return [Event(*row[:-1], attempts=row.attempts + 1) for row in rows]

    def done(self, event: Event | str) -> None:
        """Finish an event."""
        self._finish(event, {"status": PROCESSED, "error_message": None})

    def failed(self, event: Event | str, error: str, *, retry: bool = False) -> None:
        """Finish an event that could not be worked on; with ``retry`` it can be claimed again at once."""
        self._finish(event, {"status": PENDING if retry else FAILED, "error_message": error})

    def get_pending_events(self, basket_id: str | None = None, batch_size: int = 50) -> list[Event]:
        """Pending events, oldest first, claimed or not. Claims nothing."""
        access.check(self._db, access.READ)
        query = select(*_COLUMNS).where(_event.c.status == PENDING, *_narrowed(basket_id, None))
        with self._db.session() as session:
            rows = session.connection().execute(query.order_by(_event.c.event_timestamp, _event.c.id).limit(batch_size))
            return [Event(*row) for row in rows]

    def _finish(self, event: Event | str, values: dict[str, Any]) -> None:
        access.check(self._db, access.WRITE)
        event_id = event if isinstance(event, str) else event.id
        released = {**values, "claimed_by": None, "claimed_until": None, "updated_at": now()}
        with self._db.session(write=True) as session:
            session.connection().execute(update(_event).where(_event.c.id == event_id).values(released))


def _narrowed(basket_id: str | None, types: Sequence[str] | None) -> builtins.list[ColumnElement[bool]]:
    where: builtins.list[ColumnElement[bool]] = []
    if basket_id is not None:
        where.append(_event.c.basket_id == basket_id)
    if types is not None:
        where.append(_event.c.event_type.in_(builtins.list(types)))
    return where
