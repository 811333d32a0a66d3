"""Documents by the questions that are asked most often, each shape of question made into SQL once.

Values are always parameters; what is kept per shape is text that names columns of DocEX's own tables only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Dialect, Select, and_, any_, bindparam, func, select

from docex.models.tables import INDEXED_VALUE, DocumentRow, table_of
from docex.services import metadata_service, statements
from docex.services.details import DETAILS, PACKED, Row, packs
from docex.services.listing import checked, paged
from docex.services.statements import SHAPES, Made, Statement

ORDERS = {
    "created_at": DocumentRow.created_at,
    "updated_at": DocumentRow.updated_at,
    "name": DocumentRow.name,
    "size": DocumentRow.size,
    "status": DocumentRow.status,
}
COLUMNS = (
    "id",
    "name",
    "path",
    "document_type",
    "content_type",
    "size",
    "checksum",
    "status",
    "created_at",
    "updated_at",
)
DEFAULT_COLUMNS = ("id", "name", "document_type", "status", "size", "created_at")
_document = table_of(DocumentRow)


class Shape(NamedTuple):
    """What tells one question from another, whatever the values are."""

    equal: tuple[str, ...] = ()  # columns that have a value
    keys: int | None = None  # how many metadata keys have a value; 0: any key has it; None: metadata is not asked for
    order_by: str | None = None
    order_desc: bool = False
    limit: bool = False
    offset: bool = False
    packed: bool = True  # whether rows are read as docex.services.details.Packed


def asked(
    connection: Connection,
    basket_id: str,
    equal: Mapping[str, Any],
    metadata: Mapping[str, Any] | str | None,
    make: Callable[[Row], Made],
    *,
    order_by: str | None = None,
    order_desc: bool = False,
    limit: int | None = None,
    offset: int | None = None,
) -> list[Made]:
    """The documents of a basket whose columns equal these values and that carry this metadata, in the form that
    ``make`` gives to what the driver tells.

    :raises ValueError: limit or offset is negative. :raises MetadataRejected: a value has no JSON form.
    """
    checked(limit, offset)
    values: dict[str, Any] = {"basket": basket_id, "limit": limit, "offset": offset, **equal}
    keys: int | None = None
    if isinstance(metadata, str):
        keys = 0
        text = json.dumps(metadata)
        values |= {"start0": text[:INDEXED_VALUE], "value0": text}
    elif metadata is not None:
        encoded = metadata_service.encoded(metadata)
        keys = len(encoded)
        for number, (key, value) in enumerate(encoded.items()):
            values |= {
                f"key{number}": key,
                f"start{number}": value.json[:INDEXED_VALUE],
                f"value{number}": value.json,
            }
    order = order_by if order_by in ORDERS else "created_at"
    desc = order_desc or order != order_by
    # All of them are asked for oldest first: so they lie, and a server then has next to nothing to sort.
    turned = desc and limit is None and not offset
    shape = Shape(tuple(equal), keys, order, desc and not turned, limit is not None, bool(offset), packs(connection))
    found = statements.asked(connection, _prepared(shape, connection.dialect), values, make)
    if turned:
        found.reverse()
    return found


@lru_cache(maxsize=SHAPES)
def _prepared(shape: Shape, dialect: Dialect) -> Statement:
    return statements.statement(_query(shape, dialect.name), dialect)


def in_basket(basket_id: Any, *, few: bool) -> ColumnElement[bool]:
    """The condition that a document is in a basket; of ``few``, such that no index on baskets serves it.

    SQLite knows no numbers of rows, and would walk through the whole basket in the order that is asked for. A server
    may do so even where an id is given, by a plan that it made while there were few documents and no statistics.
    """
    basket = _document.c.basket_id
    condition: ColumnElement[bool] = (func.coalesce(basket, "") if few else basket) == basket_id
    return condition


def _carrying(having: Sequence[Select[tuple[str]]], dialect: str) -> ColumnElement[bool]:
    """The condition that a document is among those of every query.

    PostgreSQL plans a join of two tables three times as long as two tables by themselves, and of a question with one
    condition planning is most of the work. Of several it had better choose itself with which to begin.
    """
    if dialect == "postgresql" and len(having) == 1:
        return _document.c.id == any_(func.array(having[0].scalar_subquery()))
    return and_(*(_document.c.id.in_(query) for query in having))


def _query(shape: Shape, dialect: str) -> Select[*tuple[Any, ...]]:
    few = shape.keys is not None
    query = select(*(PACKED[dialect] if shape.packed else DETAILS)).where(in_basket(bindparam("basket"), few=few))
    query = query.where(*(_document.c[name] == bindparam(name) for name in shape.equal))
    if shape.keys is not None:
        having = [
            metadata_service.equal(
                bindparam(f"key{number}") if shape.keys else None,
                bindparam(f"start{number}"),
                bindparam(f"value{number}"),
            )
            for number in range(shape.keys or 1)
        ]
        query = query.where(_carrying(having, dialect))
    # Byte by byte: of documents that came at one moment, the order of a language takes many times as long.
    last = _document.c.id.collate("C") if dialect == "postgresql" else _document.c.id
    return paged(
        query,
        ORDERS,
        order_by=shape.order_by,
        order_desc=shape.order_desc,
        limit=bindparam("limit") if shape.limit else None,
        offset=bindparam("offset") if shape.offset else None,
        last=last,
    )


def chosen(columns: Iterable[str] | None) -> Sequence[str]:
    """The columns that a listing shows. :raises ValueError: none of those that were asked for is known."""
    given = DEFAULT_COLUMNS if columns is None else tuple(columns)
    known = [name for name in given if name in COLUMNS]
    if not known:
        raise ValueError(f"none of the columns is known: {', '.join(given)}; there are {', '.join(COLUMNS)}")
    return known
