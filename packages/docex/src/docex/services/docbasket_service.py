"""The rows of baskets. Names are sanitised here, for storing and looking up alike."""

from __future__ import annotations

import builtins
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Dialect, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from docex import access
from docex.database import Database
from docex.errors import BasketError, BasketExists
from docex.models.records import BasketRecord
from docex.models.tables import BasketRow, DocumentRow, EventRow, new_id, now, table_of
from docex.names import sanitise
from docex.services import audit
from docex.services.details import moment
from docex.services.document_service import CHUNK, Removed, Stripped, give_back, lock_basket, strip
from docex.services.listing import checked, paged
from docex.services.statements import SHAPES, Statement, asked, statement

logger = logging.getLogger(__name__)

COLUMNS: dict[str, ColumnElement[Any]] = {
    "id": BasketRow.id.expression,
    "name": BasketRow.name.expression,
    "description": BasketRow.description.expression,
    "status": BasketRow.status.expression,
    "created_at": BasketRow.created_at.expression,
    "updated_at": BasketRow.updated_at.expression,
    "document_count": select(func.count())
    .where(DocumentRow.basket_id == BasketRow.id)
    .correlate(BasketRow)
    .scalar_subquery(),
}
RECORD_COLUMNS = ("id", "name", "status", "created_at", "updated_at")  # without what costs more to read
STATUSES = ("active", "inactive")
ORDERS = {"created_at": BasketRow.created_at, "name": BasketRow.name, "updated_at": BasketRow.updated_at}


@dataclass(frozen=True)
class Basket:
    """A basket's row as it was read."""

    id: str
    name: str
    description: str | None
    storage_config: Mapping[str, Any]
    status: str
    created_at: datetime  # UTC
    updated_at: datetime  # UTC


class _Shape(NamedTuple):
    """What tells one question from another, whatever the values are."""

    equal: str | None = None  # the column that has a value
    order_by: str | None = None
    order_desc: bool = False
    limit: bool = False
    offset: bool = False


_row = table_of(BasketRow).c


