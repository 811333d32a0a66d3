"""The rows of routes and of what was done over them.

A use of a route is written as ``in_progress`` before it begins, in a transaction of its own: a process that is killed
half-way leaves a row that tells of it.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from docex import access
from docex.database import Database
from docex.errors import RouteExists, RouteNotFound
from docex.models.tables import DocumentRow, OperationRow, RouteOperationRow, RouteRow, new_id, now
from docex.services import audit
from docex.services.listing import paged

IN_PROGRESS, SUCCESS, FAILED = "in_progress", "success", "failed"
SENT = "SENT"  # the status of a document that went out
LONGEST_ERROR = 2000  # characters that are kept of an error's text

FIELDS = tuple(column.name for column in RouteRow.__table__.columns)


@dataclass(frozen=True)
class RouteRecord:
    """A route's row as it was read. Its ``config`` holds credentials sealed."""

    id: str
    name: str
    purpose: str
    protocol: str
    config: Mapping[str, Any]
    can_upload: bool
    can_download: bool
    can_list: bool
    can_delete: bool
    other_party_id: str | None
    other_party_name: str | None
    other_party_type: str | None
    route_metadata: Mapping[str, Any]
    tags: builtins.list[str]
    priority: int
    enabled: bool
    created_at: datetime  # UTC
    updated_at: datetime  # UTC


