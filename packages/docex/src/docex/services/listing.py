"""Order and pages of listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, Select, SQLColumnExpression
from sqlalchemy.orm import InstrumentedAttribute


def paged(
    query: Select[*tuple[Any, ...]],
    orders: Mapping[str, InstrumentedAttribute[Any]],
    *,
    order_by: str | None,
    order_desc: bool,
    limit: int | BindParameter[int] | None,
    offset: int | BindParameter[int] | None,
    last: SQLColumnExpression[str],
) -> Select[*tuple[Any, ...]]:
    """The query in an order and cut to a page. An order that is not offered means newest first.

    :raises ValueError: limit or offset is negative.
    """
    checked(limit, offset)
    if order_by is None or order_by not in orders:
        order_by, order_desc = "created_at", True
    column = orders[order_by]
    # The last column is unique: rows of one time or name would otherwise change their places between two pages.
    query = query.order_by(column.desc() if order_desc else column.asc(), last.desc() if order_desc else last.asc())
    if limit is not None:
        query = query.limit(limit)
    return query if offset is None or offset == 0 else query.offset(offset)


def checked(limit: object, offset: object) -> None:
    """:raises ValueError: limit or offset is negative."""
    for name, number in (("limit", limit), ("offset", offset)):
        if isinstance(number, int) and number < 0:
            raise ValueError(f"{name} must not be negative, not {number}")