class DocBasketService:
    """Makes, finds, lists and removes baskets."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str, description: str | None, storage_config: Mapping[str, Any]) -> Basket:
        """Make a basket; the folder of its contents is named for it. :raises BasketExists: the name is taken."""
        access.check(self._db, access.WRITE)
        kept, basket_id = sanitise(name), new_id("bas")
        made_at = now()
        row = BasketRow(
            id=basket_id,
            name=kept,
            description=description,
            storage_config={**storage_config, "basket_path": f"{kept}_{basket_id[-4:]}"},
            created_at=made_at,
            updated_at=made_at,
            created_by=self._db.user_id,
            updated_by=self._db.user_id,
        )
        self._db.remember(storage_config)  # before the basket is there: nothing of it may be forgotten
        with self._db.session(write=True) as session:
            session.add(row)
            try:
                session.flush()
            except IntegrityError as error:
                raise BasketExists(kept) from error
            given = {"basket_id": basket_id, "details": {"name": kept}}
            audit.record(session.connection(), self._db, "basket.create", **given)
            return _basket(row)

    def find_or_create(self, name: str, description: str | None, storage_config: Mapping[str, Any]) -> Basket:
        """The basket of a name, made if there is none yet."""
        try:
            return self.create(name, description, storage_config)
        except BasketExists:
            found = self.find_by_name(name)
            if found is None:  # it was there, and is gone again
                raise
            return found

    def get(self, basket_id: str) -> Basket | None:
        """The basket of an id."""
        return next(iter(self._asked(_Shape("id"), basket_id)), None)

    def find_by_name(self, name: str) -> Basket | None:
        """The basket of a name, as a user wrote it or as it is stored."""
        return next(iter(self._asked(_Shape("name"), sanitise(name))), None)

    def list(
        self,
        *,
        status: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = "created_at",
        order_desc: bool = True,
    ) -> list[Basket]:
        """Baskets, newest first unless another order is asked for."""
        checked(limit, offset)
        if order_by not in ORDERS:
            order_by, order_desc = "created_at", True
        equal = None if status is None else "status"
        shape = _Shape(equal, order_by, order_desc, limit is not None, bool(offset))
        return self._asked(shape, status, limit=limit, offset=offset)

    def records(
        self,
        columns: Iterable[str] | None,
        filters: Mapping[str, Any],
        *,
        limit: int | None,
        offset: int | None,
        order_by: str | None,
        order_desc: bool,
    ) -> builtins.list[BasketRecord]:
        """Baskets with the columns asked for; ``filters`` are values that columns must equal."""
        access.check(self._db, access.READ)
        wanted = _known(columns or RECORD_COLUMNS, "columns")
        query = select(*(COLUMNS[name].label(name) for name in wanted)).select_from(BasketRow)
        query = query.where(*(COLUMNS[name] == filters[name] for name in _known(filters, "filters")))
        query = paged(
            query, ORDERS, order_by=order_by, order_desc=order_desc, limit=limit, offset=offset, last=BasketRow.id
        )
        with self._db.session() as session:
            return [BasketRecord.model_validate(dict(row)) for row in session.execute(query).mappings()]

    def holder_of(self, document_id: str) -> str | None:
        """The id of the basket that holds a document."""
        access.check(self._db, access.READ)
        with self._db.session() as session:
            return session.scalars(select(DocumentRow.basket_id).where(DocumentRow.id == document_id)).one_or_none()

    def counts(self, basket_id: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many documents the basket holds, by status and by type."""
        access.check(self._db, access.READ)
        of_basket = DocumentRow.basket_id == basket_id
        by_status = select(DocumentRow.status, func.count()).where(of_basket).group_by(DocumentRow.status)
        by_type = select(DocumentRow.document_type, func.count()).where(of_basket).group_by(DocumentRow.document_type)
        with self._db.session() as session:
            return dict(session.execute(by_status).all()), dict(session.execute(by_type).all())

    def update(self, basket_id: str, *, description: str | None = None, status: str | None = None) -> Basket:
        """Change a basket's description or status; what is None stays.

        :raises BasketNotFound: it is gone. :raises BasketError: the status is not known.
        """
        access.check(self._db, access.WRITE)
        if status is not None and status not in STATUSES:
            raise BasketError(f"a basket's status is {' or '.join(STATUSES)}, not {status!r}")
        given = {"description": description, "status": status}
        values = {name: value for name, value in given.items() if value is not None}
        with self._db.session(write=True) as session:
            lock_basket(session.connection(), basket_id)
            changed = {**values, "updated_at": now(), "updated_by": self._db.user_id}
            session.execute(update(BasketRow).where(BasketRow.id == basket_id).values(changed))
            audit.record(session.connection(), self._db, "basket.update", basket_id=basket_id, details=values)
            return _basket(session.scalars(select(BasketRow).where(BasketRow.id == basket_id)).one())

    def totals(self, basket_id: str) -> tuple[int, int]:
        """How many documents the basket holds, and how many bytes their present contents have."""
        access.check(self._db, access.READ)
        query = select(func.count(), func.coalesce(func.sum(DocumentRow.size), 0))
        with self._db.session() as session:
            documents, size = session.execute(query.where(DocumentRow.basket_id == basket_id)).one()
        return documents, int(size or 0)

    def delete(self, basket_id: str) -> Removed:
        """Remove a basket with its documents, all of it or nothing. :raises BasketNotFound: it is gone."""
        access.check(self._db, access.ADMIN)
        stripped = Stripped()
        with self._db.session(write=True) as session:
            connection = session.connection()
            lock_basket(connection, basket_id)
            name = connection.execute(select(BasketRow.name).where(BasketRow.id == basket_id)).scalar_one()
            some = select(DocumentRow.id).where(DocumentRow.basket_id == basket_id).limit(CHUNK)
            while ids := connection.execute(some).scalars().all():
                strip(connection, self._db, basket_id, ids, stripped)
            connection.execute(delete(EventRow).where(EventRow.basket_id == basket_id))
            connection.execute(delete(BasketRow).where(BasketRow.id == basket_id))
            details = {"name": name, "documents": stripped.documents}
            audit.record(connection, self._db, "basket.delete", basket_id=basket_id, details=details)
            return give_back(connection, stripped)

    def _asked(self, shape: _Shape, value: str | None, **page: int | None) -> builtins.list[Basket]:
        access.check(self._db, access.READ)
        with self._db.connection() as connection:
            return asked(connection, _prepared(shape, connection.dialect), {"value": value, **page}, _read)


@lru_cache(maxsize=SHAPES)
def _prepared(shape: _Shape, dialect: Dialect) -> Statement:
    query = select(*(_row[field.name] for field in fields(Basket)))
    if shape.equal is not None:
        query = query.where(_row[shape.equal] == bindparam("value"))
    if shape.order_by is not None:
        query = paged(
            query,
            ORDERS,
            order_by=shape.order_by,
            order_desc=shape.order_desc,
            limit=bindparam("limit") if shape.limit else None,
            offset=bindparam("offset") if shape.offset else None,
            last=BasketRow.id,
        )
    return statement(query, dialect)


def _read(row: tuple[Any, ...]) -> Basket:
    """A basket of what a driver gives: SQLite's has texts for times and for JSON."""
    basket_id, name, description, config, status, *times = row
    config = json.loads(config) if isinstance(config, str) else config
    return Basket(basket_id, name, description, config, status, *map(moment, times))


def _known(names: Iterable[str], kind: str) -> builtins.list[str]:
    given = builtins.list(names)
    unknown = [name for name in given if name not in COLUMNS]
    if unknown:
        logger.warning("unknown %s left out: %s", kind, ", ".join(unknown))
    known = [name for name in given if name in COLUMNS]
    if given and not known:
        raise ValueError(f"none of the {kind} is known: {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    return known


def _basket(row: BasketRow) -> Basket:
    return Basket(
        row.id, row.name, row.description, dict(row.storage_config), row.status, row.created_at, row.updated_at
    )