class RouteService:
    """Makes, finds, lists, switches and removes routes, and keeps the record of their use."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, route_id: str, values: Mapping[str, Any]) -> RouteRecord:
        """Write a route. :raises RouteExists: its name is taken."""
        access.check(self._db, access.ADMIN)
        moment = now()
        row = RouteRow(id=route_id, created_at=moment, updated_at=moment, **values)
        with self._db.session(write=True) as session:
            session.add(row)
            try:
                session.flush()
            except IntegrityError as error:
                raise RouteExists(row.name) from error
            self._audit(session, "route.create", row.name, protocol=row.protocol)
            return _record(row)

    def get(self, name: str) -> RouteRecord | None:
        """The route of that name."""
        access.check(self._db, access.READ)
        with self._db.session() as session:
            row = session.scalars(select(RouteRow).where(RouteRow.name == name)).one_or_none()
            return None if row is None else _record(row)

    def list(
        self, purpose: str | None = None, protocol: str | None = None, enabled: bool | None = None
    ) -> builtins.list[RouteRecord]:
        """Routes, those of higher priority first, then by name."""
        access.check(self._db, access.READ)
        pairs = ((RouteRow.purpose, purpose), (RouteRow.protocol, protocol), (RouteRow.enabled, enabled))
        query = select(RouteRow).where(*(column == value for column, value in pairs if value is not None))
        with self._db.session() as session:
            rows = session.scalars(query.order_by(RouteRow.priority.desc(), RouteRow.name)).all()
            return [_record(row) for row in rows]

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Let a route be used, or not. :raises RouteNotFound: there is none of that name."""
        access.check(self._db, access.ADMIN)
        change = update(RouteRow).where(RouteRow.name == name).values(enabled=enabled, updated_at=now())
        with self._db.session(write=True) as session:
            changed = session.execute(change.returning(RouteRow.id).execution_options(synchronize_session=False)).all()
            if not changed:
                raise RouteNotFound(name)
            self._audit(session, "route.enable" if enabled else "route.disable", name)

    def delete(self, name: str) -> bool:
        """Remove a route with the record of its use; the documents' own operations stay. False: there was none."""
        access.check(self._db, access.ADMIN)
        removal = delete(RouteRow).where(RouteRow.name == name)
        with self._db.session(write=True) as session:
            removed = session.execute(removal.returning(RouteRow.id).execution_options(synchronize_session=False)).all()
            if removed:
                self._audit(session, "route.delete", name)
            return bool(removed)

    # -- their use -----------------------------------------------------------------------------------------------------

    def begin(self, route: RouteRecord, method: str, details: Mapping[str, Any], document_id: str | None = None) -> str:
        """Write that something is to be done over a route. Returns the operation's id.

        :raises RouteNotFound: the route was removed meanwhile.
        """
        row = RouteOperationRow(
            id=new_id("op"),
            route_id=route.id,
            operation_type=method,
            status=IN_PROGRESS,
            document_id=document_id,
            details=dict(details),
            user_id=self._db.user_id,
            created_at=now(),
        )
        with self._db.session(write=True) as session:
            session.add(row)
            try:
                session.flush()
            except IntegrityError as error:
                raise RouteNotFound(route.name) from error
            return row.id

    def end(
        self,
        operation_id: str,
        route: RouteRecord,
        *,
        error: str | None,
        details: Mapping[str, Any],
        document_id: str | None = None,
    ) -> None:
        """Write how it ended. With a document: also in its own operations, and success makes its status SENT."""
        moment = now()
        status = SUCCESS if error is None else FAILED
        kept = None if error is None else error[:LONGEST_ERROR]
        with self._db.session(write=True) as session:
            session.execute(
                update(RouteOperationRow)
                .where(RouteOperationRow.id == operation_id)
                .values(status=status, error=kept, details=dict(details), completed_at=moment)
                .execution_options(synchronize_session=False)
            )
            if document_id is None:
                return
            of_document = DocumentRow.id == document_id
            basket_id = session.scalars(select(DocumentRow.basket_id).where(of_document)).one_or_none()
            if basket_id is None:  # removed while it travelled; the route's own record stays
                return
            if error is None:
                session.execute(
                    update(DocumentRow)
                    .where(of_document)
                    .values(status=SENT, updated_at=moment, updated_by=self._db.user_id)
                    .execution_options(synchronize_session=False)
                )
            session.add(
                OperationRow(
                    document_id=document_id,
                    operation_type="UPLOAD",
                    status=status,
                    error=kept,
                    details={
                        "route_name": route.name,
                        "destination": details.get("destination"),
                        "route_operation_id": operation_id,
                    },
                    user_id=self._db.user_id,
                    created_at=moment,
                    completed_at=moment,
                )
            )
            self._audit(
                session,
                "document.send",
                route.name,
                basket_id=basket_id,
                document_id=document_id,
                destination=details.get("destination"),
                status=status,
            )

    def operations(
        self,
        *,
        route_name: str | None = None,
        document_id: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> builtins.list[dict[str, Any]]:
        """What was done over one route, with one document, or at all; newest first."""
        access.check(self._db, access.READ)
        query = select(
            RouteOperationRow.id,
            RouteRow.name.label("route"),
            RouteOperationRow.operation_type.label("type"),
            RouteOperationRow.status,
            RouteOperationRow.document_id,
            RouteOperationRow.created_at,
            RouteOperationRow.completed_at,
            RouteOperationRow.error,
            RouteOperationRow.details,
            RouteOperationRow.user_id,
        ).join(RouteRow, RouteRow.id == RouteOperationRow.route_id)
        if route_name is not None:
            query = query.where(RouteRow.name == route_name)
        if document_id is not None:
            query = query.where(RouteOperationRow.document_id == document_id)
        query = paged(
            query,
            {"created_at": RouteOperationRow.created_at},
            order_by=None,
            order_desc=True,
            limit=limit,
            offset=offset,
            last=RouteOperationRow.id,
        )
        with self._db.session() as session:
            return [dict(row) for row in session.execute(query).mappings()]

    def _audit(
        self,
        session: Session,
        action: str,
        route: str,
        *,
        basket_id: str | None = None,
        document_id: str | None = None,
        **details: Any,
    ) -> None:
        audit.record(
            session.connection(),
            self._db,
            action,
            basket_id=basket_id,
            document_id=document_id,
            details={"route": route, **details},
        )


def _record(row: RouteRow) -> RouteRecord:
    return RouteRecord(**{name: getattr(row, name) for name in FIELDS})
