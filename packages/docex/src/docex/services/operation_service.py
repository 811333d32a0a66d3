"""Operations that wait for each other, and a runner that does them in order.

An operation is ready when it is pending and everything it depends on has succeeded. One that depends on a failed one
fails with it. Operations cannot depend on each other in a circle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from docex import access
from docex.database import Database
from docex.errors import DocumentNotFound, OperationRejected
from docex.models.tables import DocumentRow, OperationDependencyRow, OperationRow, new_id, now, table_of

logger = logging.getLogger(__name__)

PENDING, RUNNING, SUCCESS, FAILED = "pending", "running", "success", "failed"

_operation = table_of(OperationRow)
_edge = table_of(OperationDependencyRow)

Handler = Callable[["Operation"], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Operation:
    """Something to do, or done, with a document."""

    id: str
    document_id: str
    operation_type: str
    status: str
    details: Mapping[str, Any] | None
    error: str | None = None


class OperationService:
    """Plans operations and runs those that are ready."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def plan(
        self,
        document_id: str,
        operation_type: str,
        details: Mapping[str, Any] | None = None,
        *,
        depends_on: Sequence[str] = (),
    ) -> str:
        """Add a pending operation that waits for others; returns its id.

        :raises DocumentNotFound: there is no such document. :raises OperationRejected: one of the others is not there.
        """
        access.check(self._db, access.WRITE)
        row = {
            "id": new_id("ope"),
            "document_id": document_id,
            "operation_type": operation_type,
            "status": PENDING,
            "details": None if details is None else dict(details),
            "created_at": now(),
            "completed_at": None,
            "user_id": self._db.user_id,
        }
        with self._db.session(write=True) as session:
            connection = session.connection()
            document = select(DocumentRow.id).where(DocumentRow.id == document_id).with_for_update(read=True)
            if connection.execute(document).one_or_none() is None:
                raise DocumentNotFound(document_id)
            connection.execute(insert(_operation), row)
            for other in dict.fromkeys(depends_on):
                self._depend(connection, str(row["id"]), other)
        return str(row["id"])

    def add_dependency(self, operation_id: str, depends_on: str) -> None:
        """Let an operation wait for another; one that does already is left as it is.

        :raises OperationRejected: one of them is not there, or they would wait for each other in a circle.
        """
        access.check(self._db, access.WRITE)
        with self._db.session(write=True) as session:
            connection = session.connection()
            if connection.dialect.name == "postgresql":
                # Two that each add one half of a circle would both find none.
                connection.execute(text("LOCK TABLE operation_dependencies IN SHARE ROW EXCLUSIVE MODE"))
            self._depend(connection, operation_id, depends_on)

    def dependencies(self, operation_id: str) -> list[str]:
        """What an operation waits for directly."""
        access.check(self._db, access.READ)
        query = select(_edge.c.depends_on).where(_edge.c.operation_id == operation_id).order_by(_edge.c.created_at)
        with self._db.session() as session:
            return list(session.connection().execute(query).scalars())

    def run(self, handlers: Mapping[str, Handler], *, document_id: str | None = None, limit: int | None = None) -> int:
        """Do every operation that is or becomes ready and has a handler for its type; returns how many were done.

        Of several runners each operation is done by one. A handler's answer is merged into the operation's details;
        what it raises makes the operation fail, and with it those that wait for it.
        """
        access.check(self._db, access.WRITE)
        done = 0
        while limit is None or done < limit:
            operation = self._take(list(handlers), document_id)
            if operation is None:
                return done
            try:
                result = handlers[operation.operation_type](operation)
            except Exception as error:  # becomes the outcome of this operation; the others go on
                logger.warning("operation %s failed", operation.id, exc_info=error)
                self._finish(operation, FAILED, {}, f"{type(error).__name__}: {error}")
            else:
                self._finish(operation, SUCCESS, dict(result or {}), None)
            done += 1
        return done

    def _depend(self, connection: Connection, operation_id: str, depends_on: str) -> None:
        if operation_id == depends_on:
            raise OperationRejected(operation_id, "it cannot depend on itself.")
        reached, wave = set[str](), {depends_on}
        while wave:
            if operation_id in wave:
                raise OperationRejected(operation_id, f"{depends_on} waits for it already: that would be a circle.")
            reached |= wave
            query = select(_edge.c.depends_on).where(_edge.c.operation_id.in_(sorted(wave)))
            wave = set(connection.execute(query).scalars()) - reached
        known = select(_edge.c.id).where(_edge.c.operation_id == operation_id, _edge.c.depends_on == depends_on)
        if connection.execute(known).first() is not None:
            return
        row = {"id": new_id("odp"), "operation_id": operation_id, "depends_on": depends_on, "created_at": now()}
        try:
            connection.execute(insert(_edge), row)
        except IntegrityError as error:
            raise OperationRejected(operation_id, f"it or {depends_on} is not there.") from error

    def _take(self, types: Sequence[str], document_id: str | None) -> Operation | None:
        """The oldest operation that is ready, marked as running."""
        other = _operation.alias("other")
        waits = exists().where(
            _edge.c.operation_id == _operation.c.id, _edge.c.depends_on == other.c.id, other.c.status != SUCCESS
        )
        broken = exists().where(
            _edge.c.operation_id == _operation.c.id, _edge.c.depends_on == other.c.id, other.c.status == FAILED
        )
        with self._db.session(write=True) as session:
            connection = session.connection()
            failing = (
                update(_operation)
                .where(_operation.c.status == PENDING, broken)
                .values(status=FAILED, error="an operation that it depends on failed", completed_at=now())
            )
            while connection.execute(failing).rowcount:
                pass
            ready = select(
                _operation.c.id,
                _operation.c.document_id,
                _operation.c.operation_type,
                _operation.c.status,
                _operation.c.details,
            ).where(_operation.c.status == PENDING, _operation.c.operation_type.in_(types), ~waits)
            if document_id is not None:
                ready = ready.where(_operation.c.document_id == document_id)
            oldest = ready.order_by(_operation.c.created_at, _operation.c.id).limit(1)
            row = connection.execute(oldest.with_for_update(skip_locked=True, of=_operation)).one_or_none()
            if row is None:
                return None
            connection.execute(update(_operation).where(_operation.c.id == row.id).values(status=RUNNING))
            return Operation(row.id, row.document_id, row.operation_type, RUNNING, row.details)

    def _finish(self, operation: Operation, status: str, result: dict[str, Any], error: str | None) -> None:
        values: dict[str, Any] = {"status": status, "error": error, "completed_at": now()}
        if result:
            values["details"] = {**(operation.details or {}), **result}
        with self._db.session(write=True) as session:
            session.connection().execute(update(_operation).where(_operation.c.id == operation.id).values(values))
